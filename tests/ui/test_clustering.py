"""A cluster rebalanced from the screen: the form, the plan with before and after, the end, and the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.servers.clusters import created, started, stopped
from tests.servers.launch import Server
from tests.ui.conftest import Open, Screen


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    servers = started("valkey9", 3)
    try:
        path: Path = tmp_path_factory.mktemp("made")
        assert asyncio.run(created(servers, path, 0)).verified is True
        yield servers
    finally:
        stopped(servers)


def slots(node: Server) -> int:
    reply = node.command("CLUSTER", "NODES")
    assert isinstance(reply, bytes)
    mine = next(line for line in reply.decode().splitlines() if "myself" in line)
    ends = [part.split("-") for part in mine.split()[8:] if not part.startswith("[")]
    return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)


async def asked(screen: Screen) -> None:
    """Open the form."""
    await screen.press("4")
    await screen.shows("slots served")
    await screen.press("B")
    await screen.until(lambda: "balance by" in screen.dialog())


async def test_slots_are_balanced_and_taken_back(nodes: list[Server], dashboard: Open) -> None:
    async with dashboard(nodes[0].url) as screen:
        await asked(screen)
        screen.app.screen.query_one("#weights", Input).value = f"{nodes[0].address}=2"
        await screen.press("enter")
        await screen.until(lambda: f"{nodes[0].address}: 5,461 slots -> 8,192" in screen.dialog())
        assert "CLUSTER MIGRATESLOTS" in screen.dialog()
        await screen.press("y")
        await screen.until(lambda: "3 nodes agree" in screen.dialog())
        assert slots(nodes[0]) == 8192
        await screen.press("u")
        await screen.until(lambda: "Undo: Rebalance" in screen.dialog())
        await screen.press("y")
        await screen.until(lambda: "3 nodes agree" in screen.dialog())
        assert [slots(node) for node in nodes] == [5461, 5462, 5461]


async def test_nothing_to_balance_is_said(nodes: list[Server], redis7: Server, dashboard: Open) -> None:
    async with dashboard(nodes[1].url) as screen:
        await asked(screen)
        await screen.press("enter")
        await screen.until(lambda: any("nothing to do" in toast.message for toast in screen.app._notifications))
    async with dashboard(redis7.url) as screen:
        await screen.press("4")
        await screen.shows("primary without replicas")
        await screen.press("B")
        await screen.until(lambda: any("no cluster" in toast.message for toast in screen.app._notifications))
