"""Compare and set: WATCH, look, MULTI ... EXEC on one connection."""

from __future__ import annotations

from collections.abc import Sequence

from cachetui.errors import Unsupported
from cachetui.source.base import Check, Command
from cachetui.source.redis.session import Session


async def transact(
    session: Session, watched: Sequence[bytes], checks: Sequence[Check], commands: Sequence[Command]
) -> list[object]:
    """Send `commands` if every check holds and no watched key changes meanwhile; see `Source.transact`."""
    raise Unsupported("editing is not there yet", "")
