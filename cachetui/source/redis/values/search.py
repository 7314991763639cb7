"""Search indexes: which of them hold a key."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cachetui import text
from cachetui.errors import CacheError
from cachetui.model import KeyFacts, ValueSection
from cachetui.source.redis.replies import as_bytes, as_list, as_map, as_text
from cachetui.source.redis.values.window import Ask, cell, failed

INDEXES = 20
"""How many indexes are looked at."""
KEPT_S = 60.0
"""How long their definitions are believed."""
HURRY_S = 0.7
"""After so long over a value nothing more is asked about indexes: the value itself must come in time."""

TYPES = {"hash": "HASH", "ReJSON-RL": "JSON"}
"""The types that can be indexed, as FT.INFO names them."""
_NAME = 100


@dataclass(frozen=True, slots=True)
class Index:
    """One index's definition."""

    name: str
    kind: str
    prefixes: tuple[bytes, ...]
    documents: str
    filter: str

    def covers(self, facts: KeyFacts) -> bool:
        fits = any(facts.key.startswith(prefix) for prefix in self.prefixes)
        return fits and self.kind == TYPES.get(facts.type or "")


class SearchIndexes:
    """The indexes of one server, asked for when a hash or a document is opened, at most once in KEPT_S."""

    def __init__(self) -> None:
        self._indexes: tuple[Index, ...] = ()
        self._total = 0
        self._trouble: CacheError | None = None
        self._asked: tuple[int, float] | None = None

    async def covering(self, ask: Ask, facts: KeyFacts, epoch: int, began: float) -> tuple[ValueSection, ...]:
        """Return a section on the indexes that cover the key, none where no index does.

        `began` is when the reading of the value did, by the monotonic clock.
        """
        now = time.monotonic()
        known = self._asked is not None and self._asked[0] == epoch
        if not known and now - began >= HURRY_S:
            return (ValueSection("search indexes: not asked for, the server takes long to answer", (), ()),)
        if self._asked is None or not known or (now - self._asked[1] > KEPT_S and now - began < HURRY_S):
            await self._read(ask)
            self._asked = (epoch, now)
        if self._trouble is not None:
            return (failed("search indexes", self._trouble),)
        found = [index for index in self._indexes if index.covers(facts)]
        if not found and self._total <= len(self._indexes):
            return ()
        title = "search indexes"
        if self._total > len(self._indexes):
            title += f": of the first {len(self._indexes):,} of {self._total:,}"
        rows = tuple((index.name, _shown(index.prefixes), index.documents, index.filter) for index in found)
        return (ValueSection(title, ("index", "prefixes", "documents", "filter"), rows),)

    async def _read(self, ask: Ask) -> None:
        self._indexes, self._total, self._trouble = (), 0, None
        (names,) = await ask([("FT._LIST",)])
        if isinstance(names, CacheError):
            self._trouble = names
            return
        every = sorted(as_bytes(name) for name in as_list(names))
        self._total = len(every)
        asked = every[:INDEXES]
        replies = await ask([("FT.INFO", name) for name in asked]) if asked else []
        refused = [reply for reply in replies if isinstance(reply, CacheError)]
        if refused and len(refused) == len(replies):
            self._trouble = refused[0]
        known = zip(asked, replies, strict=True)
        self._indexes = tuple(_index(name, reply) for name, reply in known if not isinstance(reply, CacheError))


def _index(name: bytes, reply: object) -> Index:
    fields = as_map(reply)
    definition = as_map(fields.get("index_definition"))
    prefixes = tuple(as_bytes(prefix) for prefix in as_list(definition.get("prefixes")))
    documents, condition = cell(fields.get("num_docs")), as_text(definition.get("filter"), _NAME)
    return Index(text.printable(name, _NAME), as_text(definition.get("key_type"), 20), prefixes, documents, condition)


def _shown(prefixes: tuple[bytes, ...]) -> str:
    return cell(list(prefixes)) if any(prefixes) else "every key"
