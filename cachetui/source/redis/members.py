"""The other servers of a replication: each asked itself, side by side, down the chains."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace

from cachetui.config import Address
from cachetui.errors import CacheError
from cachetui.source.redis.asking import Answer, Panel
from cachetui.source.redis.connection import Argument, Credentials
from cachetui.source.redis.info import Info, parse_info
from cachetui.source.redis.replies import as_map, as_text
from cachetui.source.redis.sentinels import address_in
from cachetui.source.redis.session import Arrival, Session
from cachetui.source.redis.topology.replication import Report, known_addresses

MOST = 100
"""So many servers of one replication are asked."""
LEVELS = 4
"""Replicas of replicas of replicas; what is deeper is asked in the next round."""
REMEMBERED_S = 600.0
"""A replica that its primary no longer lists is shown for so long."""
QUESTIONS: tuple[tuple[Argument, ...], ...] = (
    ("INFO", "replication"),
    ("INFO", "persistence"),
    ("CONFIG", "GET", "min-*"),
)
"""What each is asked."""


@dataclass(frozen=True, slots=True)
class _Pace:
    """Where a server's stream stood when it was looked at."""

    at: float
    offset: int
    per_s: float | None = None


def merged(replies: list[object]) -> Info:
    """Return the replies to `QUESTIONS` as one; what was refused is missing."""
    fields: dict[str, str] = {}
    *infos, settings = replies
    for reply in infos:
        if not isinstance(reply, CacheError):
            fields |= parse_info(reply).fields
    if not isinstance(settings, CacheError):
        fields |= {name: as_text(value, 200) for name, value in as_map(settings).items()}
    return Info(fields)


class Members:
    """Connections to the servers that one server replicates to or from, with its own user, password and TLS."""

    def __init__(self, credentials: Credentials, sent: Counter[str]) -> None:
        self._who = replace(credentials, db=0)
        self._sent = sent
        self._sessions: dict[str, Session] = {}
        self._arrivals: dict[str, Arrival] = {}
        self._panel = Panel(self._read)
        self._listed_at: dict[str, float] = {}
        """When each was last listed by another one (`time.time`)."""
        self._paces: dict[str, _Pace] = {}

    async def round(self, own: Info, me: str, also: tuple[str, ...] = ()) -> dict[str, Report]:
        """Ask all that `own` INFO names, and those that these name; return what is known of each by now.

        Under `me` stands our own report: only its pace counts. `also` are further addresses to ask.
        """
        now = time.time()
        listed = known_addresses([own])
        asked: dict[str, Answer[Info]] = {}
        for _ in range(LEVELS):
            remembered = [a for a, at in self._listed_at.items() if now - at < REMEMBERED_S]
            wanted = [a for a in dict.fromkeys((*listed, *also, *remembered)) if a != me and a not in asked][:MOST]
            if not wanted:
                break
            asked |= await self._panel.round(wanted)
            asked |= {address: Answer(None, None, 0.0) for address in wanted if address not in asked}
            infos = [own, *(answer.found for answer in asked.values() if answer.found is not None)]
            listed = known_addresses(infos)
        self._listed_at |= dict.fromkeys(listed, now)
        reports = {address: self._report(address, answer, listed) for address, answer in asked.items()}
        reports[me] = Report(own, written_per_s=self._pace(me, own))
        return reports

    async def close(self) -> None:
        """Close every connection."""
        await self._panel.close()
        for session in self._sessions.values():
            await session.close()

    def _report(self, address: str, answer: Answer[Info], listed: list[str]) -> Report:
        gone_at = None if address in listed else self._listed_at.get(address)
        if answer.found is None:
            error = "has not answered yet" if answer.error is None else f"cannot be asked: {answer.error.message}"
            return Report(error=error, gone_at=gone_at)
        arrival = self._arrivals.get(address)
        about = parse_info(arrival.info) if arrival is not None else Info()
        version = as_text(arrival.hello.get("version"), 40) if arrival is not None else ""
        return Report(
            answer.found,
            about.fields.get("run_id", ""),
            about.fields.get("valkey_version") or version or about.fields.get("redis_version"),
            gone_at=gone_at,
            written_per_s=self._pace(address, answer.found),
        )

    def _pace(self, address: str, info: Info) -> float | None:
        """Return how many bytes a second a server sends to its replicas, since it was looked at before."""
        offset, now, before = info.number("master_repl_offset"), time.monotonic(), self._paces.get(address)
        if offset is None:
            return None
        if before is not None and now - before.at < 0.5:
            return before.per_s
        per_s = (offset - before.offset) / (now - before.at) if before is not None and offset >= before.offset else None
        self._paces[address] = _Pace(now, offset, per_s)
        return per_s

    def _session(self, address: str) -> Session:
        if address not in self._sessions:
            where = address_in(address)

            async def endpoint() -> Address:
                return where

            def arrived(arrival: Arrival) -> None:
                self._arrivals[address] = arrival

            session = self._sessions[address] = Session(where, endpoint, self._who, arrived)
            session.sent = self._sent  # what looking costs is told for all of them
        return self._sessions[address]

    async def _read(self, address: str) -> Info:
        session = self._session(address)
        async with session.deadline():
            replies = await session.ask_all("lists", QUESTIONS)
        if isinstance(replies[0], CacheError):
            raise replies[0]
        return merged(replies)
