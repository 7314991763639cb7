"""`cachetui record`: what the dashboard would see, into a file."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from itertools import islice
from pathlib import Path

from cachetui.cli.call import Call, opened
from cachetui.config import Settings, Target
from cachetui.errors import BadUsage, CacheError, StoppedPartWay
from cachetui.feeds.hub import FeedEvent, Feeds
from cachetui.feeds.record import Recorder
from cachetui.source.base import Source
from cachetui.text import duration, printable, size

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def record(call: Call) -> int:
    """Record until the duration is over or a signal comes; both are a good end."""
    words = call.words
    where = words[:1] if call.options.uri is not None or not call.by_parts else []
    rest = words[len(where) :]
    if len(rest) != 1:
        raise BadUsage("record takes one target and one file", "cachetui record TARGET FILE")
    path = Path(rest[0])
    if path.exists() and not call.options.force:
        raise BadUsage(f"{printable(str(path), 200)} exists already", "choose another name, or --force overwrites it")
    target, settings = call.target(where)
    return asyncio.run(_record(call, target, settings, path))


async def _record(call: Call, target: Target, settings: Settings, path: Path) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with opened(target) as source:
        secrets = [secret for secret in (target.password, target.sentinel_password) if secret]
        with Recorder(path, source.name, secrets=secrets, overwrite=call.options.force) as recorder:
            for number in SIGNALS:
                loop.add_signal_handler(number, stop.set)
            call.tell(f"recording {source.name} to {printable(str(path), 200)}; Ctrl+C ends it")
            await _run(call, settings, source, recorder, stop)
    if recorder.stopped:
        raise StoppedPartWay(
            f"recording ended early: {recorder.stopped}", "what was written until then can be replayed"
        )
    call.tell(f"{recorder.entries_written:,} entries, {size(recorder.bytes_written)}")
    return 0


async def _run(call: Call, settings: Settings, source: Source, recorder: Recorder, stop: asyncio.Event) -> None:
    """Record keys once, then snapshots until `stop`."""

    def on_event(_: FeedEvent) -> None:
        if recorder.closed:
            stop.set()

    feeds = Feeds(source, interval_s=settings.interval_s, on_event=on_event)
    feeds.attach(recorder)
    sampling = asyncio.create_task(_sample(call, source, recorder))
    try:
        async with asyncio.timeout(call.options.duration):
            await stop.wait()
    except TimeoutError:
        call.tell(f"{duration(call.options.duration)} are over")
    finally:
        sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # we cancelled it just now
            await sampling
        await feeds.close()


async def _sample(call: Call, source: Source, recorder: Recorder) -> None:
    """Note some keys, their facts, and the first values where they were asked for."""
    from cachetui.keyspace.scan import steps

    wanted: int = call.options.keys
    if not wanted:
        return
    keys: dict[bytes, None] = {}
    try:
        async for step in steps(source, limit=wanted):
            recorder.write(step)
            new = list(islice((key for key in dict.fromkeys(step.keys) if key not in keys), wanted - len(keys)))
            keys.update(dict.fromkeys(new))
            if new:
                recorder.write(await source.facts(new))
        for key in islice(keys, call.options.values):
            recorder.write(await source.value(key))
    except CacheError as error:
        call.tell(f"keys are not recorded: {error.line()}")
