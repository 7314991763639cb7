"""Where to connect: the given server, the first cluster node that answers, or what the Sentinels name."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from cachetui.config import Address, Target
from cachetui.errors import BadTarget, CacheError, Unreachable
from cachetui.source import faults, probe
from cachetui.source.redis.connection import Argument, Credentials, Link, RefusedReply
from cachetui.source.redis.info import role_word
from cachetui.source.redis.replies import as_int, as_list, as_text
from cachetui.text import printable

_SENTINEL_SHARE = 0.5
"""Part of the deadline for the Sentinels: the rest is for the server they name."""


async def endpoint_of(target: Target, sent: Counter[str]) -> Address:
    """Return the address to connect to now. Raises CacheError when it cannot be found out."""
    if not target.addresses:
        raise BadTarget("the target has no address", "write redis://host:port")
    if target.kind == "sentinel":
        return await primary_of(target, sent)
    if len(target.addresses) > 1:
        return await _first_reachable(target.addresses, target.timeout_s)
    return target.addresses[0]


async def _first_reachable(addresses: Sequence[Address], timeout_s: float) -> Address:
    """Return the first address that takes a connection; the first of all when none does."""
    each_s = timeout_s * _SENTINEL_SHARE / len(addresses)
    for address in addresses:
        if await probe.accepts(address, each_s):
            return address
    return addresses[0]


async def primary_of(target: Target, sent: Counter[str]) -> Address:
    """Return the primary that most of the answering Sentinels name, when it says itself that it is one."""
    service = target.service or ""
    answers = await asyncio.gather(*(_ask_sentinel(target, address, service, sent) for address in target.addresses))
    named = [answer for answer in answers if isinstance(answer, Address)]
    if not named:
        errors = [answer for answer in answers if isinstance(answer, CacheError)]
        raise errors[0]
    votes = Counter(named)
    address, count = votes.most_common(1)[0]
    if len(votes) > 1 and 2 * count <= len(named):
        places = ", ".join(sorted(printable(str(place)) for place in votes))
        raise Unreachable(f"the Sentinels disagree about the primary of {printable(service)}: {places}", "try again")
    return address


async def _ask_sentinel(target: Target, address: Address, service: str, sent: Counter[str]) -> Address | CacheError:
    limit = target.timeout_s * _SENTINEL_SHARE
    who = Credentials(target.sentinel_user, target.sentinel_password, 0, target.tls, limit)

    def count(command: Sequence[Argument]) -> None:
        sent[as_text(command[0], 40).lower()] += 1

    link = Link(address, who, count)
    try:
        async with asyncio.timeout(limit):
            await link.open()
            (reply,) = await link.exchange([["SENTINEL", "GET-MASTER-ADDR-BY-NAME", service]])
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError):
            raise
        return faults.from_exception(error, address, limit)
    finally:
        await link.close()
    if isinstance(reply, RefusedReply):
        return faults.reply_error(str(reply), "SENTINEL")
    parts = as_list(reply)
    port = as_int(parts[1]) if len(parts) == 2 else None
    if port is None:
        return Unreachable(
            f"the Sentinel {printable(str(address))} knows no group {printable(service)!r}",
            "SENTINEL MASTERS lists the names",
        )
    return Address(as_text(parts[0], 200), port)


def check_primary(role: object, address: Address) -> None:
    """Raise Unreachable when the server that the Sentinels named says that it is no primary."""
    said = role_word(role)
    if said not in (None, "primary"):
        raise Unreachable(
            f"the Sentinels name {printable(str(address))} as primary, and it says it is a {said}",
            "a failover may be running: try again",
        )
