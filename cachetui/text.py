"""The one gate for text that came from a server, and the words for sizes, durations and rates.

Everything a server sends (names, values, error replies, client names) passes `printable`
before it reaches a widget, a log, a JSON document or a file.
"""

from __future__ import annotations

import re
import time
from unicodedata import category, combining, east_asian_width

UNKNOWN = "-"
"""How an unknown figure is shown: never as a number."""

_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_PLAIN_OF = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}
_ESCAPED = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[nrt\\])")
_SUFFIX = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b?)\s*$", re.IGNORECASE)
_FACTOR = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def printable(data: bytes | str, limit: int | None = None) -> str:
    r"""Return `data` as text that is safe on any terminal, with everything odd escaped visibly.

    Undecodable bytes become `\xNN`; control, bidi, zero-width and every other unprintable
    character becomes `\n`, `\xNN`, `\uNNNN` or `\UNNNNNNNN`. A backslash that could be mistaken
    for such an escape is doubled, so two different inputs never look the same.
    With `limit`, at most that many characters are returned, the last one an ellipsis.

    >>> printable(b"user:1"), printable(b"a\x1b[2J\xff"), printable("x\u202ey")
    ('user:1', 'a\\x1b[2J\\xff', 'x\\u202ey')
    >>> printable(b"App\\Models"), printable(b"a\\x1b")
    ('App\\Models', 'a\\\\x1b')
    >>> printable("abcdef", 4)
    'abc…'
    """
    if limit is not None:
        # An escape only grows the text and a character is at most four bytes.
        data = data[: 4 * (limit + 1)] if isinstance(data, bytes) else data[: limit + 1]
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    if not text.isprintable() or "\\" in text:
        text = "".join(_escaped(text))
    if limit is not None and len(text) > limit:
        return text[: max(0, limit - 1)] + "…"
    return text


def _escaped(text: str) -> list[str]:
    out: list[str] = []
    for at, char in enumerate(text):
        if char == "\\":
            follower = text[at + 1 : at + 2]
            doubled = follower != "" and (follower in "\\xuUnrt" or not follower.isprintable())
            out.append("\\\\" if doubled else "\\")
        elif char.isprintable():
            out.append(char)
        else:
            out.append(_escape(char))
    return out


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def from_printable(shown: str) -> bytes:
    r"""Return the bytes that `printable` showed as `shown` (not cut by a limit).

    >>> from_printable(printable(b"a\x1b")), from_printable(printable(b"App:n"))
    (b'a\x1b', b'App:n')
    """
    return _ESCAPED.sub(_unescaped, shown).encode("utf-8", "surrogateescape")


def _unescaped(match: re.Match[str]) -> str:
    word = match[1]
    if word in _PLAIN_OF:
        return _PLAIN_OF[word]
    code = int(word[1:], 16)
    return chr(code + 0xDC00) if word[0] == "x" and code >= 0x80 else chr(code)


def clean_utf8(data: bytes) -> str | None:
    """Return `data` as text when it is UTF-8 that needs no escaping, else None.

    JSON documents carry `key` for the first and `keyBase64` for the second.

    >>> clean_utf8(b"a\\\\b"), clean_utf8(b"\\x00")
    ('a\\\\b', None)
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def cells(text: str) -> int:
    """Return how many terminal columns `text` takes (text that has passed `printable`).

    >>> cells("abc"), cells("日本"), cells("e\\u0301")
    (3, 4, 1)
    """
    if text.isascii():
        return len(text)
    return sum(_char_cells(char) for char in text)


def _char_cells(char: str) -> int:
    if combining(char) or category(char) in ("Mn", "Me"):
        return 0
    return 2 if east_asian_width(char) in "WF" else 1


def fit(text: str, width: int, align: str = "left") -> str:
    """Cut or pad `text` to exactly `width` columns; a cut shows an ellipsis.

    >>> fit("abc", 5), fit("abc", 5, "right"), fit("abcdef", 4), fit("日本語", 4)
    ('abc  ', '  abc', 'abc…', '日… ')
    """
    if width <= 0:
        return ""
    taken = cells(text)
    if taken > width:
        kept, used = [], 0
        for char in text:
            step = _char_cells(char)
            if used + step > width - 1:
                break
            kept.append(char)
            used += step
        text, taken = "".join(kept) + "…", used + 1
    pad = " " * (width - taken)
    return pad + text if align == "right" else text + pad


def size(count: float | None) -> str:
    """Return bytes in at most six characters, in powers of 1024.

    >>> size(None), size(0), size(999), size(1536), size(3.2 * 1024**3), size(1023.96 * 1024)
    ('-', '0B', '999B', '1.5KB', '3.2GB', '1.0MB')
    """
    if count is None:
        return UNKNOWN
    sign, value = ("-" if count < 0 else ""), abs(float(count))
    for unit in ("B", "KB", "MB", "GB", "TB", "PB"):
        shown = f"{value:.0f}" if unit == "B" or value >= 99.95 else f"{value:.1f}"
        if float(shown) < 1024 or unit == "PB":
            return f"{sign}{shown}{unit}"
        value /= 1024
    raise AssertionError("unreachable")


def parse_size(text: str) -> int:
    """Return the bytes meant by `text` ("100mb", "4gb", "1024"), as Redis reads them.

    Unlike Redis, `k`, `kb` and `kib` all mean 1024: nobody sizes a cache in powers of ten.
    Raises ValueError with a sentence for a person.

    >>> parse_size("4gb"), parse_size("1.5 MB"), parse_size("0")
    (4294967296, 1572864, 0)
    """
    match = _SUFFIX.match(text)
    if match is None:
        raise ValueError(f"not a size: {printable(text, 40)!r} (write 512mb, 4gb or a number of bytes)")
    return int(float(match[1]) * _FACTOR[match[2].lower()])


def count(value: float | None) -> str:
    """Return a count in at most five characters, in powers of 1000.

    >>> count(None), count(0), count(999), count(12_345), count(1_000_000), count(999_960)
    ('-', '0', '999', '12.3k', '1.0M', '1.0M')
    """
    if value is None:
        return UNKNOWN
    sign, rest = ("-" if value < 0 else ""), abs(float(value))
    for unit in ("", "k", "M", "G", "T"):
        shown = f"{rest:.0f}" if unit == "" or rest >= 99.95 else f"{rest:.1f}"
        if float(shown) < 1000 or unit == "T":
            return f"{sign}{shown}{unit}"
        rest /= 1000
    raise AssertionError("unreachable")


def rate(per_s: float | None) -> str:
    """Return a rate per second: small ones keep a decimal, so that "a few" is not "none".

    >>> rate(None), rate(0), rate(0.25), rate(3.14), rate(48_210)
    ('-', '0/s', '0.2/s', '3.1/s', '48.2k/s')
    """
    if per_s is None:
        return UNKNOWN
    if per_s != 0 and abs(per_s) < 0.05:
        return "<0.1/s"
    if 0 < abs(per_s) < 10:
        return f"{per_s:.1f}/s"
    return f"{count(per_s)}/s"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a percentage, `value` being already in percent.

    >>> percent(None), percent(94.53), percent(100)
    ('-', '94.5%', '100%')
    """
    if value is None:
        return UNKNOWN
    return "100%" if value == 100 else f"{value:.{digits}f}%"


def duration(seconds: float | None) -> str:
    """Return a duration in its two largest units.

    >>> duration(None), duration(0.0004), duration(0.25), duration(12), duration(3700), duration(90061)
    ('-', '400us', '250ms', '12s', '1h01m', '1d01h')
    """
    if seconds is None:
        return UNKNOWN
    if seconds < 0:
        return "-" + duration(-seconds)
    if 0 < seconds < 0.001:
        return f"{seconds * 1e6:.0f}us"
    if 0 < seconds < 1:
        return f"{seconds * 1e3:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s".replace(".0s", "s")
    whole = int(seconds)
    for unit, part, unit_s, part_s in (("d", "h", 86400, 3600), ("h", "m", 3600, 60), ("m", "s", 60, 1)):
        if whole >= unit_s:
            return f"{whole // unit_s}{unit}{whole % unit_s // part_s:02d}{part}"
    return f"{whole}s"


def clock(at: float | None, now: float) -> str:
    """Return a local time of day; with its date where that is not the day of `now` (both Unix seconds).

    >>> clock(None, 0)
    '-'
    """
    if at is None:
        return UNKNOWN
    moment = time.localtime(at)
    if time.strftime("%F", moment) != time.strftime("%F", time.localtime(now)):
        return time.strftime("%m-%d %H:%M", moment)
    return time.strftime("%H:%M:%S", moment)
