"""Finding keys by their names: a part, a glob, a regular expression, or letters in their order."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress, repeat
from operator import contains, eq
from typing import Literal, overload

from cachetui.keyspace.index import Blob, KeyIndex, names_of, successor
from cachetui.source.globs import compiled
from cachetui.text import printable

Mode = Literal["part", "shown", "glob", "regex", "fuzzy"]

KEPT_SPLIT = 32
FEW = 64
"""So many places in one range are looked up one by one; with more the whole range is looked through."""

MARK = "\0"

_ACROSS = re.compile(rb"\(\?|\\[AZzsSWDGHV]|\[\^|[^\\]\\n")
"""What may mean something else in joined names than in each of them."""
_CODE = re.compile(rb"\\x|\\[0-7]")
_SPAN = re.compile(rb"(?s)(.)-(.)")


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """What to look for."""

    mode: Mode
    words: bytes
    folded: bool = False
    """Capital letters do not matter."""


def parse_filter(words: str) -> KeyFilter:
    r"""Return the filter that somebody typed. Raises ValueError with a sentence.

    Plain words are a part of the name; with `*`, `?` or `[` they are a glob over all of it;
    `/.../` is a regular expression, `~abc` letters in this order. Without a capital letter
    both cases are found. With a backslash the words are compared with the name as it is shown.

    >>> parse_filter("user").mode, parse_filter("user:*").mode, parse_filter("/^a/").mode, parse_filter("~us").mode
    ('part', 'glob', 'regex', 'fuzzy')
    """
    data = words.encode("utf-8", "surrogateescape")
    folded = data == data.lower()
    if data.startswith(b"/") and len(data) > 1:
        pattern = data[1:-1] if data.endswith(b"/") and len(data) > 2 else data[1:]
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {printable(str(error), 80)}") from error
        return KeyFilter("regex", pattern, folded)
    if data.startswith(b"~") and len(data) > 1:
        return KeyFilter("fuzzy", data[1:], folded)
    if b"\\" in data:
        return KeyFilter("shown", data)
    if any(sign in data for sign in (b"*", b"?", b"[")):
        return KeyFilter("glob", data, folded)
    return KeyFilter("part", data, folded)


@dataclass(frozen=True, slots=True)
class _Piece:
    """What was found in one range; the names themselves are those of that moment."""

    names: Blob
    hits: bytes | None
    """For each name 1 where it was found; None: all of them."""
    count: int
    first: bytes


class Matches(Sequence[bytes]):
    """The names that a filter found, in order; looked up when they are read."""

    def __init__(self, pieces: Sequence[_Piece]) -> None:
        self._pieces = pieces
        self._ends = list(accumulate(piece.count for piece in pieces))
        self._firsts = [piece.first for piece in pieces]
        self._split: OrderedDict[int, list[bytes]] = OrderedDict()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        at %= len(self)
        piece = bisect_right(self._ends, at)
        return self._names(piece)[at - (self._ends[piece - 1] if piece else 0)]

    def place(self, key: bytes) -> int | None:
        """Return the place of a name, None when it was not found."""
        piece = bisect_right(self._firsts, key) - 1
        if piece < 0:
            return None
        names = self._names(piece)
        at = bisect_left(names, key)
        if at == len(names) or names[at] != key:
            return None
        return at + (self._ends[piece - 1] if piece else 0)

    def _names(self, at: int) -> list[bytes]:
        names = self._split.get(at)
        if names is None:
            piece = self._pieces[at]
            names = names_of(piece.names)
            if piece.hits is not None:
                names = list(compress(names, piece.hits))
            self._split[at] = names
            if len(self._split) > KEPT_SPLIT:
                self._split.popitem(last=False)
        return names


def find(
    index: KeyIndex, wanted: KeyFilter, *, within: bytes = b"", cancelled: Callable[[], bool] = lambda: False
) -> Matches:
    """Return what `wanted` finds beneath `within`, range by range; for a worker thread."""
    start, after = within, successor(within)
    if wanted.mode == "glob" and not wanted.folded and not within:
        start = re.split(rb"[*?\[\\]", wanted.words, maxsplit=1)[0]
        after = successor(start)
    elif wanted.mode == "glob" and not within:
        # Without letters in front of the first sign, capitals do not matter there.
        start = re.split(rb"[*?\[\\a-z]", wanted.words, maxsplit=1)[0]
        after = successor(start)
    search = _search(wanted)
    pieces: list[_Piece] = []
    for _, names, count in index.pieces(start, after):
        if cancelled():
            break
        hits = search(names, count)
        if start or after is not None:
            hits = _inside(names, count, hits, start, after)
        found = count if hits is None else hits.count(1)
        if found:
            first = names_of(names)[0 if hits is None else hits.index(1)]
            pieces.append(_Piece(names, hits, found, first))
    return Matches(pieces)


def _inside(names: Blob, count: int, hits: bytes | None, start: bytes, after: bytes | None) -> bytes | None:
    """Leave out what lies before `start` or from `after` on."""
    first_key, last_key = _ends(names)
    if start <= first_key and (after is None or last_key < after):
        return hits
    keys = names_of(names)
    first = bisect_left(keys, start)
    last = count if after is None else bisect_left(keys, after)
    within = b"\1" * (last - first) if hits is None else hits[first:last]
    return bytes(first) + within + bytes(count - last)


def _ends(names: Blob) -> tuple[bytes, bytes]:
    """Return the first name and the last."""
    if isinstance(names, bytes):
        return names.partition(b"\n")[0], names.rpartition(b"\n")[2]
    return names[0], names[-1]


def _shared(names: Blob) -> bytes:
    """Return what all the names begin with: they are sorted."""
    first, last = _ends(names)
    at = 0
    while at < len(first) and first[: at + 1] == last[: at + 1]:
        at += 1
    return first[:at]


_Search = Callable[[Blob, int], bytes | None]
"""Looks through one range of so many names; returns its hits, None: all."""


def _search(wanted: KeyFilter) -> _Search:
    """Return what looks through one range."""
    words, folded = wanted.words, wanted.folded
    if wanted.mode == "part":
        return _PartSearch(contains, words, folded=folded)
    if wanted.mode == "shown":
        shown = words.decode("utf-8", "replace")
        return lambda names, count: bytes(shown in printable(key) for key in names_of(names))
    if wanted.mode == "glob":
        return _glob_search(words, folded=folded)
    if wanted.mode == "fuzzy":
        return _OneByOne(_in_order(words), lowered=folded)
    # Names in small letters are searched quicker than with both cases in mind.
    lowered = folded and not _names_capitals(words)
    flags = re.IGNORECASE if folded and not lowered else 0
    single = _by_bytes(words, flags)
    if _ACROSS.search(words):
        return _OneByOne(single.search, lowered=lowered)
    if words.startswith(b"^") and b"|" not in words:
        return _LineSearch(_by_bytes(b"\n" + words[1:], flags | re.MULTILINE), single.search, lowered=lowered)
    return _LineSearch(_by_bytes(words, flags | re.MULTILINE), single.search, lowered=lowered)


def _names_capitals(pattern: bytes) -> bool:
    """Tell whether a pattern without a capital letter may mean one all the same: by its code, or in a range."""
    return bool(_CODE.search(pattern)) or any(low <= b"Z" and high >= b"A" for low, high in _SPAN.findall(pattern))


def _by_bytes(pattern: bytes, flags: int = 0) -> re.Pattern[str]:
    """Return a pattern over bytes as one over text in Latin-1, where each byte is one letter."""
    return re.compile(pattern.decode("latin-1"), flags | re.ASCII)


def _in_order(words: bytes) -> Callable[[str], object]:
    """Return what tells whether a name has these bytes in this order."""
    signs = [re.escape(words[at : at + 1]) for at in range(len(words))]
    # Each part takes all up to its sign and gives nothing back: one pass whatever the name.
    return _by_bytes(b"".join(b"[^%b]*+%b" % (sign, sign) for sign in signs)).match


def _glob_search(glob: bytes, *, folded: bool) -> _Search:
    """Return the quickest search for a glob: most have a star at an end only."""
    literal = glob.strip(b"*")
    if not literal:
        return lambda names, count: None
    if not any(sign in literal for sign in (b"*", b"?", b"[", b"\\", b"\n")):
        ends = (glob.startswith(b"*"), glob.endswith(b"*"))
        tests: dict[tuple[bool, bool], Callable[[str, str], bool]] = {
            (True, True): contains,
            (False, True): str.startswith,
            (True, False): str.endswith,
        }
        return _PartSearch(tests.get(ends, eq), literal, folded=folded)
    whole = compiled(glob.lower() if folded else glob)
    fits = _by_bytes(whole.pattern, whole.flags).fullmatch
    if any(sign in glob for sign in (b"[", b"\\", b"\n")):
        return _OneByOne(fits, lowered=folded)
    body = re.escape(glob).replace(rb"\*", rb"[^\n]*").replace(rb"\?", rb"[^\n]")
    return _LineSearch(_by_bytes(b"\n" + body + b"$", re.MULTILINE), fits, lowered=folded)


def _text(names: bytes, *, lowered: bool) -> str:
    """Return names as text, which is searched quicker than bytes: each byte is one letter."""
    # Lowered as bytes: in text, letters beyond ASCII would change too.
    return (names.lower() if lowered else names).decode("latin-1")


def _texts(names: Blob, *, lowered: bool) -> list[str]:
    if isinstance(names, bytes):
        return _text(names, lowered=lowered).split("\n")
    return [_text(key, lowered=lowered) for key in names]


class _OneByOne:
    """Every name by itself; `lowered`: in small letters."""

    def __init__(self, fits: Callable[[str], object], *, lowered: bool) -> None:
        self._fits, self._lowered = fits, lowered

    def __call__(self, names: Blob, count: int) -> bytes | None:
        return bytes(map(bool, map(self._fits, _texts(names, lowered=self._lowered))))


class _PartSearch:
    """A part of the name, looked for in all names of a range at once."""

    def __init__(self, test: Callable[[str, str], bool], part: bytes, *, folded: bool) -> None:
        self._test, self._part, self._folded = test, part.decode("latin-1"), folded

    def __call__(self, names: Blob, count: int) -> bytes | None:
        part, test = self._part, self._test
        if test in (contains, str.startswith) and test(_text(_shared(names), lowered=self._folded), part):
            return None
        if not isinstance(names, bytes) or "\n" in part or test is not contains:
            return bytes(map(test, _texts(names, lowered=self._folded), repeat(part)))
        text = _text(names, lowered=self._folded)
        often = text.count(part)
        if not often:
            return b""
        if often > FEW:
            return bytes(map(contains, text.split("\n"), repeat(part)))
        found, line, seen = bytearray(count), 0, 0
        at = text.find(part)
        while at >= 0:
            line += text.count("\n", seen, at)
            found[line] = 1
            seen = text.find("\n", at)
            if seen < 0:
                break
            at = text.find(part, seen)
        return bytes(found)


class _LineSearch:
    """A pattern over all names of a range at once; each line that it touches is looked at by itself.

    A pattern that begins with a newline is found where a name begins: that is quicker than `^`.
    """

    def __init__(self, pattern: re.Pattern[str], fits: Callable[[str], object], *, lowered: bool) -> None:
        self._pattern, self._fits, self._lowered = pattern, fits, lowered
        self._anchored = pattern.pattern.startswith("\n")
        self._line = re.compile(f"(?:{pattern.pattern})[^\n]*+", pattern.flags)

    def __call__(self, names: Blob, count: int) -> bytes | None:
        one_by_one = _OneByOne(self._fits, lowered=self._lowered)
        if not isinstance(names, bytes):
            return one_by_one(names, count)
        text = "\n" + _text(names, lowered=self._lowered)
        found, line, seen, often = bytearray(count), 0, 1, 0
        search, ahead = self._pattern.search, 1 if self._anchored else 0
        while (match := search(text, seen - ahead)) is not None:
            at = match.start() + ahead
            line += text.count("\n", seen, at)
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            if match.end() <= end or self._fits(text[text.rfind("\n", 0, at) + 1 : end]):
                found[line] = 1
                often += 1
                if often > FEW:
                    return self._marked(text, count) or one_by_one(names, count)
            if end >= len(text):
                break
            line, seen = line + 1, end + 1
        return bytes(found) if often else b""

    def _marked(self, text: str, count: int) -> bytes | None:
        """Return the hits where there are many: each is replaced by a mark. None where that does not work."""
        if MARK in text:
            return None
        lines = self._line.sub("\n" + MARK if self._anchored else MARK, text).split("\n")
        # A match that took a newline with it has joined two lines.
        return bytes(map(contains, lines[1:], repeat(MARK))) if len(lines) == count + 1 else None
