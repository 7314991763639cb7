"""JSON laid out or folded by its own tokens: numbers, escapes and repeated names stay as they came."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from cachetui import text
from cachetui.keyspace.decode.described import Decoder, Described, Look, as_text, bounded

JSON_DEPTH = 64
"""Deeper nesting is shown as it came."""

# A string that is cut off at the end of the data is one token too.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_START = re.compile(rb"\s*[{\[]")
_CUT_WORD = 32
"""A literal or number that was cut off may be so long."""


def _read(data: bytes, look: Look) -> Described | None:
    words = as_text(data)
    if words is None or not _START.match(data) or _deepest(words) > JSON_DEPTH:
        return None
    kind = "JSON"
    try:
        json.loads(words, parse_int=str, parse_float=str)
    except RecursionError:
        return None
    except json.JSONDecodeError as error:
        if look.whole or not _only_cut(words, error):
            return None
        kind = "JSON (its beginning)"
    lines = bounded(_folded(words) if look.folded else _laid_out(words))
    return Described(kind, lines)


def _only_cut(words: str, error: json.JSONDecodeError) -> bool:
    """Return True when nothing is wrong but that the end is missing."""
    return error.msg.startswith("Unterminated string") or error.pos >= len(words.rstrip()) - _CUT_WORD


def _deepest(words: str) -> int:
    depth = deepest = 0
    for token in _TOKEN.finditer(words):
        char = token[0]
        depth += (char in "{[") - (char in "}]")
        deepest = max(deepest, depth)
    return deepest


def _laid_out(words: str) -> Iterator[str]:
    line, depth, before = "", 0, ""
    for found in _TOKEN.finditer(words):
        token = found[0]
        if token in ("}", "]"):
            depth -= 1
            if before in ("{", "["):
                line += token
            else:
                yield line
                line = "  " * depth + token
        else:
            if before in ("{", "[", ","):
                yield line
                line = "  " * depth
            line += ": " if token == ":" else _shown(token)
            depth += token in ("{", "[")
        before = token
    yield line


def _folded(words: str) -> Iterator[str]:
    """Yield the top level as lines; what is inside its members is only counted."""
    line, depth, members, before = "", 0, 0, ""
    for found in _TOKEN.finditer(words):
        token = found[0]
        if token in ("}", "]"):
            depth -= 1
            if depth == 0:
                if before not in ("{", "["):
                    yield line
                    line = ""
                line += token
            elif depth == 1:
                line += f"…{members}{token}" if members else token
        elif depth >= 2:
            # Each member begins after an opening or a comma.
            members += depth == 2 and before in ("{", "[", ",")
            depth += token in ("{", "[")
        else:
            if depth == 1 and before in ("{", "[", ","):
                yield line
                line = "  "
            line += ": " if token == ":" else _shown(token)
            if token in ("{", "["):
                depth += 1
                members = 0
        before = token
    yield line if depth < 2 else f"{line}…{members}"


def _shown(token: str) -> str:
    """Escape what is not printable; JSON's own escapes stay as they are, for these are the same escapes."""
    if token.isprintable():
        return token
    return "".join(char if char.isprintable() else text.printable(char) for char in token)


JSON = Decoder("json", lambda data: _START.match(data) is not None, _read)
