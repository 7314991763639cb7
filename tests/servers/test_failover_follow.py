"""Primaries that die or stand still: whoever looks is taken along, at once and in the same place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from cachetui.config import parse_target
from cachetui.feeds.hub import FeedEvent, Feeds
from cachetui.model import Stats, Topology
from cachetui.source.connect import make_source
from tests.contract.redis_targets import until
from tests.servers.groups import LONG_S, NAME, SentinelGroup, sentinel_group
from tests.servers.launch import Server


@pytest.fixture
async def group(request: pytest.FixtureRequest, _shared: Callable[..., Server]) -> AsyncIterator[SentinelGroup]:
    found = sentinel_group(request.param, _shared)
    await found.heal()
    yield found
    await found.heal()


class Watching:
    """Feeds over a group, and all that they told."""

    def __init__(self, url: str) -> None:
        self.source = make_source(parse_target(url))
        self.told: list[FeedEvent] = []
        self.feeds = Feeds(self.source, interval_s=0.3, on_event=self.told.append)

    @property
    def address(self) -> str:
        """Where the newest figures are from."""
        stats = self.feeds.latest.get("stats")
        return stats.server.address if isinstance(stats, Stats) and self.feeds.trouble is None else ""

    @property
    def topology(self) -> Topology:
        found = self.feeds.latest["topology"]
        assert isinstance(found, Topology)
        return found

    @property
    def failovers(self) -> list[str]:
        return [mark.text for mark in self.feeds.history.marks if mark.text.startswith("failover: ")]


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[Watching]:
    seen = Watching(url)
    seen.feeds.want({"topology"})
    try:
        await until(lambda: seen.address and "topology" in seen.feeds.latest, LONG_S)
        # Whoever listens hears everything from here on.
        names = {f"listen {address}" for address in url.partition("@")[2].partition("/")[0].split(",")}
        await until(lambda: names <= {task.get_name() for task in asyncio.all_tasks()}, LONG_S)
        yield seen
    finally:
        await seen.feeds.close()
        await seen.source.close()


def newest(seen: Watching) -> tuple[str, ...]:
    return tuple(event.name for event in seen.topology.events)


@pytest.mark.parametrize(
    ("group", "strike"), [("redis7", "kill"), ("redis7", "pause"), ("valkey9", "kill")], indirect=["group"]
)
async def test_a_lost_primary_is_left_for_the_new_one(group: SentinelGroup, strike: str) -> None:
    async with watching(group.url) as seen:
        old = group.primary()
        assert seen.address == old.address
        before = len(seen.told)
        getattr(old, strike)()
        await until(lambda: seen.address not in ("", old.address), LONG_S)
        new = seen.address
        assert group.named(group.watchers[0]) == new and seen.source.identity is not None
        assert seen.source.identity.role == "primary"
        assert seen.failovers == [f"failover: {old.address} -> {new}"]
        moved_at = next(mark.at for mark in seen.feeds.history.marks if mark.text in seen.failovers)
        after = [event for event in seen.told[before:] if event.kind == "stats" and event.at > moved_at]
        assert after and all(event.trouble is None for event in after), after
        rate = seen.feeds.history.rate("commands")
        assert rate is None or rate >= 0
        await until(lambda: "+switch-master" in newest(seen), LONG_S)
        event = next(event for event in seen.topology.events if event.name == "+switch-master")
        assert event.group == NAME and old.address in event.words and new in event.words
        # The lost one stays on the list, as what it is.
        await until(lambda: old.address in {node.address for node in seen.topology.nodes}, LONG_S)
        node = next(node for node in seen.topology.nodes if node.address == old.address)
        assert node.state != "online"
        assert any(old.address in problem for problem in seen.topology.problems)
