"""Where a node is, when it is not where the cluster says: behind NAT, under a hostname, at another port."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from cachetui.config import Address
from cachetui.errors import CacheError
from cachetui.source.redis.polls import PolledServer
from cachetui.source.redis.replies import as_text


def candidates(announced: str, hostname: str, here: Address, seeds: Iterable[Address]) -> list[Address]:
    """Return where else to look for a node: by its hostname, beside the node we know, at the target's own addresses.

    >>> [str(place) for place in candidates("10.0.0.1:7000", "a.example", Address("h", 6379), [Address("h", 6379)])]
    ['a.example:7000', 'h:7000', 'h:6379']
    """
    port = announced.rpartition(":")[2]
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
    hosts = [host for host in (hostname, here.host) if host]
    places = [*(Address(host, number) for host in hosts if number), *seeds]
    return [place for place in dict.fromkeys(places) if str(place) != announced]


async def found_at(places: Sequence[Address], node_id: str, make: Callable[[Address], PolledServer]) -> Address | None:
    """Return the first of `places` where the node with this id answers."""
    for place in places:
        node = make(place)
        try:
            async with node._session.deadline():
                answer = await node._session.ask("lists", "CLUSTER", "MYID")
        except CacheError:
            continue
        finally:
            await node.close()
        if as_text(answer) == node_id:
            return place
    return None
