"""Finding keys by their names: a part, a glob, a regular expression, or letters in their order."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress, repeat
from operator import contains, eq
from typing import Literal, overload

from cachetui.keyspace.index import KeyIndex, successor
from cachetui.source.globs import compiled
from cachetui.text import printable

Mode = Literal["part", "shown", "glob", "regex", "fuzzy"]

KEPT_SPLIT = 32
FEW = 64
"""So many places in one range are looked up one by one; with more the whole range is looked through."""

_ACROSS = re.compile(rb"\(\?|\\[AZzsSWDGHV]|\[\^|[^\\]\\n")
"""What may mean something else in joined names than in each of them."""


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

    names: bytes | tuple[bytes, ...]
    places: array[int] | None
    """Which of the names; None: all of them."""
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
            names = _split(piece.names)
            if piece.places is not None:
                names = [names[place] for place in piece.places]
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
        places = search(names, count)
        if start or after is not None:
            places = _inside(names, count, places, start, after)
        found = count if places is None else len(places)
        if found:
            first = _split(names)[0 if places is None else places[0]]
            pieces.append(_Piece(names, places, found, first))
    return Matches(pieces)


def _split(names: bytes | tuple[bytes, ...]) -> list[bytes]:
    return names.split(b"\n") if isinstance(names, bytes) else list(names)


def _inside(
    names: bytes | tuple[bytes, ...], count: int, places: array[int] | None, start: bytes, after: bytes | None
) -> array[int] | None:
    """Leave out what lies before `start` or from `after` on."""
    keys = _split(names)
    first = bisect_left(keys, start)
    last = count if after is None else bisect_left(keys, after)
    if (first, last) == (0, count):
        return places
    kept = range(first, last) if places is None else [place for place in places if first <= place < last]
    return array("I", kept)


_Search = Callable[[bytes | tuple[bytes, ...], int], "array[int] | None"]


def _search(wanted: KeyFilter) -> _Search:
    """Return what looks through one range."""
    words, folded = wanted.words, wanted.folded
    if wanted.mode == "part":
        return _PartSearch(contains, words, folded=folded)
    if wanted.mode == "shown":
        shown = words.decode("utf-8", "replace")
        return _OneByOne(lambda key: shown in printable(key))
    flags = re.IGNORECASE if folded else 0
    if wanted.mode == "glob":
        return _glob_search(words, flags, folded=folded)
    if wanted.mode == "fuzzy":
        signs = [bytes([byte]) for byte in words]
        body = b"".join(
            (b"[^\n" + re.escape(sign) + b"]*" if at else b"") + re.escape(sign) for at, sign in enumerate(signs)
        )
        alone = re.compile(b".*?".join(map(re.escape, signs)), flags | re.DOTALL)
        return _LineSearch(re.compile(body, flags), alone.search)
    single = re.compile(words, flags)
    if _ACROSS.search(words):
        return _OneByOne(single.search)
    return _LineSearch(re.compile(words, flags | re.MULTILINE), single.search)


def _glob_search(glob: bytes, flags: int, *, folded: bool) -> _Search:
    """Return the quickest search for a glob: most have a star at an end only."""
    literal = glob.strip(b"*")
    if not literal:
        return lambda names, count: None
    if not any(sign in literal for sign in (b"*", b"?", b"[", b"\\", b"\n")):
        ends = (glob.startswith(b"*"), glob.endswith(b"*"))
        tests: dict[tuple[bool, bool], Callable[[bytes, bytes], object]] = {
            (True, True): contains,
            (False, True): bytes.startswith,
            (True, False): bytes.endswith,
        }
        return _PartSearch(tests.get(ends, eq), literal, folded=folded)
    whole = compiled(glob.lower() if folded else glob).fullmatch
    fits: Callable[[bytes], object] = (lambda key: whole(key.lower())) if folded else whole
    if any(sign in glob for sign in (b"[", b"\\", b"\n")):
        return _OneByOne(fits)
    body = re.escape(glob).replace(rb"\*", rb"[^\n]*").replace(rb"\?", rb"[^\n]")
    return _LineSearch(re.compile(b"(?m)^" + body + b"$", flags), fits)


def _places(count: int, hits: Iterable[object]) -> array[int] | None:
    """Return the places of what is true; None: all of them."""
    places = array("I", compress(range(count), hits))
    return None if len(places) == count else places


class _OneByOne:
    """Every name by itself."""

    def __init__(self, fits: Callable[[bytes], object]) -> None:
        self._fits = fits

    def __call__(self, names: bytes | tuple[bytes, ...], count: int) -> array[int] | None:
        return _places(count, map(self._fits, _split(names)))


class _PartSearch:
    """A part of the name, looked for in all names of a range at once."""

    def __init__(self, test: Callable[[bytes, bytes], object], part: bytes, *, folded: bool) -> None:
        self._test, self._part, self._folded = test, part, folded

    def __call__(self, names: bytes | tuple[bytes, ...], count: int) -> array[int] | None:
        part, test = self._part, self._test
        if not isinstance(names, bytes) or b"\n" in part:
            keys = _split(names)
            return _places(count, [test(key.lower() if self._folded else key, part) for key in keys])
        blob = names.lower() if self._folded else names
        often = blob.count(part)
        if not often:
            return array("I")
        if often > FEW or test is not contains:
            return _places(count, map(test, blob.split(b"\n"), repeat(part)))
        found, line, seen = array("I"), 0, 0
        at = blob.find(part)
        while at >= 0:
            line += blob.count(b"\n", seen, at)
            found.append(line)
            seen = blob.find(b"\n", at)
            if seen < 0:
                break
            at = blob.find(part, seen)
        return None if len(found) == count else found


class _LineSearch:
    """A pattern over all names of a range at once; each line that it touches is looked at by itself."""

    def __init__(self, pattern: re.Pattern[bytes], fits: Callable[[bytes], object]) -> None:
        self._pattern, self._fits = pattern, fits

    def __call__(self, names: bytes | tuple[bytes, ...], count: int) -> array[int] | None:
        if not isinstance(names, bytes):
            return _OneByOne(self._fits)(names, count)
        found, line, seen, start = array("I"), 0, 0, 0
        search = self._pattern.search
        while (match := search(names, start)) is not None:
            at = match.start()
            line += names.count(b"\n", seen, at)
            end = names.find(b"\n", at)
            end = len(names) if end < 0 else end
            if match.end() <= end or self._fits(names[names.rfind(b"\n", 0, at) + 1 : end]):
                found.append(line)
                if len(found) > FEW:
                    return _OneByOne(self._fits)(names, count)
            if end >= len(names):
                break
            line, seen, start = line + 1, end + 1, end + 1
        return None if len(found) == count else found
