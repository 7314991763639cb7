"""Names of keys, and what is known of them, as lines: millions of them, so a batch at a time."""

from __future__ import annotations

import heapq
import json
import os
import select
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from enum import Enum, auto

from cachetui.cli.output import compact, named
from cachetui.text import UNKNOWN, printable

REMEMBERED = 500_000
"""Names that are remembered for certain so that they come once, and as many again until they are forgotten."""

Row = tuple[bytes, str | None, int | None, int | None]
"""Name, type, TTL in milliseconds (-1: none), bytes."""

Columns = tuple[Sequence[bytes], Sequence[str | None], Sequence[int | None], Sequence[int | None]]
Lines = Callable[[Columns], bytes]


class Form(Enum):
    """How a line looks."""

    RAW = auto()
    JSON = auto()
    TEXT = auto()


class Once:
    """Drops what came before: exactly up to `REMEMBERED` names; of more, what came again lately.

    A server repeats names while its table is resized, and then shortly after one another.
    Their hashes are kept: 64 bits, made anew in each process.
    """

    def __init__(self) -> None:
        self._new: set[int] = set()
        self._old: set[int] = set()

    def fresh(self, keys: Sequence[bytes]) -> list[int] | None:
        """Return where in `keys` the names stand that did not come before; None: all of them."""
        hashes = set(map(hash, keys))
        if len(self._new) > REMEMBERED:
            self._old, self._new = self._new, set()
        if len(hashes) == len(keys) and self._new.isdisjoint(hashes) and self._old.isdisjoint(hashes):
            self._new |= hashes
            return None
        places = []
        for at, key in enumerate(keys):
            number = hash(key)
            if number not in self._new and number not in self._old:
                self._new.add(number)
                places.append(at)
        return places


class Streamer:
    """A sink that writes lines to stdout as names come, each once, at most `limit`.

    What stdout raises is kept in `trouble`: the servers have no part in it.
    """

    def __init__(self, form: Lines, limit: int | None) -> None:
        self._form, self._left = form, sys.maxsize if limit is None else limit
        self.trouble: OSError | None = None
        self.on_enough: Callable[[], None] = _nothing
        self._once = Once()
        self._lock = threading.Lock()

    def add(self, keys: Sequence[bytes]) -> None:
        self.take((keys, (), (), ()))

    def clear(self) -> None:
        """Forget nothing: what was written stays written, and comes no second time."""

    def take(self, columns: Columns) -> None:
        with self._lock:
            if not columns[0] or not self._left or self.trouble is not None:
                return
            places = self._once.fresh(columns[0])
            if places is not None or len(columns[0]) > self._left:
                chosen = (places if places is not None else range(len(columns[0])))[: self._left]
                columns = tuple([column[at] for at in chosen] if column else () for column in columns)  # type: ignore[assignment]
                if not chosen:
                    return
            self._left -= len(columns[0])
            try:
                write(self._form(columns))
            except OSError as error:
                self.trouble = error
        if not self._left or self.trouble is not None:
            self.on_enough()


class Collector:
    """A sink that keeps what came until all can be sorted; of very many only the best where there is a limit."""

    def __init__(self, sort: str, limit: int | None) -> None:
        self._order, self._limit = ORDERS[sort], limit
        self._rows: dict[bytes, Row] = {}
        self._lock = threading.Lock()

    def add(self, keys: Sequence[bytes]) -> None:
        self.take((keys, [None] * len(keys), [None] * len(keys), [None] * len(keys)))

    def clear(self) -> None:
        with self._lock:
            self._rows.clear()

    def take(self, columns: Columns) -> None:
        with self._lock:
            self._rows.update(zip(columns[0], zip(*columns, strict=True), strict=True))
            if self._limit is not None and len(self._rows) > 4 * self._limit + 10_000:
                best = heapq.nsmallest(self._limit, self._rows.values(), key=self._order)
                self._rows = {row[0]: row for row in best}

    def write(self, form: Lines) -> None:
        """Write all in order. Raises OSError."""
        rows = sorted(self._rows.values(), key=self._order)[: self._limit]
        for start in range(0, len(rows), 1000):
            keys, types, ttls, sizes = zip(*rows[start : start + 1000], strict=True)
            write(form((keys, types, ttls, sizes)))


class WithFacts:
    """Either of them, for an enumeration that is to bring facts as well."""

    def __init__(self, rows: Streamer | Collector, wanted: Collection[str]) -> None:
        self.wanted, self._rows = wanted, rows
        self.add, self.clear = rows.add, rows.clear

    def add_facts(
        self,
        keys: Sequence[bytes],
        types: Sequence[str | None],
        ttls_ms: Sequence[int | None],
        sizes_bytes: Sequence[int | None],
    ) -> None:
        self._rows.take((keys, types, ttls_ms, sizes_bytes))


def write(data: bytes) -> None:
    """Write to stdout at once; from any thread. Raises OSError."""
    # Not through Python's buffer: a thread that waits in there would hold up the program's end.
    number, rest = sys.stdout.fileno(), memoryview(data)
    while rest:
        try:
            rest = rest[os.write(number, rest) :]
        except BlockingIOError:
            select.select([], [number], [])


def form_of(form: Form, wanted: Sequence[str]) -> Lines:
    """Return what makes lines of names and the facts `wanted`."""
    if form is Form.RAW:
        return lambda columns: b"\n".join([*columns[0], b""])
    if form is Form.JSON:
        return lambda columns: _objects(columns, wanted)
    encoding = sys.stdout.encoding or "utf-8"
    return lambda columns: _lines(columns, wanted).encode(encoding, "backslashreplace")


def _plain(keys: Sequence[bytes]) -> list[str] | None:
    """Return names as text when every one is ASCII that nothing needs to be done about: the quick way."""
    blob = b"".join(keys)
    if not blob.isascii() or b"\\" in blob or b'"' in blob:
        return None
    text = blob.decode("ascii")
    return b"\n".join(keys).decode("ascii").split("\n") if text.isprintable() else None


def _lines(columns: Columns, wanted: Sequence[str]) -> str:
    keys, types, ttls, sizes = columns
    names = _plain(keys) or [printable(key) for key in keys]
    cells: dict[str, list[str]] = {}
    for name in wanted:
        if name == "type":
            cells[name] = [type_ or UNKNOWN for type_ in types]
        elif name == "ttl":
            cells[name] = [_ttl_cell(ttl) for ttl in ttls]
        else:
            cells[name] = [UNKNOWN if size is None else str(size) for size in sizes]
    if not cells:
        return "\n".join([*names, ""])
    return "\n".join([*map("\t".join, zip(names, *(cells[name] for name in wanted), strict=True)), ""])


def _ttl_cell(ttl_ms: int | None) -> str:
    """Return seconds as a plain number, `none` without a TTL, `-` unknown."""
    if ttl_ms == -1:
        return "none"
    return UNKNOWN if ttl_ms is None else f"{ttl_ms / 1000:.3f}".rstrip("0").rstrip(".")


def _objects(columns: Columns, wanted: Sequence[str]) -> bytes:
    keys, types, ttls, sizes = columns
    plain = _plain(keys)
    if plain is not None and not wanted:
        return '{{"key":"{}"}}\n'.format('"}\n{"key":"'.join(plain)).encode() if plain else b""
    heads = [f'{{"key":"{name}"' for name in plain] if plain else [compact(named("key", key))[:-1] for key in keys]
    tails: list[list[str]] = []
    for name in wanted:
        if name == "type":
            words = {type_: f',"type":{json.dumps(type_)}' for type_ in set(types)}
            tails.append([words[type_] for type_ in types])
        elif name == "ttl":
            tails.append([_ttl_words(ttl) for ttl in ttls])
        else:
            tails.append([',"sizeBytes":null' if size is None else f',"sizeBytes":{size}' for size in sizes])
    return "".join(["".join([*parts, "}\n"]) for parts in zip(heads, *tails, strict=True)]).encode()


def _ttl_words(ttl_ms: int | None) -> str:
    if ttl_ms == -1:
        return ',"ttlSeconds":null,"hasTtl":false'
    return ',"ttlSeconds":null,"hasTtl":null' if ttl_ms is None else f',"ttlSeconds":{ttl_ms / 1000},"hasTtl":true'


def _nothing() -> None:
    """Wait for whoever sets it."""


def _by_name(row: Row) -> tuple[float, bytes]:
    return 0.0, row[0]


def _by_size(row: Row) -> tuple[float, bytes]:
    return (float("inf") if row[3] is None else -float(row[3])), row[0]


def _by_ttl(row: Row) -> tuple[float, bytes]:
    return (float("inf") if row[2] is None or row[2] < 0 else float(row[2])), row[0]


ORDERS: dict[str, Callable[[Row], tuple[float, bytes]]] = {"name": _by_name, "size": _by_size, "ttl": _by_ttl}
"""Names in byte order, the largest first, the soonest to expire first; the unknown last."""
