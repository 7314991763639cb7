"""What an invalidation is about, as the command line says it; and how its progress is told."""

from __future__ import annotations

import base64
import doctest
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.cli import narrating, selecting
from cachetui.cli.call import Call
from cachetui.cli.narrating import Narrator
from cachetui.cli.parser import parse
from cachetui.cli.selecting import names_in, operation_of, selection_of, way_of
from cachetui.config import Settings
from cachetui.errors import BadUsage
from cachetui.model import Operation, Selection
from cachetui.text import printable


def call_of(*args: str) -> Call:
    call = parse(["invalidate", "h", *args], {})
    assert call is not None
    return call


def test_doctests() -> None:
    assert doctest.testmod(selecting).failed == 0


@given(st.lists(st.binary(min_size=1, max_size=20)))
def test_any_name_comes_back_as_it_was_printed(names: list[bytes]) -> None:
    plain = [name for name in names if not name.startswith(b'{"')]
    lines = [printable(name).encode("utf-8", "surrogateescape") + b"\n" for name in plain]
    assert list(names_in(lines, raw=False)) == plain


@given(st.lists(st.binary(max_size=20)))
def test_any_name_comes_back_from_json(names: list[bytes]) -> None:
    rows = [{"keyBase64": base64.b64encode(name).decode(), "type": "string"} for name in names]
    assert list(names_in([json.dumps(row).encode() for row in rows], raw=False)) == names


@pytest.mark.parametrize(
    "line", [b'{"', b'{"key":null}', b'{"keyBase64":"!"}', b'{"a":1}', b'{"key":"\\ud800"}', b'{"a":' * 9999]
)
def test_json_that_names_no_key_is_refused_with_its_line(line: bytes) -> None:
    with pytest.raises(BadUsage, match="line 2"):
        list(names_in([b"a\n", line], raw=False))


@pytest.mark.parametrize(
    ("args", "way", "selection"),
    [
        (["--key", "a", "--key", "b"], "keys", Selection((b"a", b"b"))),
        (["--key", "a\udcff"], "keys", Selection((b"a\xff",))),
        (
            ["--pattern", "s:*", "--type", "hash", "--idle", "5"],
            "rule",
            Selection(pattern=b"s:*", type_="hash", idle_s=5),
        ),
        (["--regex", "a+", "--without-ttl"], "rule", Selection(regex=b"a+", ttl=False)),
        (["--pattern", ""], "rule", Selection(pattern=b"")),
        (["--tag", "a"], "tag", Selection(tag=b"tag:a")),
    ],
)
def test_which_keys(args: list[str], way: str, selection: Selection) -> None:
    options = call_of(*args).options
    assert way_of(options, []) == way
    assert selection_of(options, [], Settings()) == selection


def test_the_tag_template_names_the_set() -> None:
    options = call_of("--tag", "{tag}\udcff").options
    assert selection_of(options, [], Settings(tag_template="t/{tag}!")).tag == b"t/{tag}\xff!"


@pytest.mark.parametrize(
    ("args", "operation"),
    [
        ([], Operation("delete")),
        (["--persist"], Operation("persist")),
        (["--expire", "60"], Operation("expire", 60)),
        (["--expire", "0", "--jitter", "30"], Operation("expire", 1, 30)),
    ],
)
def test_what_becomes_of_them(args: list[str], operation: Operation) -> None:
    assert operation_of(call_of("--key", "a", *args).options) == operation


def test_a_client_certificate_has_its_key_under_another_name() -> None:
    options = call_of("--key", "a", "--client-key", "file.pem").options
    assert (options.keys_, options.key) == (["a"], "file.pem")
    elsewhere = parse(["keys", "h", "--key", "file.pem"], {})
    assert elsewhere is not None and elsewhere.options.key == "file.pem"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_stands_in_one_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with Narrator(call_of("--key", "a")) as narrator:
        narrator.show("one")
        narrator.show("too soon")
        narrator.tell("news")
    assert terminal.getvalue() == "\rone\x1b[K\r\x1b[Kcachetui: news\n"


def test_elsewhere_progress_comes_as_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", file := io.StringIO())
    with Narrator(call_of("--key", "a")) as narrator:
        narrator.show("too soon")
        monkeypatch.setattr(narrating, "SAID_S", 0.0)
        narrator.show("two")
    assert file.getvalue() == "cachetui: two\n"
