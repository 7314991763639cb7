"""Where to connect: the given server, the first cluster node that answers, or what the Sentinels name."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cachetui.config import Address, Target
from cachetui.errors import BadTarget, CacheError, Unreachable
from cachetui.source import faults, probe
from cachetui.source.redis.connection import Argument, Credentials, Link, RefusedReply
from cachetui.source.redis.info import role_word
from cachetui.source.redis.replies import as_int, as_list, as_map, as_text
from cachetui.source.redis.sentinels import who_asks
from cachetui.text import printable

_SENTINEL_SHARE = 0.5
"""Part of the deadline for the Sentinels: the rest is for the server they name."""
_ROLE_SHARE = 0.2
"""Part of the deadline for asking each server that some of them name what it is."""
_GRACE_S = 0.25
"""So long after the first answer the other Sentinels are waited for, if no majority has answered alike."""


@dataclass(frozen=True, slots=True)
class _Vote:
    """What one Sentinel said."""

    sentinel: Address
    address: Address
    """Whom it names."""


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
    """Return the primary that most of the answering Sentinels name.

    They are asked side by side, and a dead one holds nobody up. Where they disagree the servers
    that they name are asked what they are: in a failover the old primary has more votes for a while.
    """
    answers = await _answers(target, sent)
    votes = [answer for answer in answers if isinstance(answer, _Vote)]
    if not votes:
        errors = [answer for answer in answers if isinstance(answer, CacheError)]
        raise errors[0]
    counted = Counter(vote.address for vote in votes)
    if len(counted) == 1:
        return votes[0].address
    return await _among(target, sent, votes, counted)


async def _answers(target: Target, sent: Counter[str]) -> list[_Vote | CacheError]:
    """Ask all Sentinels; return as soon as more than half of them agree, or shortly after the first has answered."""
    tasks = [asyncio.create_task(_ask_sentinel(target, address, sent)) for address in target.addresses]
    answers: list[_Vote | CacheError] = []
    pending, limit_s = set(tasks), target.timeout_s
    try:
        while pending:
            done, pending = await asyncio.wait(pending, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            answers += [task.result() for task in done]
            votes = Counter(answer.address for answer in answers if isinstance(answer, _Vote))
            if not done or any(2 * count > len(tasks) for count in votes.values()):
                break
            if votes:
                limit_s = _GRACE_S
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    return answers


async def _among(target: Target, sent: Counter[str], votes: Sequence[_Vote], counted: Counter[Address]) -> Address:
    """Return the right one of several: a primary by its own word, with the most votes or the newest configuration."""
    epochs, roles = await asyncio.gather(_epochs(target, sent, votes), _roles(target, sent, list(counted)))
    (most, count), *others = counted.most_common()
    if roles[most] == "primary" and 2 * count > len(votes):
        return most
    newer = [address for address, _ in others if roles[address] == "primary" and epochs[address] > epochs[most]]
    if newer:
        return max(newer, key=epochs.__getitem__)
    primaries = [address for address in counted if roles[address] == "primary"]
    best = max(primaries, key=epochs.__getitem__, default=None)
    if best is not None and 2 * count <= len(votes) and sum(epochs[best] == epochs[one] for one in primaries) == 1:
        return best
    if 2 * count > len(votes):
        return most  # what is wrong there is told by connecting to it
    places = ", ".join(sorted(printable(str(place)) for place in counted))
    raise Unreachable(
        f"the Sentinels disagree about the primary of {printable(target.service or '')}: {places}", "try again"
    )


async def _epochs(target: Target, sent: Counter[str], votes: Sequence[_Vote]) -> dict[Address, int]:
    """Return the newest configuration that names each address: a failover raises its number."""
    limit_s, command = target.timeout_s * _ROLE_SHARE, ["SENTINEL", "MASTER", target.service or ""]
    replies = await asyncio.gather(
        *(_asked(vote.sentinel, who_asks(target), limit_s, [command], sent) for vote in votes)
    )
    found = dict.fromkeys((vote.address for vote in votes), 0)
    for vote, (reply,) in zip(votes, replies, strict=True):
        epoch = None if isinstance(reply, CacheError) else as_int(as_map(reply).get("config-epoch"))
        found[vote.address] = max(found[vote.address], epoch or 0)
    return found


async def _roles(target: Target, sent: Counter[str], addresses: Sequence[Address]) -> dict[Address, str | None]:
    return dict(zip(addresses, await asyncio.gather(*(_role_of(target, a, sent) for a in addresses)), strict=True))


async def _role_of(target: Target, address: Address, sent: Counter[str]) -> str | None:
    """Return what a server says that it is; None when it does not answer at once."""
    who = replace(Credentials.of(target), db=0)
    (reply,) = await _asked(address, who, target.timeout_s * _ROLE_SHARE, [["ROLE"]], sent)
    return role_word(next(iter(as_list(reply)), None)) if not isinstance(reply, CacheError) else None


async def _ask_sentinel(target: Target, address: Address, sent: Counter[str]) -> _Vote | CacheError:
    service = target.service or ""
    limit = target.timeout_s * _SENTINEL_SHARE
    question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", service]
    (reply,) = await _asked(address, who_asks(target), limit, [question], sent)
    if isinstance(reply, CacheError):
        return reply
    parts = as_list(reply)
    port = as_int(parts[1]) if len(parts) == 2 else None
    if port is None:
        return Unreachable(
            f"the Sentinel {printable(str(address))} knows no group {printable(service)!r}",
            "SENTINEL MASTERS lists the names",
        )
    return _Vote(address, Address(as_text(parts[0], 200), port))


async def _asked(
    address: Address, who: Credentials, limit_s: float, commands: Sequence[Sequence[Argument]], sent: Counter[str]
) -> list[object]:
    """Return the replies of one server on a connection for this alone; a CacheError stands for each that failed."""

    def count(command: Sequence[Argument]) -> None:
        sent[as_text(command[0], 40).lower()] += 1

    link = Link(address, who, count)
    try:
        async with asyncio.timeout(limit_s):
            await link.open()
            replies = await link.exchange(commands)
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError):
            raise
        return [faults.from_exception(error, address, limit_s)] * len(commands)
    finally:
        await link.close()
    return [
        faults.reply_error(str(reply), as_text(command[0], 40)) if isinstance(reply, RefusedReply) else reply
        for reply, command in zip(replies, commands, strict=True)
    ]


def check_primary(role: object, address: Address) -> None:
    """Raise Unreachable when the server that the Sentinels named says that it is no primary."""
    said = role_word(role)
    if said not in (None, "primary"):
        raise Unreachable(
            f"the Sentinels name {printable(str(address))} as primary, and it says it is a {said}",
            "a failover may be running: try again",
        )
