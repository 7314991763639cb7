"""Each guarantee of the circuit breaker, on a clock of the test's own."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from cachetui.patterns import Bulkhead, CacheUnavailable, CircuitBreaker
from cachetui.patterns.aio import CacheAside
from tests.servers.launch import Server


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(failures=3, reset_s=5.0, clock=clock)


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        assert breaker.allow()
        breaker.failed()


def test_it_opens_after_failures_in_a_row_only(breaker: CircuitBreaker) -> None:
    for _ in range(10):
        fail(breaker, 2)
        breaker.succeeded()
    assert breaker.state == "closed"
    fail(breaker, 3)
    assert breaker.state == "open" and not breaker.allow()


def test_one_trial_at_a_time_and_its_success_closes(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 4.999
    assert not breaker.allow()
    clock.now += 0.001
    assert breaker.state == "half-open"
    assert [breaker.allow() for _ in range(5)] == [True, False, False, False, False]
    breaker.succeeded()
    assert breaker.state == "closed" and breaker.allow()
    fail(breaker, 2)
    assert breaker.state == "closed", "the failures before the trial are forgotten"


def test_a_failed_trial_opens_for_the_whole_time_again(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 5
    fail(breaker, 1)
    clock.now += 4.9
    assert breaker.state == "open" and not breaker.allow()
    clock.now += 0.1
    assert breaker.allow()


def test_a_trial_that_never_reports_is_given_up(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 5
    assert breaker.allow() and not breaker.allow()
    clock.now += 5
    assert breaker.allow()


def test_late_results_change_nothing_while_open(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 4
    breaker.succeeded()
    breaker.failed()
    assert breaker.state == "open"
    clock.now += 1
    assert breaker.state == "half-open", "the late failure did not lengthen the wait"


def test_many_threads_get_one_trial_among_them(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(20):
        fail(breaker, 3)
        clock.now += 5
        with ThreadPoolExecutor(16) as threads:
            assert sum(threads.map(lambda _: breaker.allow(), range(64))) == 1
        breaker.succeeded()


@pytest.mark.parametrize(("failures", "reset_s"), [(0, 1.0), (-1, 1.0), (1, 0.0)])
def test_nonsense_is_refused(failures: int, reset_s: float) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        CircuitBreaker(failures, reset_s)


@pytest.fixture
async def stalled(new_server: Callable[..., Server]) -> AsyncIterator[tuple[Server, Redis]]:
    server = new_server("redis7")
    client = Redis(port=server.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))
    await client.ping()
    server.pause()
    yield server, client
    if server.paused:
        server.resume()
    await client.aclose()


async def _double(key: str) -> bytes:
    return key.encode() * 2


async def test_an_open_breaker_costs_no_time_and_closes_by_itself(stalled: tuple[Server, Redis]) -> None:
    server, client = stalled
    clock = Clock()
    breaker = CircuitBreaker(failures=2, reset_s=5.0, clock=clock)
    timeout_s = 0.3
    cache = CacheAside(client, _double, 60, breaker=breaker, timeout_s=timeout_s)
    assert [await cache.get("a") for _ in range(2)] == [b"aa", b"aa"]  # both lookups time out
    assert breaker.state == "open"
    began = time.perf_counter()
    for number in range(500):
        assert await cache.get(f"k{number}") == f"k{number}".encode() * 2
    assert time.perf_counter() - began < timeout_s, "500 gets took longer than one call of the stalled cache"
    strict = CacheAside(client, _double, 60, breaker=breaker, on_error="raise")
    with pytest.raises(CacheUnavailable):
        await strict.get("a")

    server.resume()
    clock.now += 5
    async with asyncio.timeout(10):
        while breaker.state != "closed":
            assert await cache.get("back") == b"backback"
            clock.now += 5
    await cache.get("kept")
    assert await client.get("kept") == b"keptkept"


async def test_an_error_reply_is_an_answer_and_does_not_open_it(redis7: Server) -> None:
    breaker = CircuitBreaker(failures=1)
    redis7.command("LPUSH", "list", "x")
    async with Redis(port=redis7.port) as client:
        cache = CacheAside(client, _double, 60, breaker=breaker)
        assert await cache.get("list") == b"listlist"
    assert breaker.state == "closed" and cache.counts.cache_errors == 1


async def test_a_bulkhead_bounds_the_calls_under_way(redis7: Server) -> None:
    most = under_way = 0

    class Counted(Redis):
        async def execute_command(self, *args: object, **options: object) -> object:
            nonlocal most, under_way
            under_way += 1
            most = max(most, under_way)
            try:
                return await super().execute_command(*args, **options)
            finally:
                under_way -= 1

    async with Counted(port=redis7.port) as client:
        cache = CacheAside(client, _double, 60, bulkhead=Bulkhead(5, wait_s=20))
        found = await asyncio.gather(*(cache.get(f"k{number}") for number in range(200)))
    assert found == [f"k{number}".encode() * 2 for number in range(200)]
    assert most == 5 and cache.counts.cache_errors == 0
