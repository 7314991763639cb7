"""What every store has to do, on every kind of server, through both faces."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import redis

from cachetui.patterns.errors import Unsupported
from cachetui.patterns.memcached_store import safe
from cachetui.patterns.names import lock_of
from cachetui.patterns.running import finish
from cachetui.patterns.store import Lease, Store, bind

NAMES = (b"a", b"{user:1}:cart", b"a}b", b"{}x", b"with space\r\nflush_all", b"x" * 300)


async def check_plain(store: Store) -> None:
    for name in NAMES:
        assert await store.get(name) is None
        await store.set(name, b"1", 60_000)
        assert not await store.add(name, b"2", 60_000)
        assert await store.get(name) == b"1"
        assert await store.touch(name, 90_000)
        assert not await store.compare_and_set(name, b"2", b"3", 60_000)
        assert await store.compare_and_set(name, b"1", b"3", 60_000)
        assert await store.get(name) == b"3"
    assert await store.delete(*NAMES, b"none") == len(NAMES)
    assert not await store.touch(b"a", 1000) and not await store.compare_and_set(b"a", b"", b"x", 1000)
    assert await store.add(b"a", b"2", 60_000) and await store.get(b"a") == b"2"


async def check_leases(store: Store) -> None:
    for name in NAMES:
        first = await store.lease(name, 20_000)
        assert isinstance(first, Lease) and await store.get(name) is None
        assert await store.lease(name, 20_000) == "reader", "one at a time"
        assert await store.fill(first, b"v", 60_000) and await store.get(name) == b"v"
        assert not await store.fill(first, b"again", 60_000), "a lease is used once"
        assert await store.lease(name, 20_000) == b"v"
        refresh = await store.lease(name, 20_000, True)
        assert isinstance(refresh, Lease) and await store.lease(name, 20_000, True) == "reader"
        assert await store.remove([name]) == 1 and await store.get(name) is None
        assert not await store.fill(refresh, b"stale", 60_000), "an invalidation ends a lease"
        assert await store.get(name) is None
        await store.remove([name])


async def check_writers(store: Store) -> None:
    for name in NAMES:
        reader = await store.lease(name, 20_000)
        assert isinstance(reader, Lease)
        writer = await store.lease_write(name, 20_000)
        assert not writer.contended and not await store.fill(reader, b"stale", 60_000)
        assert await store.lease(name, 20_000) == "writer", "nobody may store while a writer is under way"
        assert await store.fill(writer, b"new", 60_000) and await store.get(name) == b"new"
        one, two = await store.lease_write(name, 20_000), await store.lease_write(name, 20_000)
        assert await store.get(name) is None and two.contended
        assert not await store.fill(one, b"1", 60_000), "two writers at once: neither stores"
        assert await store.remove([name]) == 0
        assert not await store.fill(two, b"2", 60_000) and await store.lease(name, 20_000) == "writer"
        assert await store.get(name) is None


async def check_release(store: Store) -> None:
    lease = await store.lease(b"r", 20_000)
    assert isinstance(lease, Lease)
    assert await store.release(lease)
    again = await store.lease(b"r", 20_000)
    assert isinstance(again, Lease) and again.token != lease.token
    assert not await store.release(lease)
    assert await store.lease(b"r", 20_000) == "reader", "a lease that is over ends no other"
    assert await store.fill(again, b"old", 60_000)
    refresh = await store.lease(b"r", 20_000, True)
    assert isinstance(refresh, Lease)
    await store.release(refresh, remove=True)
    assert await store.get(b"r") is None and isinstance(await store.lease(b"r", 20_000, True), Lease)


async def check_numbers(store: Store) -> None:
    before = time.time() * 1000
    first = await store.bump(b"n:version", 60_000, 0)
    assert before - 1500 <= first <= time.time() * 1000 + 1500
    assert await store.bump(b"n:version", 60_000, 0) == first
    assert [await store.bump(b"n:version", 60_000, 1) for _ in range(3)] == [first + 1, first + 2, first + 3]
    await store.delete(b"n:version")
    assert await store.bump(b"n:version", 60_000, 1) >= first - 1


CHECKS = (check_plain, check_leases, check_writers, check_release, check_numbers)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_for_threads(client: Any, check: Any) -> None:
    finish(check(bind(client, "threads")[0]))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_for_asyncio(aclient: Any, check: Any) -> None:
    async with asyncio.timeout(20):
        await check(bind(aclient, "tasks")[0])


def test_a_lock_is_seen_and_runs_out(redis_like: Any) -> None:
    with redis_like.client() as client:
        store, _ = bind(client, "threads")
        finish(store.lease(b"page:1", 5000))
        assert 0 < client.pttl(lock_of(b"page:1")) <= 5000 and client.get("lock:{page:1}").startswith(b"r:")


def test_what_is_no_client_is_refused(redis7: Any) -> None:
    with pytest.raises(Unsupported, match=r"redis-py or pymemcache"):
        bind(object(), "threads")
    with pytest.raises(Unsupported, match=r"cachetui\.patterns\.aio"):
        bind(redis.asyncio.Redis(), "threads")
    with pytest.raises(Unsupported, match=r"import from cachetui\.patterns$"):
        bind(redis.Redis(), "tasks")
    with pytest.raises(Unsupported, match="bytes"):
        bind(redis.Redis(decode_responses=True), "threads")


def test_no_two_memcached_names_become_one() -> None:
    names = [b"", b" ", b"a b", b"a  b", b"a\r\nb", b"\xff", b"x" * 251, b"x" * 252, b"a~", "é".encode()]
    assert len({safe(name) for name in names}) == len(names)
    assert all(0 < len(safe(name)) <= 250 and b" " not in safe(name) and safe(name).isascii() for name in names)
