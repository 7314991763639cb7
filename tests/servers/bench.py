"""A server, an open source on it and a journal: what a test of the one writer needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cachetui.actions.apply import Guard, Outcome, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan import Plan, plan_set_string
from cachetui.config import parse_target
from cachetui.errors import Changed
from cachetui.model import Identity
from cachetui.source.base import Source
from cachetui.source.connect import open_source
from tests.servers.launch import Server

FREE = Guard(read_only=False)
WHOLE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Bench:
    """Where plans are made and applied."""

    server: Server
    source: Source
    journal: Journal

    @property
    def who(self) -> tuple[Identity, str]:
        """What every plan begins with."""
        assert self.source.identity is not None
        return self.source.identity, self.source.name

    async def run(self, plan: Plan) -> Outcome:
        return await apply(plan, self.source, journal=self.journal, guard=FREE)

    async def edited(self, key: bytes, new: bytes) -> Plan:
        """Return the plan of another value for `key` as it is now."""
        return plan_set_string(*self.who, await self.source.value(key, max_bytes=WHOLE_BYTES), new)

    async def refused(self, plan: Plan) -> Changed:
        """Apply a plan of what was changed meanwhile; assert that nothing was done, and return what was said."""
        outcome = await self.run(plan)
        assert (outcome.state, outcome.exit_code) == ("refused", 5), outcome.line()
        assert (outcome.done, outcome.missing, outcome.failed, outcome.unknown) == (0, 0, 0, 0)
        assert outcome.left == len(plan.steps)
        assert "nothing was written" in outcome.reason and outcome.reason.isprintable()
        entry = self.journal.read()[0]
        assert (entry.receipt, entry.outcome, entry.done, entry.left) == (plan.id, "refused", 0, len(plan.steps))
        assert "nothing was written" in entry.error
        error = outcome.errors[0].error
        assert isinstance(error, Changed)
        return error


@asynccontextmanager
async def bench_of(server: Server, folder: Path, url: str = "") -> AsyncIterator[Bench]:
    """Open a source on `server` (or at `url`) and close it at the end."""
    source = await open_source(parse_target(url or server.url))
    try:
        yield Bench(server, source, Journal(folder / "journal.jsonl"))
    finally:
        await source.close()
