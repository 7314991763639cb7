"""Compare and set by an item's CAS number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cachetui.errors import Unsupported
from cachetui.source.base import Check, Command

if TYPE_CHECKING:
    from cachetui.source.memcached.source import MemcachedSource


async def transact(source: MemcachedSource, checks: Sequence[Check], commands: Sequence[Command]) -> list[object]:
    """Send `commands` if the items are still at these versions; see `Source.transact`."""
    raise Unsupported("editing is not there yet", "")
