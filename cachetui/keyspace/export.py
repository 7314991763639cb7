"""Keys with their values to a file, as JSON lines or as redis-cli commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cachetui.errors import BadUsage, Unsupported
from cachetui.keyspace.portable import Record, json_line, quoted, record_of, to_commands
from cachetui.model import Value
from cachetui.source.base import Source
from cachetui.text import printable

ROWS = 1_000
ELEMENT_BYTES = 8 * 1024 * 1024
"""A larger element is not exported: the key is left out and counted."""
KEY_BYTES = 64 * 1024 * 1024
"""What one key may hold in memory while it is written."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did."""

    written: int
    gone: int
    left_out: tuple[str, ...]
    """Why keys were left out: the first few, printable."""
    left_out_count: int

    def line(self, path: Path) -> str:
        """Return what was done, in one sentence."""
        words = f"{self.written:,} key{'s' if self.written != 1 else ''} written to {printable(str(path))}"
        if self.gone:
            words += f", {self.gone:,} gone meanwhile"
        if self.left_out_count:
            words += f", {self.left_out_count:,} left out: {self.left_out[0]}"
        return words


async def export(
    source: Source, keys: Iterable[bytes], path: Path, *, progress: Callable[[int], None] | None = None
) -> Exported:
    """Write `keys` to a new file: as redis-cli commands when its name ends in `.redis`, else as JSON lines.

    Raises BadUsage when the file is there already or cannot be written, CacheError when the
    server stops answering; what was written until then stays.
    """
    form = _commands if path.suffix == ".redis" else _json
    written = gone = 0
    left_out: list[str] = []
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            for at, key in enumerate(keys):
                try:
                    record = await _record(source, key)
                except Unsupported as error:
                    left_out.append(error.message)
                    continue
                if record is None:
                    gone += 1
                    continue
                file.write(form(record))
                written += 1
                if progress is not None:
                    progress(at + 1)
    except FileExistsError as error:
        raise BadUsage(f"{printable(str(path))} is there already", "choose another name") from error
    except OSError as error:
        raise BadUsage(f"cannot write {printable(str(path))}: {error.strerror}", "choose another place") from error
    return Exported(written, gone, tuple(left_out[:5]), len(left_out))


async def _record(source: Source, key: bytes) -> Record | None:
    """Return the whole key, None when it is gone. Raises Unsupported for what cannot be exported."""
    windows: list[Value] = []
    held, start = 0, None
    order = "oldest"  # of a stream: the ids of its entries only grow
    while True:
        value = await source.value(key, rows=ROWS, max_bytes=ELEMENT_BYTES, start=start, order=order)
        if not value.facts.exists or value.note == "gone":
            return None
        windows.append(value)
        held += sum(len(item.data) + len(item.label) for item in value.items)
        if held > KEY_BYTES:
            raise Unsupported(f"{printable(key, 100)}: too big to export")
        if value.next is None or value.next == start:
            return record_of(windows, now_ms=round(source.now() * 1000))
        start = value.next


def _json(record: Record) -> str:
    return json_line(record) + "\n"


def _commands(record: Record) -> str:
    return "".join(quoted(command) + "\n" for command in to_commands(record))
