"""The demo's own process: a server, its load, and an end to both.

It prints one JSON line when the servers answer (`url`, `description`, `directory` and `pid` of the first,
`directories` and `pids` of all), or one with `error` and `hint` and exit code 1; and one with `ended` and `errors`
(met by the load, by kind) at its end. Each line of its input is the id of a scenario: it is played, or ended when it
is under way. It ends when its input is a pipe and reaches its end, on SIGINT, SIGTERM and SIGHUP, after `--duration`
seconds, or when the server (of several the last that holds data) has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
from collections.abc import Awaitable, Callable

from cachetui.demo import RATE, SEED, servers
from cachetui.demo.actors import Ledger, end
from cachetui.demo.group import Group, start_alone

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Run the demo until something ends it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)  # until there is something to clean up
    parser = argparse.ArgumentParser(prog="python -m cachetui.demo")
    kinds = parser.add_mutually_exclusive_group()
    for name in ("memcached", "sentinel", "cluster"):
        kinds.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--duration", type=float, metavar="S")
    parser.add_argument("--rate", type=int, default=RATE, help="commands a second")
    parser.add_argument("--seed", type=int, default=SEED)
    return asyncio.run(_supervise(parser.parse_args()))


async def _supervise(options: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    orders: asyncio.Queue[str] = asyncio.Queue()
    _watch_input(loop, stop, orders)
    work = asyncio.create_task(_work(options, orders))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    work.cancel()
    try:
        return await work
    except asyncio.CancelledError:
        return 0
    except servers.DemoFailed as error:
        _say({"error": error.message, "hint": error.hint})
        return 1


def _watch_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event, orders: asyncio.Queue[str]) -> None:
    """Take in lines; stop when our input ends, if it is a pipe: whoever started us is gone, however that came about."""
    number = sys.stdin.fileno() if sys.stdin else -1
    if number < 0 or not stat.S_ISFIFO(os.fstat(number).st_mode):
        return

    def readable() -> None:
        came = os.read(number, 4096)
        for line in came.decode("ascii", "replace").split():
            orders.put_nowait(line)
        if not came:
            loop.remove_reader(number)
            stop.set()

    loop.add_reader(number, readable)


async def _work(options: argparse.Namespace, orders: asyncio.Queue[str]) -> int:
    group = await _start(options)
    ledger = Ledger()
    reason = "stopped"
    try:
        os.nice(5)  # the load gives way to whoever looks at it
        first = group.servers[0]
        _say(
            {
                "url": group.url,
                "description": group.description,
                "directory": str(first.directory),
                "pid": first.pid,
                "directories": [str(server.directory) for server in group.servers],
                "pids": [server.pid for server in group.servers],
            }
        )
        rehearsing = asyncio.create_task(_rehearse(group, orders))
        try:
            reason = await _load(group, options, ledger)
        finally:
            await end(rehearsing)
    finally:
        await group.stop()
        _say({"ended": reason, "errors": dict(ledger.errors)})
    return 0 if reason == "duration" else 1


async def _rehearse(group: Group, orders: asyncio.Queue[str]) -> None:
    """Play the scenarios that are asked for; one that is under way is ended instead."""
    from cachetui.demo.scenarios import SCENARIOS, play

    known, playing = {scenario.id for scenario in SCENARIOS}, dict[str, asyncio.Task[object]]()
    try:
        while True:
            name = await orders.get()
            before = playing.pop(name, None)
            if before is not None and not before.done():
                await end(before)
            elif name in known and group.reach is not None:
                playing[name] = asyncio.create_task(play(name, group.reach))
    finally:
        for task in playing.values():
            await end(task)


async def _start(options: argparse.Namespace) -> Group:
    """Start what is asked for. Raises DemoFailed."""
    if options.sentinel:
        from cachetui.demo.sentinel import start_sentinel

        return await start_sentinel(servers.find_redis())
    if options.cluster:
        from cachetui.demo.cluster import start_cluster

        return await start_cluster(servers.find_redis())
    if options.memcached:
        from cachetui.demo.memcached import start_fleet

        return await start_fleet(servers.find_memcached())
    return await start_alone(servers.find_redis())


async def _load(group: Group, options: argparse.Namespace, ledger: Ledger) -> str:
    """Load the servers until the time is over or the last one has ended; return which of them."""
    watch = asyncio.create_task(_ended(group))
    load, halt = _start_load(group, options, ledger)
    try:
        done, _ = await asyncio.wait({load, watch}, timeout=options.duration, return_when=asyncio.FIRST_COMPLETED)
        if load in done:
            load.result()
        return "server ended" if done else "duration"
    finally:
        await halt()
        await end(watch)


def _start_load(
    group: Group, options: argparse.Namespace, ledger: Ledger
) -> tuple[asyncio.Task[None], Callable[[], Awaitable[object]]]:
    """Start the load; return its task and the way to end it."""
    if group.reach is None:
        from cachetui.demo.memcached import MemcachedWorkload

        ports = [server.port for server in group.servers]
        threads = MemcachedWorkload(ports, rate=options.rate, seed=options.seed, ledger=ledger)
        working = asyncio.create_task(asyncio.to_thread(threads.run))

        async def halt() -> None:
            threads.stop()
            await asyncio.wait({working})

        return working, halt
    from cachetui.demo.workload import Workload

    work = Workload(group.reach, rate=options.rate, seed=options.seed, ledger=ledger, clustered=group.clustered)
    load = asyncio.create_task(work.run())
    return load, lambda: end(load)


async def _ended(group: Group) -> None:
    while True:
        await asyncio.sleep(0.2)
        if group.ended():
            return


def _say(document: dict[str, object]) -> None:
    """Write one JSON line, unbuffered; nobody may be there to read it."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(document).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
