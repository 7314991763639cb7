"""What a change would do to the hit rate is shown before the press, after a look at the commands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from textual.widgets import OptionList

from cachetui.model.burst import Limits
from cachetui.ui import foresight
from cachetui.ui.screens.dialog import Choice, Prompt
from cachetui.ui.screens.preview import Preview
from tests.servers.launch import Server
from tests.ui.conftest import Open, Screen


@contextmanager
def reading_through(server: Server) -> Iterator[None]:
    stop = threading.Event()

    def run() -> None:
        with server.client() as client:
            turn = 0
            while not stop.wait(0.01):  # the screen lives in this process too
                keys = [f"item:{(turn + at) ** 2 % (200 if at % 3 else 5000)}" for at in range(200)]
                turn += 200
                missing = [key for key, value in zip(keys, client.mget(keys), strict=True) if value is None]
                if missing:
                    client.mset(dict.fromkeys(missing, "x" * 900))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


async def option(screen: Screen, name: str) -> None:
    """Choose by name in the list on top."""
    await screen.until(lambda: isinstance(screen.app.screen, Choice))
    await screen.pilot.pause()
    options = screen.app.screen.query_one(OptionList)
    at = next(at for at in range(options.option_count) if str(options.get_option_at_index(at).prompt).startswith(name))
    options.highlighted = at
    await screen.press("enter")


def shown(screen: Screen) -> str:
    options = screen.app.screen.query_one(OptionList)
    return "\n".join(str(options.get_option_at_index(at).prompt) for at in range(options.option_count))


async def test_the_policy_dialog_tells_hit_rates_and_the_plans_too(
    new_server: Callable[..., Server], dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight, "WATCH", Limits(seconds=0.6, aside_s=0.1, throughput_loss=1.0, latency_times=1e6))
    monkeypatch.setattr(foresight, "SAMPLED_ACCESSES", 10_000)
    server = new_server("redis7", "--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru")
    with reading_through(server):
        async with dashboard(server.url) as screen:
            await screen.press("p")
            await screen.until(lambda: isinstance(screen.app.screen, Choice))
            assert "hit rate 9" not in shown(screen)
            await option(screen, foresight.PREDICT)
            await screen.until(lambda: screen.live.observed is not None)
            await screen.until(lambda: isinstance(screen.app.screen, Choice))
            await screen.pilot.pause()
            words = shown(screen)
            assert words.count("· hit rate") == 8
            await option(screen, "allkeys-lfu")
            await screen.until(lambda: isinstance(screen.app.screen, Preview))
            await screen.pilot.pause()
            assert "predicted hit rate: now" in screen.dialog()
            await screen.press("escape")
            await screen.until(lambda: not isinstance(screen.app.screen, Preview))
            await screen.press("m")
            await screen.until(lambda: isinstance(screen.app.screen, Prompt))
            await screen.press(*"8mb", "enter")
            await screen.until(lambda: isinstance(screen.app.screen, Preview))
            await screen.pilot.pause()
            assert "after" in screen.dialog() and "predicted hit rate: now" in screen.dialog()
            await screen.press("escape")
    with server.client() as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
        assert client.config_get("maxmemory") == {"maxmemory": str(4 * 2**20)}


async def test_the_outcome_stands_beside_the_prediction(
    new_server: Callable[..., Server], dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight, "WATCH", Limits(seconds=0.6, aside_s=0.1, throughput_loss=1.0, latency_times=1e6))
    monkeypatch.setattr(foresight, "SAMPLED_ACCESSES", 10_000)
    server = new_server("redis7", "--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru")
    with reading_through(server):
        async with dashboard(server.url) as screen:
            await screen.press("p")
            await option(screen, foresight.PREDICT)
            await screen.until(lambda: screen.live.observed is not None)
            await option(screen, "allkeys-random")
            await screen.until(lambda: isinstance(screen.app.screen, Preview))
            await screen.press("y")
            await screen.until(lambda: "1 done" in screen.dialog())
            await screen.press("escape")
            await screen.press("6")
            await screen.shows("allkeys-random: predicted", "#memory-pane")
            await screen.shows("measured", "#memory-pane")
            assert any("policy is allkeys-random" in mark.text for mark in screen.live.feeds.history.marks)


async def test_an_idle_server_predicts_nothing_and_says_so(
    redis7: Server, dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight, "WATCH", Limits(seconds=0.2, aside_s=0.05))
    async with dashboard(redis7.url) as screen:
        await screen.press("p")
        await option(screen, foresight.PREDICT)
        await screen.until(lambda: any("too few reads" in str(one.message) for one in screen.app._notifications))
        await screen.until(lambda: isinstance(screen.app.screen, Choice))
        assert screen.live.observed is None
        await screen.press("escape")
