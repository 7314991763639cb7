"""Compare and set against real servers: done whole, or not at all, and never over somebody else's change."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import redis

from cachetui.errors import Busy, CacheError, Changed, Denied, ServerError, TimedOut, Unreachable, Unsupported
from cachetui.source.base import Check
from tests.contract.redis_targets import source_of, until
from tests.servers.launch import Server
from tests.servers.meddling import before_exec, cut_at, proxied

VALUE = Check((b"GET", b"k"), b"old", "the value of k")
SET = (b"SET", b"k", b"new", b"KEEPTTL")


@contextmanager
def writing(server: Server, *command: str) -> Iterator[None]:
    """Run one command over and over on a connection of its own."""
    stop, ran = threading.Event(), threading.Event()

    def loop() -> None:
        with server.client() as client:
            while not stop.is_set():
                client.execute_command(*command)
                ran.set()

    thread = threading.Thread(target=loop)
    thread.start()
    ran.wait(5)
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("protocol", [2, 3])
async def test_commands_are_carried_out_together_when_all_is_as_it_was(redis_like: Server, protocol: int) -> None:
    redis_like.command("SET", "k", "old", "EX", "1000")
    async with source_of(redis_like, protocol=protocol) as source:
        replies = await source.transact([b"k"], [VALUE], [SET, (b"HSET", b"h", b"f", b"v"), (b"RPUSH", b"l", b"x")])
        assert replies == [b"OK", 1, 1]
    assert redis_like.command("GET", "k") == b"new"
    assert 990 < redis_like.command("TTL", "k") <= 1000  # type: ignore[operator]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize(
    ("setting", "check"),
    [
        (("SET", "x", "v"), Check((b"GET", b"x"), b"v", "x")),
        (("SET", "x", ""), Check((b"GET", b"x"), b"", "x")),
        (("SET", "x", "none"), Check((b"GET", b"x"), b"none", "x")),
        (("SET", "x", "1"), Check((b"EXISTS", b"x"), 1, "x")),
        (("PING",), Check((b"GET", b"x"), None, "x")),
        (("PING",), Check((b"TYPE", b"x"), b"none", "x")),
        (("HSET", "x", "f", "v"), Check((b"HGET", b"x", b"f"), b"v", "x")),
        (("HSET", "x", "f", "v"), Check((b"HGET", b"x", b"g"), None, "x")),
        (("RPUSH", "x", "a", "b"), Check((b"LINDEX", b"x", b"1"), b"b", "x")),
        (("SADD", "x", "a"), Check((b"SISMEMBER", b"x", b"a"), 1, "x")),
        (("ZADD", "x", "0.1", "m"), Check((b"ZSCORE", b"x", b"m"), 0.1, "x")),
        (("ZADD", "x", "3", "m"), Check((b"ZSCORE", b"x", b"m"), 3.0, "x")),
        (("ZADD", "x", "-inf", "m"), Check((b"ZSCORE", b"x", b"m"), float("-inf"), "x")),
        (("ZADD", "x", "1e300", "m"), Check((b"ZSCORE", b"x", b"m"), 1e300, "x")),
        (("ZADD", "x", "1", "m"), Check((b"ZSCORE", b"x", b"n"), None, "x")),
    ],
)
async def test_what_is_expected_is_compared_alike_in_both_protocols(
    redis7: Server, protocol: int, setting: tuple[str, ...], check: Check
) -> None:
    redis7.command(*setting)
    async with source_of(redis7, protocol=protocol) as source:
        assert await source.transact((), [check], ()) == []
        assert await source.transact([b"x"], [check], [(b"SET", b"done", b"1")]) == [b"OK"]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize(
    ("change", "check", "said"),
    [
        (("SET", "k", "theirs\x1b[2J"), VALUE, ("the value of k was changed by somebody else", "theirs\\x1b[2J")),
        (("SET", "k", "x" * 1000), VALUE, ("was changed by somebody else", None)),
        (("PING",), VALUE, ("the value of k is gone", None)),
        (("RPUSH", "k", "x"), VALUE, ("the value of k was changed by somebody else", "another type of value")),
        (("SET", "k", "x"), Check((b"EXISTS", b"k"), 0, "the key k"), ("the key k is there already", None)),
        (("HSET", "k", "f", "v"), Check((b"HGET", b"k", b"f"), None, "field f"), ("field f is there already", "v")),
        (("SET", "k", "x"), Check((b"TYPE", b"k"), b"hash", "the hash k"), ("the hash k was changed", "string")),
        (("PING",), Check((b"TYPE", b"k"), b"hash", "the hash k"), ("the hash k is gone", None)),
        (("ZADD", "k", "0", "m"), Check((b"ZSCORE", b"k", b"m"), 1.0, "member m"), ("member m was changed", None)),
        (
            ("ZADD", "k", "0", "m"),
            Check((b"ZSCORE", b"k", b"m"), None, "member m"),
            ("member m is there already", None),
        ),
        (("SADD", "k", "b"), Check((b"SISMEMBER", b"k", b"a"), 1, "member a"), ("member a is gone", None)),
    ],
)
async def test_what_was_changed_is_said_and_nothing_is_written(
    redis7: Server, protocol: int, change: tuple[str, ...], check: Check, said: tuple[str, str | None]
) -> None:
    words, now = said
    redis7.command(*change)
    async with source_of(redis7, protocol=protocol) as source:
        for _ in range(2):
            with pytest.raises(Changed) as refused:
                await source.transact([b"k"], [check], [(b"SET", b"written", b"1"), (b"DEL", b"k")])
            assert words in refused.value.message and refused.value.message.endswith("nothing was written")
            assert refused.value.line().isprintable() and len(refused.value.line()) < 500
            assert refused.value.detail["what"] == check.what
            if now is not None:
                assert refused.value.detail["now"] == now
        assert redis7.command("EXISTS", "written") == 0
        assert source.sent["multi"] == source.sent["discard"] == 2
        # The connection is as good as new: nothing is watched or queued on it.
        assert await source.execute([(b"SET", b"after", b"1")]) == [b"OK"]
        assert source.sent["hello"] == 1
    assert redis7.command("GET", "after") == b"1"


async def test_a_change_between_the_look_and_the_write_is_never_overwritten(redis_like: Server) -> None:
    redis_like.command("SET", "k", "old")

    meddle = before_exec(lambda: redis_like.command("SET", "k", "theirs"))
    async with proxied(redis_like, meddle) as port, source_of(port) as source:
        with pytest.raises(Changed, match="the value of k was changed by somebody else") as refused:
            await source.transact([b"k"], [VALUE], [SET, (b"SET", b"other", b"1")])
        assert refused.value.detail["now"] == "theirs"
        assert await source.execute([(b"GET", b"k")]) == [b"theirs"]
        assert source.sent["hello"] == 1
    assert redis_like.command("EXISTS", "other") == 0


async def test_a_key_that_is_written_all_the_time_loses_no_write_of_anybody(redis_like: Server) -> None:
    redis_like.command("SET", "k", "0")
    done = 0
    async with source_of(redis_like) as source:
        with writing(redis_like, "INCR", "k"):
            for _ in range(200):
                (seen,) = await source.execute([(b"GET", b"k")])
                assert isinstance(seen, bytes)
                check = Check((b"GET", b"k"), seen, "the value of k")
                try:
                    await source.transact([b"k"], [check], [(b"SET", b"k", b"%d" % (int(seen) + 1_000_000))])
                except Changed as error:
                    assert error.detail["what"] in ("the value of k", "the key")
                else:
                    done += 1
            count = redis_like.command("INFO", "commandstats")["cmdstat_incr"]["calls"]  # type: ignore[index]
    assert int(redis_like.command("GET", "k")) // 1_000_000 == done  # type: ignore[call-overload]
    assert count > 0


async def test_another_field_of_a_watched_key_is_said_as_such(redis7: Server) -> None:
    redis7.command("HSET", "h", "f", "old")

    meddle = before_exec(lambda: redis7.command("HSET", "h", "other", "1"))
    check = Check((b"HGET", b"h", b"f"), b"old", "field f of h")
    async with proxied(redis7, meddle) as port, source_of(port) as source:
        with pytest.raises(
            Changed, match="written by somebody else at the same moment: nothing was written"
        ) as refused:
            await source.transact([b"h"], [check], [(b"HSET", b"h", b"f", b"new")])
        assert refused.value.hint == "what was checked is as it was: try again"
    assert redis7.command("HGETALL", "h") == {b"f": b"old", b"other": b"1"}


async def test_a_command_that_is_refused_stops_all(redis_like: Server) -> None:
    redis_like.command("SET", "k", "old")
    async with source_of(redis_like) as source:
        for bad in ((b"HSET", b"h"), (b"NO.SUCH", b"x")):
            with pytest.raises(CacheError, match=f"^{bad[0].decode()}: "):
                await source.transact([b"k"], [VALUE], [SET, bad])
            assert redis_like.command("GET", "k") == b"old"
        assert "NO.SUCH" in source.denied
        before = source.sent["multi"]
        with pytest.raises(Unsupported, match="does not know"):
            await source.transact([b"k"], [VALUE], [SET, (b"NO.SUCH", b"x")])
        assert source.sent["multi"] == before
        assert await source.transact([b"k"], [VALUE], [SET]) == [b"OK"]


async def test_a_command_that_fails_inside_is_told_in_its_place(redis7: Server) -> None:
    redis7.command("SET", "k", "old")
    async with source_of(redis7) as source:
        replies = await source.transact([b"k"], [VALUE], [(b"LPUSH", b"k", b"x"), SET])
    assert isinstance(replies[0], ServerError) and replies[0].word == "WRONGTYPE"
    assert replies[1] == b"OK"


async def test_memory_that_is_full_is_said_and_nothing_is_done(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    server.command("SET", "k", "old")
    server.command("CONFIG", "SET", "maxmemory", "1mb")
    async with source_of(server) as source:
        with pytest.raises(ServerError, match="OOM"):
            await source.transact([b"k"], [VALUE], [SET])
    assert server.command("GET", "k") == b"old"


@pytest.mark.parametrize("missing", ["watch", "multi", "exec", "discard", "get", "set"])
async def test_without_a_permission_nothing_is_written(redis_like: Server, missing: str) -> None:
    redis_like.command("SET", "k", "old")
    redis_like.command("ACL", "SETUSER", "u", "reset", "on", ">p", "~*", "+@all", f"-{missing}")
    async with source_of(redis_like, user="u", password="p") as source:
        for _ in range(2):
            if missing == "discard":
                redis_like.command("SET", "k", "theirs")
                with pytest.raises(Changed):
                    await source.transact([b"k"], [VALUE], [SET])
            else:
                with pytest.raises(Denied, match=f"^{missing.upper()}: not permitted") as refused:
                    await source.transact([b"k"], [VALUE], [SET])
                if missing in ("watch", "multi", "exec"):
                    assert "could be overwritten, so nothing was written; ask for" in refused.value.line()
            # No transaction is left open: this is carried out and not queued.
            assert await source.execute([(b"INCR", b"n")]) == [1] or redis_like.command("GET", "n") == b"2"
    assert redis_like.command("GET", "k") == (b"theirs" if missing == "discard" else b"old")
    redis_like.command("ACL", "DELUSER", "u")


async def test_a_key_outside_the_users_pattern_is_denied(redis7: Server) -> None:
    redis7.command("SET", "k", "old")
    redis7.command("ACL", "SETUSER", "u", "reset", "on", ">p", "~mine:*", "+@all")
    async with source_of(redis7, user="u", password="p") as source:
        with pytest.raises(Denied):
            await source.transact([b"k"], [VALUE], [SET])
        assert "WATCH" not in source.denied
        mine = Check((b"GET", b"mine:1"), None, "mine")
        assert await source.transact([b"mine:1"], [mine], [(b"SET", b"mine:1", b"v")]) == [b"OK"]
    redis7.command("ACL", "DELUSER", "u")


async def test_a_cancelled_call_leaves_no_transaction_open(redis7: Server) -> None:
    redis7.command("SET", "k", "old")
    held = threading.Event()
    reached = threading.Event()

    def hold() -> None:
        reached.set()
        held.wait(10)

    async with proxied(redis7, before_exec(hold)) as port, source_of(port, timeout_s=10.0) as source:
        call = asyncio.create_task(source.transact([b"k"], [VALUE], [SET]))
        await until(reached.is_set)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        held.set()
        replies = await source.execute([(b"SET", b"k", b"mine"), (b"GET", b"k")])
        assert replies == [b"OK", b"mine"]


async def test_a_connection_lost_before_the_write_says_that_nothing_was_sent(redis7: Server) -> None:
    redis7.command("SET", "k", "old")
    async with proxied(redis7, cut_at(b"WATCH")) as port, source_of(port) as source:
        with pytest.raises(Unreachable) as lost:
            await source.transact([b"k"], [VALUE], [SET])
        assert lost.value.detail["sent"] is False
    async with source_of(1) as nobody:
        with pytest.raises(Unreachable) as lost:
            await nobody.transact([b"k"], [VALUE], [SET])
        assert lost.value.detail["sent"] is False
    assert redis7.command("GET", "k") == b"old"


async def test_a_connection_lost_with_the_write_leaves_it_open_what_became_of_it(redis7: Server) -> None:
    redis7.command("SET", "k", "old")
    async with proxied(redis7, cut_at(b"EXEC")) as port, source_of(port) as source:
        with pytest.raises(Unreachable) as lost:
            await source.transact([b"k"], [VALUE], [SET])
        assert "sent" not in lost.value.detail


async def test_a_stalled_server_is_given_up_in_time_and_nothing_is_sent(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    server.command("SET", "k", "old")
    async with source_of(server, timeout_s=0.5) as source:
        await source.open()
        await source.execute([(b"PING",)])
        server.pause()
        with pytest.raises(TimedOut) as silent:
            await source.transact([b"k"], [VALUE], [SET])
        assert silent.value.detail["sent"] is False
        server.resume()
        assert await source.transact([b"k"], [VALUE], [SET]) == [b"OK"]


async def test_a_megabyte_of_any_bytes_is_compared_and_written(redis_like: Server) -> None:
    old, new = bytes(range(256)) * 4096, b"\x00\xff\r\n" * 262_144
    key = b"\xff\x00\r\n k"
    with redis_like.client() as client:
        client.set(key, old)
    async with source_of(redis_like) as source:
        check = Check((b"GET", key), old, "the value")
        assert await source.transact([key], [check], [(b"SET", key, new, b"KEEPTTL")]) == [b"OK"]
        with pytest.raises(Changed) as refused:
            await source.transact([key], [check], [(b"DEL", key)])
        assert len(str(refused.value.detail["now"])) <= 200
    with redis_like.client() as client:
        assert client.get(key) == new


async def test_other_calls_on_the_lane_wait_and_are_not_caught_in_it(redis7: Server) -> None:
    redis7.command("SET", "k", "0")
    async with source_of(redis7) as source:

        async def change(number: int) -> bool:
            check = Check((b"EXISTS", b"k"), 1, "k")
            return await source.transact([b"k"], [check], [(b"INCR", b"k"), (b"GET", b"k")]) is not None

        reads = [source.execute([(b"GET", b"k"), (b"PING",)]) for _ in range(50)]
        results = await asyncio.gather(*(change(number) for number in range(50)), *reads)
        assert all(reply != b"QUEUED" for replies in results[50:] for reply in replies)  # type: ignore[union-attr]
    assert redis7.command("GET", "k") == b"50"


async def test_a_cluster_node_refuses_what_lies_in_two_slots(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7", "--cluster-enabled", "yes")
    server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    await until(lambda: "cluster_state:ok" in str(server.command("CLUSTER", "INFO")))
    async with source_of(server) as source:
        with pytest.raises(ServerError, match="CROSSSLOT: the keys of one command live in different slots"):
            await source.transact([b"a", b"b"], [], [(b"SET", b"a", b"1"), (b"SET", b"b", b"1")])
        assert await source.transact([b"{t}a", b"{t}b"], [], [(b"SET", b"{t}a", b"1")]) == [b"OK"]
    assert server.command("EXISTS", "a") == 0


async def test_a_server_that_a_script_blocks_is_said_to_be_busy_and_nothing_is_written(
    new_server: Callable[..., Server],
) -> None:
    server = new_server("redis7", "--busy-reply-threshold", "20")
    server.command("SET", "k", "old")
    async with source_of(server) as source:
        await source.execute([(b"PING",)])
        blocked = threading.Thread(target=_run_for_ever, args=(server,))
        blocked.start()
        with server.client() as client:
            await until(lambda: _is_busy(client))
            with pytest.raises(Busy):
                await source.transact([b"k"], [VALUE], [SET])
            client.execute_command("SCRIPT", "KILL")
        blocked.join()
        assert await source.execute([(b"GET", b"k")]) == [b"old"]
        assert await source.transact([b"k"], [VALUE], [SET]) == [b"OK"]


def _run_for_ever(server: Server) -> None:
    with server.client(socket_timeout=30) as client, suppress(redis.exceptions.ResponseError):
        client.eval("while true do end", 0)  # ends when it is killed


def _is_busy(client: redis.Redis) -> bool:
    try:
        client.ping()
    except redis.exceptions.RedisError as error:
        return "BUSY" in str(error)
    return False
