"""Getting in, being kept out, and servers that are none."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cachetui.config import Address, Target
from cachetui.errors import AuthFailed, CacheError, NotACache, ServerError, TimedOut, TlsFailed, Unreachable
from cachetui.source.memcached import MemcachedSource
from tests.contract.memcached_targets import Plain, misbehaving, source_of, until
from tests.servers import launch
from tests.servers.launch import Server, free_port

VERSION = {b"version": b"VERSION 1.6.18\r\n"}


async def failure(*servers: Server | int, **more: object) -> CacheError:
    async with source_of(*servers, **more) as source:  # type: ignore[arg-type]
        with pytest.raises(CacheError) as raised:
            await source.open()
    assert raised.value.message.isprintable() and "\n" not in raised.value.message
    return raised.value


@pytest.fixture
def guarded(new_server: Callable[..., Server], tmp_path: Path) -> Server:
    passwords = tmp_path / "passwords"
    passwords.write_text("bob:s3cret\n")
    passwords.chmod(0o644)
    tmp_path.chmod(0o755)
    return new_server("memcached", "-Y", str(passwords))


async def test_a_unix_socket(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached", socket_path=True)
    async with source_of(server) as source:
        identity = await source.open()
        assert identity.address == server.path
        assert source.name == f"memcached+unix://{server.path}"
        with Plain(server) as plain:
            plain.fill([b"a"])
        assert (await source.scan()).keys == (b"a",)
        await source.poll("clients")


async def test_logging_in(guarded: Server) -> None:
    async with source_of(guarded, user="bob", password="s3cret") as source:
        await source.open()
        await source.poll("stats")
        await source.poll("slowlog")
        assert (await source.scan()).keys == ()


async def test_wrong_and_missing_passwords(guarded: Server) -> None:
    wrong = await failure(guarded, user="bob", password="guess-9213")
    assert isinstance(wrong, AuthFailed) and "wrong" in wrong.message
    assert "guess-9213" not in wrong.line() + repr(wrong)
    missing = await failure(guarded)
    assert isinstance(missing, AuthFailed) and "password" in missing.message


async def test_a_password_is_not_stored_on_a_server_that_asks_for_none(memcached: Server) -> None:
    async with source_of(memcached, user="bob", password="s3cret") as source:
        await source.open()
        await source.poll("stats")
        assert (await source.scan()).keys == ()


async def test_nobody_listens() -> None:
    error = await failure(free_port())
    assert isinstance(error, Unreachable) and "refused" in error.message and error.hint


async def test_unknown_hosts_and_sockets() -> None:
    for address in (Address("no-such-host.invalid", 11211), Address(path="/nowhere/memcached.sock")):
        source = MemcachedSource(Target("memcached", (address,)))
        with pytest.raises(Unreachable):
            await source.open()
        await source.close()


async def test_a_redis_on_the_port(redis7: Server) -> None:
    error = await failure(redis7.port)
    assert isinstance(error, NotACache) and "Redis" in error.message and "redis://" in error.hint


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", NotACache),
        (b"SSH-2.0-OpenSSH_9.2\r\n", NotACache),
        (b"\x00\xff\x1b]0;title\x07\r\n", NotACache),
        (b"\x15\x03\x01\x00\x02\x02\x46\r\n", TlsFailed),
        (b"x" * 100_000, NotACache),
        (b"ERROR Too many open connections\r\n", Unreachable),
        (b"SERVER_ERROR out of memory\r\n", ServerError),
    ],
)
async def test_something_else_answers(said: bytes, kind: type[CacheError]) -> None:
    async with misbehaving(lambda _: said) as port:
        assert isinstance(await failure(port), kind)


async def test_silence_is_cut_off_by_the_deadline() -> None:
    async with misbehaving(lambda _: b"") as port:
        begun = asyncio.get_running_loop().time()
        assert isinstance(await failure(port, timeout_s=0.3), TimedOut)
        assert asyncio.get_running_loop().time() - begun < 2


async def test_a_drip_is_cut_off_by_the_deadline() -> None:
    """A reply that never ends but always goes on: the deadline is around the whole call."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"V")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    assert isinstance(await failure(server.sockets[0].getsockname()[1], timeout_s=0.3), TimedOut)
    server.close()


async def test_closed_at_once() -> None:
    async with misbehaving(lambda _: None) as port:
        assert isinstance(await failure(port), Unreachable)


async def test_statistics_without_end_and_odd_ones() -> None:
    stats = b"STAT pid x\r\nSTAT \r\nSTAT curr_items 99999999999999999999999999\r\nSTAT evil \x1b[2J\r\nEND\r\n"

    def answer(line: bytes) -> bytes:
        return VERSION.get(line, stats)

    async with misbehaving(answer) as port, source_of(port) as source:
        found = await source.poll("stats")
        assert found.keys is None  # type: ignore[union-attr]


async def test_what_nobody_asked_for_drops_the_connection() -> None:
    calls = []

    def answer(line: bytes) -> bytes:
        calls.append(line)
        return VERSION.get(line, b"STAT pid 1\r\nEND\r\nEND\r\n")

    async with misbehaving(answer) as port, source_of(port) as source:
        for _ in range(2):
            with pytest.raises(ServerError, match="more than was asked for"):
                await source.open()
        assert calls.count(b"stats") == 2
        # Each time a new connection: its own greeting, and then the question's.
        assert calls.count(b"version") == 4


@pytest.mark.parametrize("reply", [b"VA 3 s3 t-1 f0\r\nabcdef\r\n", b"VA 9 s9 t-1 f0\r\nabc\r\n", b"VA x\r\n\r\n"])
async def test_a_value_of_another_length_than_it_said(reply: bytes) -> None:
    def answer(line: bytes) -> bytes:
        if line.startswith(b"me "):
            return b"ME k exp=-1 la=0 cas=1 fetch=no cls=1 size=60\r\n"
        return reply if line.startswith(b"mg ") else VERSION.get(line, b"END\r\n")

    async with misbehaving(answer) as port, source_of(port, timeout_s=0.5) as source:
        with pytest.raises(CacheError):
            await source.value(b"k")
        await source.open()


async def test_a_value_cut_off_in_the_middle_is_no_value() -> None:
    replies = iter([b"ME k exp=-1 la=0 cas=1 fetch=no cls=1 size=60\r\n", b"VA 9 s9 t-1 f0\r\nabc"])

    def answer(line: bytes) -> bytes | None:
        if line == b"version":
            return VERSION[line]
        return next(replies, None)

    async with misbehaving(answer) as port, source_of(port, timeout_s=0.5) as source:
        with pytest.raises(Unreachable):
            await source.value(b"k")


async def test_it_comes_back_after_a_restart_by_itself(new_server: Callable[..., Server]) -> None:
    server = new_server("memcached")
    async with source_of(server, timeout_s=0.5) as source:
        await source.open()
        server.pause()

        async def stalled() -> bool:
            try:
                await source.value(b"k")
            except TimedOut:
                return True
            return False  # its threads stop a moment after the signal

        await until(stalled)
        server.resume()
        assert not (await source.value(b"k")).facts.exists
        server.kill()
        server.start()

        async def answers() -> bool:
            try:
                return not (await source.value(b"k")).facts.exists
            except Unreachable:
                return False  # the old connection's end was not seen before the question was sent

        await until(answers, 2)


async def test_a_server_that_wants_sasl_is_told_apart_from_a_silent_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memcached.conf").write_text(f"mech_list: plain\nsasldb_path: {tmp_path}/db\n")
    monkeypatch.setenv("SASL_CONF_PATH", str(tmp_path))
    port = launch.free_port()
    argv = [launch.memcached_binary(), "-S", "-p", str(port), "-l", "127.0.0.1", "-U", "0", "-u", "root"]
    if os.getuid() != 0:
        argv = argv[:-2]
    server = Server(argv, port, launch.workdir(), greeting=b"").start()
    try:
        async with source_of(server, timeout_s=1.0) as source:
            with pytest.raises(AuthFailed, match="SASL") as caught:
                await source.open()
        assert "-Y" in caught.value.hint
        server.pause()
        async with source_of(server, timeout_s=0.5) as source:
            with pytest.raises(TimedOut):
                await source.open()
        server.resume()
    finally:
        launch.remove(server)
