"""Makes the recordings beside this file from the real demo: `make recordings`.

What tells the machine they were made on does not stay in them.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from cachetui.demo.run import Demo
from cachetui.feeds.record import Recorder, read_recording
from cachetui.model import Stats

HERE = Path(__file__).parent
WARM_S = 20
OF_THE_MACHINE = ("os", "process_id", "executable", "config_file")


async def record(name: str, *, memcached: bool, seconds: int, keys: int, values: int) -> None:
    """Record so many seconds of a warm demo."""
    async with Demo(memcached=memcached) as demo:
        await asyncio.sleep(WARM_S)
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder) / name
            words = ["-m", "cachetui", "record", demo.url, str(raw), "--duration", str(seconds)]
            words += ["--keys", str(keys), "--values", str(values)]
            running = await asyncio.create_subprocess_exec(sys.executable, *words)
            if await running.wait():
                raise SystemExit(f"{name}: nothing was recorded")
            copy(raw, HERE / name)


def copy(raw: Path, path: Path) -> None:
    """Write the recording again, without what tells the machine."""
    header, entries = read_recording(raw)
    with Recorder(path, header.target, overwrite=True) as recorder:
        for entry in entries:
            item = entry.item
            if isinstance(item, Stats):
                item = replace(item, extra={k: v for k, v in item.extra.items() if k not in OF_THE_MACHINE})
            if not isinstance(item, str):
                recorder.write(item, kind=entry.kind, at=entry.at)
    path.chmod(0o644)


async def main() -> None:
    await record("demo.rec", memcached=False, seconds=60, keys=400, values=40)
    await record("memcached.rec", memcached=True, seconds=20, keys=150, values=5)


if __name__ == "__main__":
    asyncio.run(main())
