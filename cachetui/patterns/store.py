"""What the patterns ask of a cache server, and the adapter that fits a client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from cachetui.patterns.errors import Unsupported
from cachetui.patterns.running import Runtime, Tasks, Threads

Face = Literal["threads", "tasks"]

Holder = Literal["reader", "writer"]
"""Who has the lease: a reader's value is worth waiting for, a writer may take his time."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to store one value, once: it ends with its time, with an invalidation and with another lease."""

    name: bytes
    token: bytes
    """Drawn at random: a lease of the same key from another time is another lease."""
    contended: bool = False
    """Another writer was under way when this one began: neither may store."""
    witness: bytes = b""
    """What the server calls the state that the lease was given for (Memcached's cas)."""


class Store(Protocol):
    """A cache server. Names are bytes; times are milliseconds and always more than 0.

    All methods are coroutines: with a blocking client they end without ever waiting for an event loop.
    """

    failures: tuple[type[Exception], ...]
    """What the client raises when a call fails."""
    answers: tuple[type[Exception], ...]
    """Those of them that came from a server that lives."""

    async def get(self, name: bytes) -> bytes | None: ...

    async def set(self, name: bytes, value: bytes, ttl_ms: int) -> None: ...

    async def add(self, name: bytes, value: bytes, ttl_ms: int) -> bool:
        """Store where nothing is; return whether."""

    async def touch(self, name: bytes, ttl_ms: int) -> bool:
        """Give another time to live; return whether the name was there."""

    async def delete(self, *names: bytes) -> int:
        """Delete and return how many were there. Leases stay."""

    async def compare_and_set(self, name: bytes, expected: bytes, value: bytes, ttl_ms: int) -> bool:
        """Store where `expected` lies; return whether."""

    async def lease(self, name: bytes, lease_ms: int, refresh: bool = False) -> bytes | Lease | Holder:
        """Return the value, or a lease where there is none and nobody has one, else who has it.

        With `refresh` the value is not looked at.
        """

    async def lease_write(self, name: bytes, lease_ms: int) -> Lease:
        """Remove the value and return a writer's lease: until it ends, nobody else may store."""

    async def fill(self, lease: Lease, value: bytes, ttl_ms: int) -> bool:
        """Store under a lease and end it; False, and nothing stored, when the lease is over."""

    async def release(self, lease: Lease, remove: bool = False) -> bool:
        """End a lease without a value; with `remove` the old value goes. False: the lease was over."""

    async def remove(self, names: Sequence[bytes]) -> int:
        """Remove values and end the leases on them; return how many values there were.

        Where a writer is under way, nobody may store until its lease has run out.
        """

    async def bump(self, name: bytes, ttl_ms: int, by: int) -> int:
        """Add 0 or 1 to a number and return it. A number that is not there starts at the time in milliseconds."""


def bind(client: Any, face: Face) -> tuple[Store, Runtime]:
    """Return the adapter for a client and the runtime of a face. Raises Unsupported."""
    runtime: Runtime = Threads() if face == "threads" else Tasks()
    modules = [kind.__module__ for kind in type(client).__mro__]
    if any(module.startswith("pymemcache.") for module in modules):
        from cachetui.patterns import memcached_store

        return memcached_store.adapter(client, face), runtime
    if any(module.startswith("redis.") for module in modules):
        from cachetui.patterns import redis_store

        is_async = any(".asyncio" in module for module in modules)
        if is_async != (face == "tasks"):
            wanted = "cachetui.patterns.aio" if is_async else "cachetui.patterns"
            raise Unsupported(f"this client belongs to the other face: import from {wanted}")
        return redis_store.adapter(client, face), runtime
    raise Unsupported(f"a redis-py or pymemcache client is needed, not {type(client).__name__}")
