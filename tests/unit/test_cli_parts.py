"""Pure parts of the command line, and what has to happen before Textual is imported."""

from __future__ import annotations

import doctest
import importlib
import os
import sys
import types

import pytest

from cachetui.cli.conceal import secrets_in
from cachetui.cli.parser import COMMANDS, parse
from cachetui.cli.screen import SLOW_FPS, _show
from cachetui.config import Settings, parse_target
from cachetui.errors import BadUsage


@pytest.mark.parametrize("name", ["cli.conceal", "cli.output", "config.url", "config.file"])
def test_doctests(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"cachetui.{name}")).failed == 0


@pytest.mark.parametrize(
    ("argv", "command", "words"),
    [
        ([], "dashboard", []),
        (["prod"], "dashboard", ["prod"]),
        (["keys", "h"], "keys", ["h"]),
        (["--config", "keys", "analyze", "h"], "analyze", ["h"]),
        (["-p6380", "analyze"], "analyze", []),
        (["-h", "analyze", "keys"], "keys", []),
        (["--read-only", "analyze", "h"], "analyze", ["h"]),
        (["h", "keys"], "dashboard", ["h", "keys"]),
        (["--", "keys"], "dashboard", ["keys"]),
        (["-u", "redis://h", "policy", "allkeys-lru"], "policy", ["redis://h", "allkeys-lru"]),
        (["record", "h", "--duration", "1", "f"], "record", ["h", "f"]),
        (["dashboard"], "dashboard", ["dashboard"]),
    ],
)
def test_the_command_is_the_first_word(argv: list[str], command: str, words: list[str]) -> None:
    call = parse(argv, {})
    assert call is not None
    assert (call.command, call.words) == (command, words)


def test_options_are_never_abbreviated() -> None:
    with pytest.raises(BadUsage, match="unknown option --read"):
        parse(["--read", "h"], {})


def test_every_command_has_its_function() -> None:
    for name, command in COMMANDS.items():
        assert callable(getattr(importlib.import_module(f"cachetui.cli.{command.module}"), name))


def test_secrets_in_a_command_line_are_found() -> None:
    argv = ["keys", "-h", "h", "-p", "1", "-a", "one", "redis://:two@h", "redis://u:th%40ree@h", "redis://four@h"]
    assert secrets_in(argv) == ["one", "two", "th%40ree", "four"]
    assert secrets_in(["keys", "redis://h:1/0", "--askpass"]) == []


@pytest.mark.parametrize("slow", [True, False])
def test_a_slow_link_is_known_before_textual_is_imported(monkeypatch: pytest.MonkeyPatch, slow: bool) -> None:
    seen: dict[str, str | None] = {}

    class App:
        return_code = 0

        def __init__(self, *_: object, **__: object) -> None:
            seen.update({name: os.environ.get(name) for name in ("TEXTUAL_ANIMATIONS", "TEXTUAL_FPS", "NO_COLOR")})

        def run(self) -> None:
            seen["ran"] = "yes"

    stub = types.ModuleType("cachetui.ui.app")
    stub.CachetuiApp = App  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cachetui.ui.app", stub)
    for name in ("TEXTUAL_ANIMATIONS", "TEXTUAL_FPS", "NO_COLOR"):
        monkeypatch.setenv(name, "before")
        monkeypatch.delenv(name)
    assert _show(parse_target("redis://h"), Settings(slow_link=slow, color=not slow)) == 0
    assert seen == {
        "TEXTUAL_ANIMATIONS": "none" if slow else None,
        "TEXTUAL_FPS": SLOW_FPS if slow else None,
        "NO_COLOR": "1" if slow else None,
        "ran": "yes",
    }
