"""A small real database behind a cache: SQLite in a directory of its own, asked from one thread."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from cachetui.patterns import Update

_TABLE = "CREATE TABLE rows (key TEXT PRIMARY KEY, value BLOB, sequence INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
_FILL = (
    "WITH RECURSIVE numbers (n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?) "
    "INSERT INTO rows (key, value) SELECT 'k' || n, CAST(hex(randomblob(?)) AS BLOB) FROM numbers"
)
_WRITE = "INSERT INTO rows (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
# What comes again, or too late, changes nothing: write-behind may write an update twice.
_WRITE_SEQUENCED = (
    "INSERT INTO rows (key, value, sequence) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, "
    "sequence = excluded.sequence WHERE excluded.sequence > rows.sequence"
)


class Database:
    """`keys` rows named k0, k1, ... while it is entered; each value is `value_bytes` long."""

    def __init__(self, keys: int, value_bytes: int = 300) -> None:
        self._keys, self._value_bytes = keys, value_bytes
        self._thread = ThreadPoolExecutor(1, "database")
        self._directory = ""
        self._link: sqlite3.Connection | None = None

    async def __aenter__(self) -> Database:
        await self._inside(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inside(self._close)
        self._thread.shutdown()

    async def load(self, key: str) -> bytes | None:
        """Return the value of a row, None where there is none."""
        rows = await self._inside(self._ask, "SELECT value FROM rows WHERE key = ?", [(key,)])
        return rows[0][0] if rows else None

    async def write(self, key: str, value: bytes) -> None:
        """Write one row."""
        await self._inside(self._ask, _WRITE, [(key, value)])

    async def write_all(self, updates: Sequence[Update]) -> None:
        """Write what a write-behind queue brings, in one transaction."""
        rows = [(update.key, update.value, update.sequence) for update in updates]
        await self._inside(self._ask, _WRITE_SEQUENCED, rows)

    async def _inside(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    def _open(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="cachetui-load-")
        self._link = sqlite3.connect(Path(self._directory) / "rows.db")
        self._link.execute("PRAGMA synchronous = off")
        self._link.execute(_TABLE)
        self._link.execute(_FILL, (self._keys, self._value_bytes // 2))
        self._link.commit()

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _ask(self, statement: str, rows: list[tuple[Any, ...]]) -> list[Any]:
        assert self._link is not None
        if statement.startswith("SELECT"):
            return self._link.execute(statement, rows[0]).fetchall()
        with self._link:
            self._link.executemany(statement, rows)
        return []
