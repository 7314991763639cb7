"""Flags over environment over profile over file; passwords from where they should come."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from cachetui.config import Address, Arguments, Secret, Settings, Target, resolve
from cachetui.errors import AuthFailed, BadUsage, CacheError
from tests.servers.launch import certificates

FILE = """
theme = "light"
interval = 3
[keymap]
quit = "ctrl+q"
help = "f2"
[profiles.prod]
url = "redis://prod.example:7000/1"
user = "oncall"
password_command = "{python} -c 'print(1234)'"
label = "PROD"
color = "red"
read_only = true
interval = 5
keymap = {{ help = "f1" }}
[profiles.open]
url = "redis://:inside@open.example"
read_only = false
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(FILE.format(python=sys.executable))
    return path


def no_question(prompt: str) -> str:
    raise AssertionError(f"asked for {prompt}")


def one(environ: Mapping[str, str] | None = None, **arguments: object) -> tuple[Target, Settings]:
    targets, settings = resolve(Arguments(**arguments), environ or {}, ask=no_question)  # type: ignore[arg-type]
    (target,) = targets
    return target, settings


def test_nothing_at_all_looks_at_both_local_ports() -> None:
    target, settings = one()
    assert target.kind == "auto"
    assert target.addresses == (Address("127.0.0.1", 6379), Address("127.0.0.1", 11211))
    assert settings == Settings()


def test_the_environment_names_a_target() -> None:
    environ = {"REDIS_URL": "redis://b", "CACHETUI_URL": "redis://a"}
    assert one(environ)[0].name == "redis://a:6379/0"
    assert one({"REDIS_URL": "redis://b", "CACHETUI_URL": ""})[0].name == "redis://b:6379/0"
    assert one(environ, targets=("redis://c",))[0].name == "redis://c:6379/0"
    assert one(environ, port=1)[0].name == "127.0.0.1:1"


def test_the_habits_of_redis_cli() -> None:
    assert one(host="h", port=1)[0].name == "h:1"
    assert one(host="h", port=1, db=3)[0].name == "redis://h:1/3"
    assert one(host="::1", port=1)[0].name == "[::1]:1"
    assert one(socket="/run/s")[0] == Target("auto", (Address(path="/run/s"),))
    target, _ = one(host="h", user="me", password=Secret("pw"))
    assert (target.kind, target.user, target.password) == ("redis", "me", "pw")
    target, _ = one(host="h", tls=True, insecure=True, server_name="n")
    assert target.tls is not None and not target.tls.verify and target.tls.server_name == "n"
    assert target.name == "rediss://h:6379/0"
    assert one(targets=("redis://u:p@h/1",), db=2)[0].name == "redis://h:6379/2"


@pytest.mark.parametrize(
    "arguments",
    [
        {"targets": ("redis://h",), "port": 1},
        {"socket": "/run/s", "host": "h"},
        {"host": "redis://h"},
        {"host": "me@h"},
        {"host": "h", "insecure": True},
        {"host": "h", "ca": "/ca.pem"},
        {"host": "h", "tls": True, "ca": "/no/such/ca.pem"},
        {"targets": ("memcached://h",), "db": 1},
        {"interval_s": 0.1},
        {"interval_s": float("nan")},
    ],
)
def test_what_does_not_fit_together_is_usage(arguments: dict[str, object]) -> None:
    with pytest.raises(CacheError) as caught:
        one(**arguments)
    assert caught.value.exit_code == 2 and caught.value.line().isprintable()


def test_a_profile_brings_its_look(file: Path) -> None:
    target, settings = one(targets=("prod",), config=file)
    assert target.name == "redis://prod.example:7000/1"
    assert (target.user, target.password) == ("oncall", "1234")
    assert (settings.label, settings.label_color, settings.profile) == ("PROD", "red", "prod")
    assert settings.read_only and settings.armable and settings.read_only_reason == "profile prod"
    assert (settings.theme, settings.interval_s) == ("light", 5.0)
    assert settings.keymap == {"quit": "ctrl+q", "help": "f1"}


def test_flags_win_over_the_profile(file: Path) -> None:
    _, settings = one(targets=("prod",), config=file, interval_s=2.0, theme="dark", read_only=True)
    assert (settings.interval_s, settings.theme) == (2.0, "dark")
    assert settings.read_only_reason == "--read-only" and not settings.armable


def test_a_profile_may_lift_what_the_file_says(file: Path) -> None:
    file.write_text("read_only = true\n" + file.read_text())
    assert one(targets=("redis://h",), config=file)[1].read_only_reason == "read_only in config.toml"
    assert not one(targets=("open",), config=file)[1].read_only


def test_a_profile_may_be_named_by_the_environment(file: Path) -> None:
    assert one({"CACHETUI_URL": "prod"}, config=file)[1].profile == "prod"


def test_where_a_password_comes_from(file: Path) -> None:
    auth = {"REDISCLI_AUTH": "env"}
    assert one(auth, targets=("redis://h",))[0].password == "env"
    assert one(auth, targets=("redis://:url@h",))[0].password == "url"
    assert one(auth, targets=("redis://:url@h",), password=Secret("flag"))[0].password == "flag"
    assert one(auth, targets=("prod",), config=file)[0].password == "env"
    assert one(auth, targets=("open",), config=file)[0].password == "env"
    assert one(targets=("open",), config=file)[0].password == "inside"
    assert one(auth, targets=("memcached://h",))[0].password is None
    asked = resolve(Arguments(targets=("redis://h",), askpass=True), auth, ask=lambda _: "typed")[0][0]
    assert asked.password == "typed"


def test_a_password_in_the_environment_does_not_decide_what_a_server_is() -> None:
    target, _ = one({"REDISCLI_AUTH": "env"}, targets=("h:11211",))
    assert (target.kind, target.password) == ("auto", "env")


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("print('hunter2', file=__import__('sys').stderr); raise SystemExit(3)", "ended with 3"),
        ("print()", "printed nothing"),
        ("__import__('sys').stdout.buffer.write(bytes([255, 10]))", "not UTF-8"),
    ],
)
def test_a_failing_password_command_is_one_line(tmp_path: Path, program: str, says: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f"[profiles.p]\nurl = 'redis://h'\npassword_command = '''{sys.executable} -c \"{program}\"'''\n")
    with pytest.raises(AuthFailed) as caught:
        one(targets=("p",), config=path)
    assert says in caught.value.message and "hunter2" not in caught.value.line()
    assert caught.value.exit_code == 3


def test_a_missing_password_command_is_named_without_its_arguments(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[profiles.p]\nurl = 'redis://h'\npassword_command = 'no-such-program hunter2'\n")
    with pytest.raises(AuthFailed, match="no-such-program: No such file") as caught:
        one(targets=("p",), config=path)
    assert "hunter2" not in caught.value.line()


def test_no_shell_sees_a_password_command(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    command = f"{sys.executable} -c 'import sys;print(sys.argv[1])' $HOME;id"
    path.write_text(f'[profiles.p]\nurl = "redis://h"\npassword_command = "{command}"\n')
    assert one(targets=("p",), config=path)[0].password == "$HOME;id"


def test_an_encrypted_key_is_asked_for(tmp_path: Path) -> None:
    import subprocess

    made = certificates(tmp_path)
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "rsa", "-aes256", "-passout", "pass:hunter2", "-in", made["client.key"], "-out", locked],
        check=True,
        capture_output=True,
    )
    arguments = Arguments(host="h", tls=True, ca=str(made["ca.crt"]), cert=str(made["client.crt"]), key=str(locked))
    (target,), _ = resolve(arguments, {}, ask=lambda _: "hunter2")
    assert target.tls is not None and target.tls.key_password == "hunter2"
    assert "hunter2" not in repr(target)
    with pytest.raises(BadUsage, match="the passphrase does not open the key"):
        resolve(arguments, {}, ask=lambda _: "wrong")


def test_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    with pytest.raises(BadUsage, match="does not belong"):
        one(host="h", tls=True, cert=str(made["client.crt"]), key=str(made["server.key"]))
    with pytest.raises(BadUsage, match="not a file of CA certificates"):
        one(host="h", tls=True, ca=str(made["ca.key"]))
    with pytest.raises(BadUsage, match="a key without its certificate"):
        one(host="h", tls=True, key=str(made["client.key"]))


def test_settings_of_color(tmp_path: Path) -> None:
    assert not one({"NO_COLOR": "1"})[1].color
    assert not one(no_color=True)[1].color
    assert one({"NO_COLOR": ""})[1].color
