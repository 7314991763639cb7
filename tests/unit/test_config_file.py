"""The configuration file: what it may hold, and mistakes that name file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cachetui.config import load_file
from cachetui.config.file import line_of
from cachetui.errors import BadConfig

FULL = """
# Everything that may stand here.
theme = "light"
interval = 2
separator = "/"
read_only = false
slow_link = true
ascii = true

[keymap]
quit = "ctrl+q"

[profiles.prod]
url = "rediss://cache.example:6380/2"
user = "oncall"
password_command = "pass show cache"
label = "PROD"
color = "red"
read_only = true
interval = 5.0
theme = "./mine.toml"

[profiles.prod.keymap]
help = "f1"

[profiles.prod.tls]
ca = "ca.pem"
cert = "/etc/c.pem"
key = "/etc/k.pem"
server_name = "cache"

[profiles."eu-1.test"]
url = "redis+sentinel://a,b/main"
sentinel_password_command = "pass show sentinel"
tls = true
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_everything_is_read(tmp_path: Path) -> None:
    config = load_file(written(tmp_path, FULL))
    assert (config.look.theme, config.look.interval, config.look.separator) == ("light", 2.0, "/")
    assert config.look.keymap == {"quit": "ctrl+q"} and config.look.slow_link and config.look.ascii
    prod = config.profiles["prod"]
    assert (prod.user, prod.label, prod.color, prod.look.read_only) == ("oncall", "PROD", "red", True)
    assert prod.look.theme == str(tmp_path / "mine.toml")
    assert prod.tls is not None and prod.tls.ca == str(tmp_path / "ca.pem") and prod.tls.cert == "/etc/c.pem"
    assert prod.look.keymap == {"help": "f1"}
    assert config.profiles["eu-1.test"].sentinel_password_command == "pass show sentinel"


def test_no_file_is_an_empty_configuration(tmp_path: Path) -> None:
    assert not load_file().profiles
    with pytest.raises(BadConfig, match=r"none\.toml: no such file"):
        load_file(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("theme = \n", 1, "not TOML"),
        ("theme = 'a'\ninterval = 1 1\n", 2, "not TOML"),
        ("a = [\n1,\n2,\n", 3, "not TOML"),
        ("theme = 'a'\ntheme = 'b'\n", 2, "not TOML"),
        ("\n\nthem = 'dark'\n", 3, "unknown setting them"),
        ("interval = 'fast'\n", 1, "interval is seconds"),
        ("interval = 0.1\n", 1, "from 0.2 to 3600"),
        ("interval = nan\n", 1, "from 0.2 to 3600"),
        ("interval = true\n", 1, "interval is seconds"),
        ("theme = 3\n", 1, "theme is text"),
        ("separator = ''\n", 1, "separator is empty"),
        ("tag_template = 'tags'\n", 1, "tag_template is a name with {tag} in it, once"),
        ("tag_template = '{tag}{tag}'\n", 1, "tag_template is a name with {tag} in it, once"),
        ("\ntag_template = 5\n", 2, "tag_template is text"),
        ("keymap = 'vi'\n", 1, "keymap is a table"),
        ("\n[keymap]\n\nquit = 3\n", 4, "quit is text"),
        ("profiles = 3\n", 1, "profiles is a table"),
        ("[profiles]\na = 'redis://h'\n", 2, "profile a is a table"),
        ("theme='dark'\n[profiles.a]\n", 2, "has no url"),
        ("[profiles.a]\nurl = 'http://h'\n", 2, "unknown kind of target"),
        ("[profiles.a]\nurl = 'redis://h'\npasword_command = 'x'\n", 3, "unknown field pasword_command"),
        ("[profiles.a]\nurl = 'redis://h'\npassword = 'x'\n", 3, "unknown field password"),
        ("[profiles.a]\nurl = 'redis://h'\nread_only = 'yes'\n", 3, "read_only is true or false"),
        ("[profiles.a]\nurl = 'redis://h'\ncolor = 'reddish'\n", 3, "no such color"),
        ("[profiles.a]\nurl = 'redis://h'\nlabel = 'a\\nb'\n", 3, None),
        ('[profiles.a]\nurl = "redis://h"\nlabel = "a\\nb"\n', 3, "label is one short word"),
        ("[profiles.a]\nurl = 'redis://h'\npassword_command = 'a \"b'\n", 3, "no closing quotation"),
        ("[profiles.a]\nurl = 'redis://h'\npassword_command = ' '\n", 3, "is empty"),
        ("[profiles.a]\nurl = 'redis://h'\ntls = 'yes'\n", 3, "tls is true, false or a table"),
        ("[profiles.a]\nurl = 'redis://h'\n[profiles.a.tls]\nca_file = 'x'\n", 4, "unknown field ca_file"),
        ("[profiles.a]\nurl = 'redis://h'\ntls = { verify = false }\n", 3, "unknown field verify"),
        ("[profiles]\na.url = 'redis://h'\na.color = 'x'\n", 3, "no such color"),
        ("[profiles.a]\nurl = 'redis://h'\n[profiles.b]\nurl = 'redis://h/x'\n", 4, "database is not a number"),
        ("[profiles.'a b']\nurl = 'redis://h'\n", 1, "a name is letters"),
    ],
)
def test_each_mistake_names_file_and_line(tmp_path: Path, text: str, line: int, says: str | None) -> None:
    path = written(tmp_path, text)
    if says is None:  # a backslash in single quotes is a backslash
        assert load_file(path).profiles["a"].label == "a\\nb"
        return
    with pytest.raises(BadConfig) as caught:
        load_file(path)
    assert caught.value.message.startswith(f"{path}:{line}: "), caught.value.message
    assert says in caught.value.message
    assert caught.value.line().isprintable() and caught.value.exit_code == 2


def test_a_near_miss_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(BadConfig) as caught:
        load_file(written(tmp_path, "intervall = 1\n"))
    assert caught.value.hint == "did you mean interval?"


def test_bytes_that_are_not_text_name_their_line(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"theme = 'dark'\nlabel = '\xff'\n")
    with pytest.raises(BadConfig, match=r"c\.toml:2: not UTF-8"):
        load_file(path)
    with pytest.raises(BadConfig, match="directory"):
        load_file(tmp_path)


def test_a_password_in_a_profile_shows_nowhere(tmp_path: Path) -> None:
    path = written(tmp_path, "[profiles.a]\nurl = 'redis://bob:hunter2@h:x'\n")
    with pytest.raises(BadConfig) as caught:
        load_file(path)
    assert "hunter2" not in caught.value.line()
    path = written(tmp_path, "[profiles.a]\nurl = 'redis://bob:hunter2@h'\n")
    assert "hunter2" not in repr(load_file(path))


def test_line_of_falls_back_to_the_nearest_table() -> None:
    text = "a = 1\n\n[b]\nc = 2\n[[d]]\ne = 1\n"
    assert [line_of(text, path) for path in (("a",), ("b", "c"), ("b", "x"), ("d", "e"), ("z",))] == [1, 4, 3, 6, 1]
