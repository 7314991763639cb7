"""Values of options: read from their words, or refused in a sentence."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from cachetui.text import parse_size, printable

SPAN_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    def parsed(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 16) or not low <= int(text) <= (high or 10**15):
            limits = f"from {low} to {high}" if high else f"from {low}"
            raise argparse.ArgumentTypeError(f"a whole number {limits} is needed, not {printable(text, 40)!r}")
        return int(text)

    return parsed


def seconds(low: float, high: float, unit: str = "seconds") -> Callable[[str], float]:
    def parsed(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{unit} from {low:g} to {high:g} are needed, not {printable(text, 40)!r}")
        return value

    return parsed


def span(text: str) -> float:
    """Return seconds of `90s`, `15m`, `2h`, `1d`."""
    number, unit = text[:-1], text[-1:].lower()
    if unit not in SPAN_S or not (number.isascii() and number.isdigit() and len(number) < 9):
        raise argparse.ArgumentTypeError(f"a span as 90s, 15m, 2h or 1d is needed, not {printable(text, 40)!r}")
    return float(int(number) * SPAN_S[unit])


def size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[\w.:-]+", host, re.ASCII) or not (port.isascii() and port.isdigit() and len(port) < 6):
        raise argparse.ArgumentTypeError(f"HOST:PORT is needed, not {printable(text, 40)!r}")
    return host, int(port)


def facts(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not set(names) <= {"type", "ttl", "size"} or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"type, ttl and size are known, not {printable(text, 40)!r}")
    return names
