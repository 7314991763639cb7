"""What ends on the screen: the dashboard, a replay, the demo. Textual is imported here and last of all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cachetui.cli.call import Call, settled
from cachetui.config import Settings, Target, parse_target
from cachetui.config.resolve import LOCAL
from cachetui.errors import BadUsage, CacheError, Unreachable

if TYPE_CHECKING:
    from cachetui.demo.run import Demo
    from cachetui.ui.app import CachetuiApp

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SLOW_FPS = "30"


def dashboard(call: Call) -> int:
    """Run the dashboard over one target."""
    target, settings = call.target()
    _need_terminal("analyze, keys, slowlog, topology and policy work without one")
    try:
        target = asyncio.run(settled(target))
    except CacheError:
        if target.addresses == LOCAL:
            raise
        # Named by the user: the dashboard shows what is wrong and goes on trying.
        target = replace(target, addresses=target.addresses[:1])
    return _show(target, settings)


def replay(call: Call) -> int:
    """Run the dashboard over a recording."""
    if len(call.words) != 1:
        raise BadUsage("replay takes one file", "cachetui replay FILE")
    path = Path(call.words[0])
    settings = call.settings()
    from cachetui.source.recording import read_recording

    read_recording(path)  # a file that is none is told before the screen is taken
    _need_terminal("a recording is replayed on one")
    return _show(Target(kind="replay", addresses=(), path=str(path)), settings)


def demo(call: Call) -> int:
    """Start a real server with a live load, and the dashboard over it; both end together."""
    options = call.options
    kinds = [name for name in ("memcached", "sentinel", "cluster") if getattr(options, name)]
    if options.all:
        raise BadUsage("demo --all is not there yet", "demo, --sentinel, --cluster and --memcached are")
    if len(kinds) > 1:
        raise BadUsage("demo starts one kind of servers", f"give --{kinds[0]} or --{kinds[1]}")
    if call.words:
        raise BadUsage("demo takes no target", "it starts a server of its own")
    settings = call.settings()
    if not options.no_ui:
        _need_terminal("demo --no-ui works without one")
    from cachetui.demo.run import Demo

    more = {} if options.rate is None else {"rate": options.rate}
    running = Demo(
        memcached=options.memcached,
        sentinel=options.sentinel,
        cluster=options.cluster,
        duration_s=options.duration,
        **more,
    )
    if options.no_ui:
        return asyncio.run(_stay(call, running))
    return _demo_on_screen(call, running, settings)


def _demo_on_screen(call: Call, running: Demo, settings: Settings) -> int:
    call.tell("starting a server with a live load ...")
    asyncio.run(running.__aenter__())
    try:
        # The load of Memcached knows no scenarios.
        demo = None if call.options.memcached else running
        return _show(parse_target(running.url), settings, ends_after_s=call.options.duration, demo=demo)
    finally:
        asyncio.run(running.__aexit__(None, None, None))


async def _stay(call: Call, running: Demo) -> int:
    """Stay until the time is over, a signal comes or the server is gone."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    entering = asyncio.create_task(running.__aenter__())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({entering, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set() and not entering.done():
            entering.cancel()
            return 0
        await entering
        print(running.url)
        sys.stdout.flush()
        call.tell(f"{running.description}; Ctrl+C ends it")
        ended = asyncio.create_task(running.wait())
        began = loop.time()
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        asked = stop.is_set() or (
            call.options.duration is not None and loop.time() - began >= call.options.duration - 1
        )
        if not asked:
            raise Unreachable("the demo's server has ended", "start it again")
        return 0
    finally:
        stopped.cancel()
        with contextlib.suppress(asyncio.CancelledError, CacheError):  # its own failure was raised above
            await entering
        await running.__aexit__(None, None, None)


def _need_terminal(hint: str) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadUsage("the dashboard needs a terminal", hint)


def _show(target: Target, settings: Settings, *, ends_after_s: float | None = None, demo: Demo | None = None) -> int:
    """Run the app until it ends."""
    if settings.slow_link:
        # Read once, when Textual is imported.
        os.environ["TEXTUAL_ANIMATIONS"] = "none"
        os.environ["TEXTUAL_FPS"] = SLOW_FPS
    if not settings.color:
        os.environ["NO_COLOR"] = "1"
    from cachetui.ui.app import CachetuiApp

    app = CachetuiApp(target, settings, demo=demo)
    if ends_after_s is not None:
        _end_later(app, ends_after_s)
    app.run()
    return app.return_code or 0


def _end_later(app: CachetuiApp, seconds: float) -> None:
    """End the app after some time: the demo's server ends then as well."""
    import threading

    def end() -> None:
        with contextlib.suppress(RuntimeError):  # it has ended already
            app.call_from_thread(app.exit)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
