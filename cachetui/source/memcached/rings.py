"""How clients spread keys over several servers: the usual rules, and which of them explains what is seen."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5

from cachetui.config import MEMCACHED_PORT, Address

KETAMA_POINTS = 40
"""Digests of MD5 for each server in libmemcached's weighted ketama; each gives four points."""
PLAIN_POINTS = 100
"""Points for each server in libmemcached's plain consistent hashing."""
SPACE = 2**32

LEAST_SAMPLED = 30
"""Names below which nothing is concluded."""
TRIED = 50
"""Names of each server by which all rules are judged."""
EXPLAINED_SHARE = 0.9
"""Share of the names that lie where a rule says, from which on it is taken for the clients' own."""

Home = Callable[[bytes], int]


@dataclass(frozen=True, slots=True)
class Ring:
    """One rule."""

    name: str
    """As a person writes it: `rendezvous`, `ketama`, ..."""
    words: str
    """Who spreads keys so."""
    home: Home
    """Which server a key belongs on, as an index into the servers."""
    shares: tuple[float, ...]
    """How much of all keys each server gets, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a rule explains where names lie."""

    ring: Ring
    sampled: int
    misplaced: int
    """Names that lie on another server than the rule says."""

    @property
    def explains(self) -> bool:
        return self.sampled >= LEAST_SAMPLED and self.misplaced <= (1 - EXPLAINED_SHARE) * self.sampled


def rings(addresses: Sequence[Address]) -> tuple[Ring, ...]:
    """Return all rules for these servers, in their order, the default first."""
    number = len(addresses)
    even = (1 / number,) * number
    return (
        Ring("rendezvous", "pymemcache's HashClient", _rendezvous(addresses), even),
        _circle("ketama", "libmemcached's weighted ketama: PHP, pylibmc", number, _ketama(addresses), _md5),
        _circle("consistent", "libmemcached's consistent hashing, not weighted", number, _plain(addresses), jenkins),
        Ring("modulo", "libmemcached's default", lambda key: jenkins(key) % number, even),
        Ring("crc32", "modulo of CRC-32: python-memcached, PHP's memcache", lambda key: _crc(key) % number, even),
        Ring("md5", "modulo of MD5", lambda key: _md5(key) % number, even),
    )


def best_fit(known: Sequence[Ring], seen: Mapping[int, Sequence[bytes]]) -> Fit:
    """Return how well the best of the rules explains the names that were seen, by server.

    All are judged by a few names of each server, the best of them by all.
    """
    few = {at: names[:: max(1, len(names) // TRIED)] for at, names in seen.items()}
    ring = min(known, key=lambda ring: _misplaced(ring, few))
    return Fit(ring, sum(map(len, seen.values())), _misplaced(ring, seen))


def _misplaced(ring: Ring, seen: Mapping[int, Sequence[bytes]]) -> int:
    return sum(ring.home(name) != at for at, names in seen.items() for name in names)


def jenkins(key: bytes) -> int:
    """Return Jenkins' one-at-a-time hash.

    >>> jenkins(b"a"), jenkins(b"")
    (3392050242, 0)
    """
    value = 0
    for byte in key:
        value = (value + byte) % SPACE
        value = (value + (value << 10)) % SPACE
        value ^= value >> 6
    value = (value + (value << 3)) % SPACE
    value ^= value >> 11
    return (value + (value << 15)) % SPACE


def _crc(key: bytes) -> int:
    return zlib.crc32(key) >> 16 & 0x7FFF


def _md5(key: bytes) -> int:
    return int.from_bytes(md5(key, usedforsecurity=False).digest()[:4], "little")


def _rendezvous(addresses: Sequence[Address]) -> Home:
    places = {address.path or f"{address.host}:{address.port}": at for at, address in enumerate(addresses)}
    ring: Callable[[str], str] | None = None

    def home(key: bytes) -> int:
        nonlocal ring
        if ring is None:
            from pymemcache.client.rendezvous import RendezvousHash

            ring = RendezvousHash(list(places)).get_node
        try:
            text = key.decode()
        except UnicodeDecodeError:
            text = repr(key)  # HashClient formats bytes just so
        return places[ring(text)]

    return home


def _names(addresses: Sequence[Address]) -> list[str]:
    """Return the servers as libmemcached names them: a usual port is left out."""
    return [
        address.path or (address.host if address.port == MEMCACHED_PORT else f"{address.host}:{address.port}")
        for address in addresses
    ]


def _ketama(addresses: Sequence[Address]) -> list[tuple[int, int]]:
    points = []
    for at, name in enumerate(_names(addresses)):
        for index in range(KETAMA_POINTS):
            digest = md5(f"{name}-{index}".encode(), usedforsecurity=False).digest()
            points += [(int.from_bytes(digest[place : place + 4], "little"), at) for place in range(0, 16, 4)]
    return points


def _plain(addresses: Sequence[Address]) -> list[tuple[int, int]]:
    return [
        (jenkins(f"{name}-{index}".encode()), at)
        for at, name in enumerate(_names(addresses))
        for index in range(PLAIN_POINTS)
    ]


def _circle(name: str, words: str, number: int, points: list[tuple[int, int]], digest: Home) -> Ring:
    """Return a rule by points on a circle: a key belongs to the first point at or after its own."""
    points.sort()
    values, owners = [value for value, _ in points], [owner for _, owner in points]
    owned = [0] * number
    for at, value in enumerate(values):
        owned[owners[at]] += (value - values[at - 1]) % SPACE

    def home(key: bytes) -> int:
        at = bisect_left(values, digest(key))
        return owners[at] if at < len(owners) else owners[0]

    return Ring(name, words, home, tuple(share / SPACE for share in owned))
