"""Nothing that a server sends reaches the terminal raw, and nothing of it crashes the program."""

from __future__ import annotations

import unicodedata

import pytest

from tests.servers.launch import Server
from tests.ui.terminal import Terminal

MARK = "HSTL"
"""Stands in every hostile text, so that its traces can be found in the output."""

NAMES = [
    b"esc:\x1b[2JHSTL\x1b[31m",
    b"osc:\x1b]0;HSTL-title\x07\x1b]52;c;SFNUTA==\x07",
    b"dcs:\x1bP1;2qHSTL\x1b\\",
    b"c1raw:\x9b31mHSTL\x9d0;HSTL\x9c",
    "c1:\u009b31mHSTL\u009d0;HSTL\u009c".encode(),
    "bidi:\u202eHSTL\u2066\u2067\u202c".encode(),
    "zero:\u200bHS\u200dTL\ufeff\u00ad".encode(),
    b"lines:HSTL\r\n\n\x0b\x0c\x08\x7f\x00\t",
    b"bytes:HSTL\xff\xfe\xc3",
    b"markup:[red]HSTL[/red]",
    b"close:HSTL[/x][/]",
    b"click:[@click=app.quit]HSTL[/]",
    b"link:[link=file:///etc/passwd]HSTL",
    "wide:日本語HSTL🙂e\u0301".encode(),
    b"long:" + b"HSTL" * 250_000,
    b"",
    b":",
    b"::HSTL::",
]


def hostile_types(server: Server) -> None:
    """Write every hostile text as a name, a field, a member, an element and a value."""
    with server.client() as client:
        for name in NAMES:
            short = name[:2000]
            client.set(name, short + name[:100_000])
        client.hset("t:hash", mapping={name[:5000]: name[:5000] for name in NAMES})
        client.rpush("t:list", *(name[:5000] for name in NAMES))
        client.sadd("t:set", *(name[:5000] for name in NAMES))
        client.zadd("t:zset", {name[:5000]: at for at, name in enumerate(NAMES)})
        for name in NAMES[:8]:
            client.xadd("t:stream", {name[:500] or b"f": name[:500]})
        client.config_set("slowlog-log-slower-than", 0)
        for name in NAMES:
            client.get(name[:3000])
        client.execute_command("CLIENT", "SETNAME", "[red]HSTL[/x]")


def forbidden(shown: str) -> list[str]:
    """Return characters that no part of the program's own drawing uses."""
    return sorted(
        {f"U+{ord(char):04X}" for char in shown if unicodedata.category(char) == "Cf" or 0x80 <= ord(char) <= 0x9F}
    )


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40), (200, 55)])
def test_no_hostile_byte_reaches_the_terminal(redis7: Server, columns: int, rows: int) -> None:
    hostile_types(redis7)
    with redis7.client() as keeper:
        keeper.execute_command("CLIENT", "SETNAME", "[/x][red]HSTL")
        with Terminal(redis7.url, columns=columns, rows=rows) as terminal:
            terminal.wait_for("live")
            for view in "23458912":
                terminal.press(view)
                terminal.settle(0.15)
            terminal.press("v")
            terminal.settle(0.2)
            for _ in range(len(NAMES) + 8):
                terminal.press("\r")
                terminal.settle(0.08)
                terminal.press("\x1b")
                terminal.settle(0.08)
                terminal.press("j")
            terminal.press("yd")
            terminal.settle(0.3)
            terminal.press("\x1b")
            terminal.settle(0.2)
            terminal.press("/")
            terminal.settle(0.1)
            terminal.press(MARK + "\r")
            terminal.settle(0.3)
            terminal.press("3")
            terminal.settle(0.2)
            terminal.press("b")
            terminal.settle(0.2)
            terminal.press("q")
            assert terminal.end() == 0
    redis7.command("CONFIG", "SET", "slowlog-log-slower-than", "10000")
    output = bytes(terminal.output)
    assert MARK.encode() in output, "the hostile names were never on the screen: the test proves nothing"
    for sequence in (b"\x1b]0;", b"\x1b]2;", b"\x1bP1;2q", b"\x1b[2JHSTL", b"\x1b]52;c;SFNU", b"\x1b]8;"):
        assert sequence not in output
    assert forbidden(output.decode("utf-8", "strict")) == []
