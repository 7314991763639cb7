"""Tags: sets of keys that can be invalidated together. For Redis-like servers; Memcached has no sets.

The members lie in a set under the name that the dashboard knows (`tag:{tag}`), and a sorted set in the same slot
says until when each member belongs to it. Every addition takes out some members whose time is over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from cachetui.patterns.errors import Unsupported
from cachetui.patterns.names import TAG_TEMPLATE, beside
from cachetui.patterns.store import Face, Store, bind

if TYPE_CHECKING:
    from cachetui.patterns.redis_store import RedisStore, Script

STEP = 500

# A member's moment always grows when it is added again: who saw the old one knows that it was.
ADD = """
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + now[2] / 1000
local until_ms = now_ms + ARGV[2]
local before = redis.call('ZSCORE', KEYS[2], ARGV[1])
if before and tonumber(before) >= until_ms then until_ms = tonumber(before) + 0.001 end
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], string.format('%.3f', until_ms), ARGV[1])
local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now_ms, 'LIMIT', 0, 100)
if #over > 0 then
  redis.call('SREM', KEYS[1], unpack(over))
  redis.call('ZREM', KEYS[2], unpack(over))
end
local life_ms = math.ceil(until_ms - now_ms)
for at = 1, 2 do
  if redis.call('PTTL', KEYS[at]) < life_ms then redis.call('PEXPIRE', KEYS[at], life_ms) end
end
return 1
"""
SEEN = """
local seen = {}
for at, member in ipairs(ARGV) do seen[at] = redis.call('ZSCORE', KEYS[2], member) or '' end
return seen
"""
DROP = """
for at = 1, #ARGV, 2 do
  if (redis.call('ZSCORE', KEYS[2], ARGV[at]) or '') == ARGV[at + 1] then
    redis.call('SREM', KEYS[1], ARGV[at])
    redis.call('ZREM', KEYS[2], ARGV[at])
  end
end
return 1
"""


class TagSets:
    """The sets themselves, over a store of Redis."""

    def __init__(self, store: Store, template: str = TAG_TEMPLATE) -> None:
        from cachetui.patterns.redis_store import RedisStore, Script

        if not isinstance(store, RedisStore):
            raise Unsupported("Memcached has no sets, so it has no tags: use Versioned")
        if template.count("{tag}") != 1:
            raise ValueError("the template of a tag's name has {tag} in it, once")
        self._store: RedisStore = store
        self._template: str = template
        self._add: Script = Script(ADD)
        self._seen: Script = Script(SEEN)
        self._drop: Script = Script(DROP)

    def keys(self, tag: str) -> list[bytes]:
        """Return the names of a tag's set and of its times."""
        name = self._template.replace("{tag}", tag).encode()
        return [name, beside(b"expiry", name)]

    async def add(self, name: bytes, tags: Iterable[str], life_ms: int) -> None:
        for tag in tags:
            await self._store.run(self._add, self.keys(tag), name, life_ms)

    async def members(self, tag: str) -> AsyncIterator[list[bytes]]:
        """Yield the members in steps; some may come again."""
        cursor: Any = 0
        while True:
            cursor, some = await self._store.ask("SSCAN", self.keys(tag)[0], cursor, "COUNT", STEP)
            if some:
                yield list(some)
            if not int(cursor):
                return

    async def invalidate(self, tag: str) -> int:
        keys, removed = self.keys(tag), 0
        async for some in self.members(tag):
            seen = await self._store.run(self._seen, keys, *some)
            removed += await self._store.remove(some)
            # Only now, and only those that nobody has added again meanwhile: a crash leaves a member too many.
            pairs = [part for pair in zip(some, seen, strict=True) for part in pair]
            await self._store.run(self._drop, keys, *pairs)
        return removed


class TagsCore:
    """Invalidates keys by tag.

    Guarantees:

    - When `invalidate` has returned, every key that was added to the tag before is gone from the cache, and no load
      of a `CacheAside` that began before stores its value. If it raises, or its process dies, the keys not yet
      removed still belong to the tag: call it again.
    - A key that is added again while its tag is being invalidated stays in the tag.
    - A tag's set holds no more than the keys whose time is not over, and those whose time ended since the last 100
      additions took their turn; with its last key the set expires. It is never unbounded.
    - All this holds in a cluster, where keys and sets lie on different nodes.

    Add a key before its value is loaded, as `CacheAside` does: a key that is added after its value was stored can
    miss an invalidation in between. Not guaranteed: a set that the server evicted is forgotten; keys without a tag
    set live their time.
    """

    _face: Face

    def __init__(self, client: Any, *, prefix: str = "", template: str = TAG_TEMPLATE) -> None:
        self._store, self._runtime = bind(client, self._face)
        self._sets = TagSets(self._store, template)
        self._prefix = prefix.encode()

    async def _add(self, key: str, tags: Iterable[str], ttl_s: float) -> None:
        if ttl_s <= 0:
            raise ValueError("ttl_s must be more than 0")
        await self._sets.add(self._prefix + key.encode(), tags, max(1, round(ttl_s * 1000)))

    async def _members(self, tag: str) -> set[bytes]:
        found: set[bytes] = set()
        async for some in self._sets.members(tag):
            found.update(some)
        return found

    async def _invalidate(self, tags: Iterable[str]) -> int:
        return sum([await self._sets.invalidate(tag) for tag in tags])
