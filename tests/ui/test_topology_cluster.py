"""A cluster of six on the screen: the picture, its troubles, and one node looked at alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cachetui.model import ClientList
from cachetui.ui.live import Live
from cachetui.ui.panes.topology import TopologyPane
from tests.servers.sixfold import Sixfold, sixfold
from tests.ui.conftest import Open, Screen


@pytest.fixture(scope="module")
def six() -> Iterator[Sixfold]:
    with sixfold("valkey9") as running:
        for at, node in enumerate(running.primaries()):
            slot = (0, 6000, 12000)[at]
            for number in range(at + 1):
                key = next(
                    k for k in _names(number) if int(str(node.command("CLUSTER", "KEYSLOT", k))) // 5462 == slot // 5462
                )
                node.command("SET", key, "x")
        yield running


def _names(begin: int) -> Iterator[str]:
    return (f"key:{begin}:{number}" for number in range(200))


def pane_of(screen: Screen) -> TopologyPane:
    pane = screen.app.pane
    assert isinstance(pane, TopologyPane)
    return pane


def nodes_of(live: Live) -> set[str]:
    clients = live.feeds.latest["clients"]
    assert isinstance(clients, ClientList)
    return {client.node for client in clients.clients}


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 55)])
async def test_shards_are_grouped_and_nothing_that_matters_is_cut(
    six: Sixfold, dashboard: Open, size: tuple[int, int]
) -> None:
    async with dashboard(six.url, size=size) as screen:
        await screen.press("4")
        await screen.shows("healthy: 3 shards, 6 of 6 nodes answer, 16,384 of 16,384 slots served", "#topology-pane")
        lines = screen.text("#topology-pane").splitlines()
        head = next(at for at, line in enumerate(lines) if line.split()[:2] == ["node", "state"])
        rows = [line.lstrip("> ").split() for line in lines[head + 1 : head + 7]]
        assert [row[2] if row[1] == "*" else row[1] for row in rows] == ["primary", "replica"] * 3
        assert {row[0] for row in rows} == {node.address for node in six.nodes}
        assert all(len(line.rstrip()) <= size[0] for line in lines)
        bar = next(line for line in lines if line.startswith("slots "))
        assert "x" not in bar and bar.rstrip().endswith("100%")


async def test_one_node_alone_in_every_view_and_back(six: Sixfold, dashboard: Open) -> None:
    first, _, third = six.primaries()
    async with dashboard(six.url) as screen:
        wide = screen.live
        await screen.press("4")
        await screen.shows("healthy", "#topology-pane")
        pane = pane_of(screen)
        assert pane.table.select(six.id_of(third))
        await screen.press("enter")
        await screen.shows(f"node {third.address} alone (Esc: all)", "#who")
        await screen.shows("live", "#state")
        assert screen.live is not wide and screen.live.wide is wide and wide.feeds.wanted == frozenset()

        await screen.press("2")
        held = str(third.command("DBSIZE"))
        await screen.until(
            lambda: (
                screen.live.browser.state.scanned_at is not None and len(screen.live.browser.state.index) == int(held)
            )
        )
        await screen.press("space", "5")
        await screen.until(lambda: screen.live.feeds.latest.get("clients"))
        await screen.press("escape")
        await screen.until(lambda: screen.live is wide)
        assert screen.app.view_id == "clients"
        await screen.shows(six.url, "#who")
        await screen.until(lambda: nodes_of(wide) == {node.address for node in six.nodes})

        await screen.press("right_square_bracket")
        await screen.until(lambda: screen.live.node == first.address)
        await screen.press("right_square_bracket")
        await screen.until(lambda: screen.live.node == six.replica_of(first).address)
        await screen.press("left_square_bracket")
        await screen.until(lambda: screen.live.node == first.address)
        await screen.press("left_square_bracket")
        await screen.until(lambda: screen.live is wide)
        await screen.press("left_square_bracket")
        await screen.until(lambda: screen.live.node == six.replica_of(third).address)
        await screen.shows("replica", "#who")
        await screen.press("2", "right_square_bracket")
        assert screen.live.node == six.replica_of(third).address


async def test_what_is_wrong_stands_above_with_what_to_do(six: Sixfold, dashboard: Open) -> None:
    first, second, _ = six.primaries()
    second.command("CLUSTER", "SETSLOT", "6000", "MIGRATING", six.id_of(first))
    try:
        async with dashboard(six.url) as screen:
            await screen.press("4")
            await screen.shows("at risk: 1 problem", "#topology-pane")
            words = screen.text("#topology-pane")
            assert f"6000 on {second.address} goes to {first.address}" in words and "cachetui cluster fix" in words
            await screen.press("8")
            await screen.shows("1 slot is open", "#findings-pane")
            second.command("CLUSTER", "SETSLOT", "6000", "STABLE")
            await screen.press("4")
            await screen.shows("healthy", "#topology-pane")
    finally:
        second.command("CLUSTER", "SETSLOT", "6000", "STABLE")


async def test_a_silent_node_shows_how_old_its_figures_are(six: Sixfold, dashboard: Open) -> None:
    victim = six.replica_of(six.primaries()[0])
    async with dashboard(six.url) as screen:
        await screen.press("4")
        await screen.shows("healthy", "#topology-pane")
        victim.pause()
        try:
            await screen.shows("5 of 6 nodes answer", "#topology-pane")
            row = next(
                line
                for line in screen.text("#topology-pane").splitlines()
                if line.lstrip("> ").startswith(victim.address)
            )
            assert "! " in row and "0B" not in row.split("!")[0]
            await screen.shows("live", "#state")
        finally:
            victim.resume()
        await screen.shows("6 of 6 nodes answer", "#topology-pane")
