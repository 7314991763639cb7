"""Pickles, disassembled. Loading one may run anything: it never happens here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cachetui.keyspace.decode.described import LINES, Decoder, Described, Look
from cachetui.text import printable

KIND = "pickle (not loaded)"
_OLD = re.compile(rb"(?:\(dp\d*\n|\(lp\d*\n|\(tp\d*\n|\(i[\w.]+\n|c[\w.]+\n[\w.]+\n|ccopy_reg\n)")
_ARGUMENT = 200
_BIG_BITS = 1_000
_NAMES = 20


def _fits(data: bytes) -> bool:
    return (data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")) or bool(_OLD.match(data))


def _read(data: bytes, look: Look) -> Described | None:
    steps, names, note = list[str](), dict[str, None](), ""
    try:
        for line, name in _steps(data):
            if len(steps) == LINES:
                note = f"… cut after {LINES:,} steps"
                break
            steps.append(line)
            if name:
                names[name] = None
    except (ValueError, OverflowError) as error:
        if not steps or (look.whole and not look.asked):
            raise
        note = f"… it ends here: {printable(str(error), _ARGUMENT)}"
    head = [f"names {name}" for name in list(names)[:_NAMES]]
    return Described(KIND, (*head, *steps, note) if note else (*head, *steps))


def _steps(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield each step as a line, with the class or function that it names (empty for most)."""
    import pickletools

    strings: list[str] = []
    for code, argument, at in pickletools.genops(data):
        shown = _shown(argument)
        name = ""
        if code.name in ("GLOBAL", "INST") and isinstance(argument, str):
            name = printable(argument.replace(" ", ".", 1), _ARGUMENT)
        elif code.name == "STACK_GLOBAL" and len(strings) > 1:
            name = ".".join(strings[-2:])
        elif isinstance(argument, str):
            strings = [*strings[-1:], printable(argument, _ARGUMENT)]
        yield f"{at or 0:>6}  {code.name:<16}  {shown}".rstrip(), name


def _shown(argument: object) -> str:
    if argument is None:
        return ""
    if isinstance(argument, str | bytes | bytearray):
        return printable(repr(argument[:_ARGUMENT]), 2 * _ARGUMENT)
    if isinstance(argument, int) and argument.bit_length() > _BIG_BITS:
        return f"an integer of {argument.bit_length():,} bits"
    return printable(str(argument), _ARGUMENT)


PICKLE = Decoder("pickle", _fits, _read)
