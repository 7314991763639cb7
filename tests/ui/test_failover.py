"""F on the screen: asked, previewed, watched, followed; and refused with the reason."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from cachetui.actions import failover
from cachetui.model import Topology
from tests.contract.redis_targets import until
from tests.servers.groups import LONG_S, SentinelGroup, sentinel_group
from tests.servers.launch import Server
from tests.ui.conftest import Open, Screen


@pytest.fixture
async def group(_shared: Callable[..., Server]) -> AsyncIterator[SentinelGroup]:
    found = sentinel_group("redis7", _shared)
    await found.heal()
    yield found
    await found.heal()


def topology(screen: Screen) -> Topology:
    found = screen.live.feeds.latest.get("topology")
    assert isinstance(found, Topology)
    return found


async def seen(screen: Screen, nodes: int) -> None:
    """Wait until all servers are known and online."""
    await screen.until(lambda: "topology" in screen.live.feeds.latest)
    await screen.until(lambda: [node.state for node in topology(screen).nodes] == ["online"] * nodes)


async def ended(screen: Screen, words: str) -> None:
    """Wait until the plan on the screen has ended so."""
    for _ in range(int(LONG_S / 0.02)):
        if words in screen.dialog():
            return
        await screen.pilot.pause(0.02)
    raise AssertionError(f"no {words!r} in:\n{screen.dialog()}")


async def test_a_group_fails_over_and_the_screen_goes_along(
    group: SentinelGroup, dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failover, "FOLLOW_S", 0.5)
    old = group.primary().address
    async with dashboard(group.url) as screen:
        await screen.press("4")
        await seen(screen, 3)
        await screen.shows("Sentinels of mymaster: quorum 2 of 3")
        await screen.press("j")
        selected = screen.app.pane.copied()
        await screen.press("F")
        await screen.until(lambda: len(screen.app.screen_stack) > 1)
        assert "Fail over the group mymaster" in screen.dialog() and "SENTINEL FAILOVER mymaster" in screen.dialog()
        await screen.press("y")
        await ended(screen, "says that it is the primary")
        new = group.primary().address
        assert new != old and f"{new} says that it is the primary" in screen.dialog()
        await screen.press("escape")
        await screen.until(lambda: topology(screen).server.address == new)
        assert screen.app.view_id == "topology" and screen.app.pane.copied() == selected
        await screen.shows("+switch-master")
        await screen.shows("the primary changed")
        await screen.press("1")
        await screen.shows(f"failover: {old} -> {new}"[:30])
        await screen.press("9")
        await screen.shows("Fail over the group mymaster")


async def test_the_selected_replica_takes_over(new_server: Callable[..., Server], dashboard: Open) -> None:
    primary = new_server("valkey9", "--repl-diskless-sync-delay", "0")
    behind = ("--replicaof", "127.0.0.1", str(primary.port), "--repl-diskless-sync-delay", "0")
    replicas = [new_server("valkey9", *behind) for _ in range(2)]
    async with dashboard(primary.url, size=(80, 24)) as screen:
        await screen.press("4")
        await seen(screen, 3)
        # Without a replica under the cursor it asks which; Esc leaves and nothing is sent.
        await screen.press("F")
        await screen.until(lambda: len(screen.app.screen_stack) > 1)
        assert "takes over" in screen.dialog()
        await screen.press("escape")
        await screen.until(lambda: len(screen.app.screen_stack) == 1)
        await screen.press("j", "F")
        wanted = screen.app.pane.copied()
        await screen.until(lambda: len(screen.app.screen_stack) > 1)
        assert f"Fail over to {wanted}" in screen.dialog()
        await screen.press("y")
        await ended(screen, "follows it")
        await screen.press("escape")
        chosen = next(server for server in replicas if server.address == wanted)
        assert chosen.command("ROLE")[0] == b"master"  # type: ignore[index]
        await screen.until(lambda: topology(screen).server.role == "replica")
        await until(lambda: primary.command("ROLE")[0] == b"slave")  # type: ignore[index]
        await screen.shows("replica of")


async def test_where_nothing_can_take_over_it_says_why(redis7: Server, memcached: Server, dashboard: Open) -> None:
    async with dashboard(redis7.url) as screen:
        await screen.press("4")
        await seen(screen, 1)
        await screen.press("F")
        await screen.until(lambda: any("has no replica" in n.message for n in screen.app._notifications))
        assert len(screen.app.screen_stack) == 1
    async with dashboard(f"memcached://{memcached.address}") as screen:
        await screen.press("4")
        await screen.until(lambda: "topology" in screen.live.feeds.latest)
        await screen.press("F")
        await screen.until(lambda: any("do not replicate" in n.message for n in screen.app._notifications))
