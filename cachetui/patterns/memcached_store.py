"""The store over pymemcache, whose clients block: asyncio calls them in threads.

Memcached has no scripts and no second key in one step, so a lease on a value that is not there lies in its place,
as a frame that reads as a miss; `cas` sees to it that only its holder replaces it. The lease of a refresh is the
`cas` of the value itself; a key beside it only keeps the others from loading too. Times are whole seconds here.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from pymemcache.client.base import PooledClient
from pymemcache.exceptions import MemcacheClientError, MemcacheError, MemcacheServerError

from cachetui.patterns.entry import PREFIX
from cachetui.patterns.store import Face, Holder, Lease

PLACE = PREFIX + b"L"
"""Begins what lies in the place of a value: the mark, and the token of a lease."""
KEY_BYTES = 250
MONTH_S = 30 * 86400
_BAD = bytes(range(33)) + b"\x7f"


def safe(name: bytes) -> bytes:
    """Return a name as Memcached takes it: 1 to 250 bytes without spaces and controls; others are hashed.

    >>> safe(b"user:1"), safe(b"two words")[:4], len(safe(b"x" * 300))
    (b'user:1', b'two~', 93)
    """
    if 0 < len(name) <= KEY_BYTES and name.isascii() and len(name.translate(None, _BAD)) == len(name):
        return name
    readable = bytes(byte for byte in name[:60].split(b" ")[0] if 32 < byte < 127)
    return readable + b"~" + blake2b(name, digest_size=16).hexdigest().encode()


def seconds(ttl_ms: int) -> int:
    """Return what Memcached takes as an expiry: whole seconds, up to 30 days from now, above that a moment.

    >>> seconds(1), seconds(60_000)
    (1, 60)
    """
    whole = -(-ttl_ms // 1000)
    return whole if whole <= MONTH_S else int(time.time()) + whole


class MemcachedStore:
    """Blocking pymemcache clients, and the logic of both."""

    failures: tuple[type[Exception], ...] = (MemcacheError, OSError)
    answers: tuple[type[Exception], ...] = (MemcacheServerError, MemcacheClientError)

    def __init__(self, client: Any) -> None:
        self.client = client
        # pymemcache's plain client is one connection without a lock: two threads would read each other's answers.
        pooled = isinstance(client, PooledClient) or getattr(client, "use_pooling", False)
        self._lock = None if pooled else threading.Lock()

    async def ask(self, method: str, *args: Any, **named: Any) -> Any:
        """Call one method of the client."""
        return self._call(method, *args, **named)

    def _call(self, method: str, *args: Any, **named: Any) -> Any:
        if self._lock is None:
            return getattr(self.client, method)(*args, **named)
        with self._lock:
            return getattr(self.client, method)(*args, **named)

    async def get(self, name: bytes) -> bytes | None:
        value: bytes | None = await self.ask("get", safe(name))
        return None if value is not None and value.startswith(PLACE) else value

    async def set(self, name: bytes, value: bytes, ttl_ms: int) -> None:
        await self.ask("set", safe(name), value, expire=seconds(ttl_ms), noreply=False)

    async def add(self, name: bytes, value: bytes, ttl_ms: int) -> bool:
        return bool(await self.ask("add", safe(name), value, expire=seconds(ttl_ms), noreply=False))

    async def touch(self, name: bytes, ttl_ms: int) -> bool:
        return bool(await self.ask("touch", safe(name), expire=seconds(ttl_ms), noreply=False))

    async def delete(self, *names: bytes) -> int:
        removed = 0
        for name in names:
            removed += bool(await self.ask("delete", safe(name), noreply=False))
        return removed

    async def compare_and_set(self, name: bytes, expected: bytes, value: bytes, ttl_ms: int) -> bool:
        found, witness = await self.ask("gets", safe(name))
        return found == expected and await self._replace(name, value, witness, seconds(ttl_ms))

    async def lease(self, name: bytes, lease_ms: int, refresh: bool = False) -> bytes | Lease | Holder:
        token, life_s = (b"f:" if refresh else b"r:") + secrets.token_hex(8).encode(), seconds(lease_ms) + 1
        found, witness = await self.ask("gets", safe(name))
        if found is None and await self.ask("add", safe(name), PLACE + token, expire=life_s, noreply=False):
            found, witness = await self.ask("gets", safe(name))
            if found == PLACE + token:
                return Lease(name, token, witness=witness)
        if found is None or found.startswith(PLACE):
            return "writer" if found is not None and found.startswith(PLACE + b"w:") else "reader"
        if not refresh:
            return bytes(found)
        held = await self.ask("add", safe(b"lock:" + name), token, expire=life_s, noreply=False)
        return Lease(name, token, witness=witness) if held else "reader"

    async def lease_write(self, name: bytes, lease_ms: int) -> Lease:
        life_s = seconds(lease_ms) + 1
        token = b"w:%b:%d" % (secrets.token_hex(8).encode(), life_s)
        while True:
            found, witness = await self.ask("gets", safe(name))
            if found is None:
                held = await self.ask("add", safe(name), PLACE + token, expire=life_s, noreply=False)
            else:
                held = await self._replace(name, PLACE + token, witness, life_s)
            if held:
                contended = found is not None and found.startswith(PLACE + b"w:")
                return Lease(name, token, contended)

    async def fill(self, lease: Lease, value: bytes, ttl_ms: int) -> bool:
        witness = lease.witness or await self._own(lease)
        stored = witness is not None and await self._replace(lease.name, value, witness, seconds(ttl_ms))
        await self._open(lease)
        return stored

    async def release(self, lease: Lease, remove: bool = False) -> bool:
        witness = await self._own(lease) or (lease.witness if remove else None)
        held = witness is not None and await self._replace(lease.name, b"", witness, -1)
        await self._open(lease)
        return held

    async def remove(self, names: Sequence[bytes]) -> int:
        return sum([await self._remove(name) for name in names])

    async def _remove(self, name: bytes) -> bool:
        while True:
            found, witness = await self.ask("gets", safe(name))
            if found is None:
                return False
            if not found.startswith(PLACE + b"w:"):
                # Gone at once, and only if it is still what was seen: a writer may have begun.
                if await self._replace(name, b"", witness, -1):
                    return not found.startswith(PLACE)
            else:
                # Under no one's name it stays as long as a writer's lease: nobody stores what he read before.
                life = found.rpartition(b":")[2]
                if await self._replace(name, PLACE + b"w::" + life, witness, int(life)):
                    return False

    async def bump(self, name: bytes, ttl_ms: int, by: int) -> int:
        while True:
            number = await self.ask("incr", safe(name), by, noreply=False)
            if number is not None:
                await self.touch(name, ttl_ms)
                return int(number)
            await self.add(name, b"%d" % (time.time() * 1000), ttl_ms)

    async def _own(self, lease: Lease) -> bytes | None:
        """Return the cas of a lease's own place, None when it is there no more."""
        found, witness = await self.ask("gets", safe(lease.name))
        return witness if found == PLACE + lease.token else None

    async def _open(self, lease: Lease) -> None:
        if lease.token.startswith(b"f:"):
            await self.ask("delete", safe(b"lock:" + lease.name), noreply=False)

    async def _replace(self, name: bytes, value: bytes, witness: bytes, expire_s: int) -> bool:
        # None: it is gone; False: it is another one by now.
        return bool(await self.ask("cas", safe(name), value, witness, expire=expire_s, noreply=False))


class AsyncMemcachedStore(MemcachedStore):
    """The same clients, each call in a thread."""

    async def ask(self, method: str, *args: Any, **named: Any) -> Any:
        return await asyncio.to_thread(self._call, method, *args, **named)


def adapter(client: Any, face: Face) -> MemcachedStore:
    """Return the store over a client."""
    return MemcachedStore(client) if face == "threads" else AsyncMemcachedStore(client)
