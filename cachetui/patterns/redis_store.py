"""The store over redis-py: one server, Sentinel's client, a cluster; Redis 6.0 and Valkey 7.2 or newer.

What has to happen at once is a script. A script touches one key and its lock, which share a slot (`names.beside`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha1
from itertools import groupby
from typing import Any

from redis.exceptions import NoScriptError, RedisClusterException, RedisError, ResponseError

from cachetui.patterns.errors import Unsupported
from cachetui.patterns.names import lock_of, slot
from cachetui.patterns.store import Face, Holder, Lease

CHUNK = 500
"""So many keys at most go into one script."""


class Script:
    """A Lua script and its digest."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()


LEASE = Script("""
if ARGV[3] == '0' then
  local value = redis.call('GET', KEYS[1])
  if value then return value end
end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
return string.sub(redis.call('GET', KEYS[2]), 1, 2) == 'w:' and 2 or 1
""")
LEASE_WRITE = Script("""
local holder = redis.call('GET', KEYS[2])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
redis.call('UNLINK', KEYS[1])
if holder and string.sub(holder, 1, 2) == 'w:' then return 1 end
return 0
""")
FILL = Script("""
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1
""")
RELEASE = Script("""
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if ARGV[2] == '1' then redis.call('UNLINK', KEYS[1]) end
return redis.call('DEL', KEYS[2])
""")
# A writer's lock stays, under no one's name: until it runs out nobody can store what he read before the write.
REMOVE = Script("""
local removed = 0
for at = 1, #KEYS, 2 do
  removed = removed + redis.call('UNLINK', KEYS[at])
  local holder = redis.call('GET', KEYS[at + 1])
  if holder then
    if string.sub(holder, 1, 2) == 'w:' then
      redis.call('SET', KEYS[at + 1], 'w:', 'PX', math.max(1, redis.call('PTTL', KEYS[at + 1])))
    else
      redis.call('DEL', KEYS[at + 1])
    end
  end
end
return removed
""")
SWAP = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
""")
# A number that was lost must not come back smaller: old keys would live again. So it starts at the time.
BUMP = Script("""
local number = redis.call('GET', KEYS[1])
if not number or ARGV[2] == '1' then
  local now = redis.call('TIME')
  local least = now[1] * 1000 + math.floor(now[2] / 1000)
  number = math.max(tonumber(number or 0) + tonumber(ARGV[2]), number and 0 or least)
  redis.call('SET', KEYS[1], string.format('%.0f', number), 'PX', ARGV[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return redis.call('GET', KEYS[1])
""")


class RedisStore:
    """Blocking redis-py clients, and the logic of both."""

    failures: tuple[type[Exception], ...] = (RedisError, RedisClusterException, OSError, TimeoutError)
    answers: tuple[type[Exception], ...] = (ResponseError,)

    def __init__(self, client: Any) -> None:
        self.client = client
        self.clustered = hasattr(client, "get_primaries")

    async def ask(self, *command: Any) -> Any:
        """Send one command and return its reply."""
        return self.client.execute_command(*command)

    async def run(self, script: Script, keys: Sequence[bytes], *arguments: Any) -> Any:
        """Run a script on keys of one slot."""
        try:
            return await self.ask("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await self.ask("EVAL", script.text, len(keys), *keys, *arguments)

    def together(self, names: Iterable[bytes], chunk: int = CHUNK) -> Iterator[list[bytes]]:
        """Yield names in lists that one command may hold."""
        of_slot = slot if self.clustered else _anywhere
        for _, group in groupby(sorted(names, key=of_slot), key=of_slot):
            some = list(group)
            yield from (some[at : at + chunk] for at in range(0, len(some), chunk))

    async def get(self, name: bytes) -> bytes | None:
        value: bytes | None = self.client.execute_command("GET", name)
        return value

    async def set(self, name: bytes, value: bytes, ttl_ms: int) -> None:
        await self.ask("SET", name, value, "PX", ttl_ms)

    async def add(self, name: bytes, value: bytes, ttl_ms: int) -> bool:
        return bool(await self.ask("SET", name, value, "NX", "PX", ttl_ms))

    async def touch(self, name: bytes, ttl_ms: int) -> bool:
        return bool(await self.ask("PEXPIRE", name, ttl_ms))

    async def delete(self, *names: bytes) -> int:
        removed = 0
        for some in self.together(names):
            removed += await self.ask("UNLINK", *some)
        return removed

    async def compare_and_set(self, name: bytes, expected: bytes, value: bytes, ttl_ms: int) -> bool:
        return bool(await self.run(SWAP, [name], expected, value, ttl_ms))

    async def lease(self, name: bytes, lease_ms: int, refresh: bool = False) -> bytes | Lease | Holder:
        token = b"r:" + secrets.token_hex(8).encode()
        answer = await self.run(LEASE, [name, lock_of(name)], token, lease_ms, int(refresh))
        if isinstance(answer, bytes):
            return answer
        return ("writer" if answer == 2 else "reader") if answer else Lease(name, token)

    async def lease_write(self, name: bytes, lease_ms: int) -> Lease:
        token = b"w:" + secrets.token_hex(8).encode()
        contended = await self.run(LEASE_WRITE, [name, lock_of(name)], token, lease_ms)
        return Lease(name, token, bool(contended))

    async def fill(self, lease: Lease, value: bytes, ttl_ms: int) -> bool:
        return bool(await self.run(FILL, [lease.name, lock_of(lease.name)], lease.token, value, ttl_ms))

    async def release(self, lease: Lease, remove: bool = False) -> bool:
        return bool(await self.run(RELEASE, [lease.name, lock_of(lease.name)], lease.token, int(remove)))

    async def remove(self, names: Sequence[bytes]) -> int:
        removed = 0
        for some in self.together(names):
            removed += await self.run(REMOVE, [key for name in some for key in (name, lock_of(name))])
        return removed

    async def bump(self, name: bytes, ttl_ms: int, by: int) -> int:
        return int(await self.run(BUMP, [name], ttl_ms, by))


class AsyncRedisStore(RedisStore):
    """redis-py's asyncio clients."""

    async def ask(self, *command: Any) -> Any:
        return await self.client.execute_command(*command)

    async def get(self, name: bytes) -> bytes | None:
        value: bytes | None = await self.client.execute_command("GET", name)
        return value


def _anywhere(_: bytes) -> int:
    return 0


def adapter(client: Any, face: Face) -> RedisStore:
    """Return the store over a client. Raises Unsupported for one that gives text instead of bytes."""
    if client.get_encoder().decode_responses:
        raise Unsupported("the client must give bytes: make it without decode_responses")
    return RedisStore(client) if face == "threads" else AsyncRedisStore(client)
