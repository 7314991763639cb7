"""What blocks a server that answers BUSY."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from cachetui.errors import Busy
from cachetui.source.redis.replies import as_int, as_list, as_map, as_text

Exchange = Callable[[Sequence[Sequence[str]]], Awaitable[list[object]]]


async def explained(busy: Busy, exchange: Exchange) -> Busy:
    """Return `busy` with what can be told of its cause in `detail`: `kill`, and of a function
    `name`, `command` and `duration_ms`. An EVAL cannot be asked about.
    """
    detail = dict(busy.detail)
    if "FUNCTION KILL" not in str(detail.get("reply", "")):
        return Busy(busy.message, busy.hint, {**detail, "kill": "SCRIPT KILL"})
    detail["kill"] = "FUNCTION KILL"
    (reply,) = await exchange([["FUNCTION", "STATS"]])
    running = as_map(as_map(reply).get("running_script"))
    if running:
        words = [as_text(word, 80) for word in as_list(running.get("command"))[:20]]
        detail |= {
            "name": as_text(running.get("name"), 200),
            "command": " ".join(words),
            "duration_ms": as_int(running.get("duration_ms")),
        }
    return Busy(busy.message, busy.hint, detail)
