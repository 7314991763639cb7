"""Getting in: sockets, passwords, databases, TLS; and every refusal as one clear line."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cachetui.config import Address, Secret, Target
from cachetui.errors import AuthFailed, BadTarget, CacheError, NotACache, TimedOut, TlsFailed, Unreachable
from cachetui.model import Stats
from cachetui.source.connect import make_source, open_source
from cachetui.source.redis import RedisSource
from tests.contract.redis_targets import source_of, target_of, tls
from tests.servers import launch
from tests.servers.launch import Server
from tests.servers.strange import says, silent, strange_server

PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3])


async def refusal(target: Target) -> CacheError:
    """Return why `target` cannot be opened; no password may be in it."""
    with pytest.raises(CacheError) as caught:
        await (await open_source(target)).close()
    error = caught.value
    shown = f"{error.line()} {error.detail} {error!r}"
    assert "\n" not in error.line() and error.hint
    for password in (target.password, target.sentinel_password):
        assert password is None or str.__str__(password) not in shown
    return error


@PROTOCOLS
async def test_unix_socket(new_server, protocol: int) -> None:  # type: ignore[no-untyped-def]
    server = new_server("redis7", socket_path=True)
    async with source_of(server, protocol=protocol) as source:
        assert (await source.open()).address == server.path
        assert isinstance(await source.poll("stats"), Stats)
        assert source.sent["hello"] == 1


@PROTOCOLS
async def test_password_user_and_database(new_server, protocol: int) -> None:  # type: ignore[no-untyped-def]
    server = new_server("redis6", "--requirepass", "p@ss word")
    with server.client(password="p@ss word", db=3) as client:
        client.set("k", "v")
        client.execute_command("ACL", "SETUSER", "ann", "on", ">hers", "~*", "+@all")
    async with source_of(server, password="p@ss word", db=3, protocol=protocol) as source:
        assert (await source.scan()).keys == (b"k",)
        assert (await source.poll("stats")).keys == 1  # type: ignore[union-attr]
    async with source_of(server, user="ann", password="hers", protocol=protocol) as source:
        assert (await source.scan()).keys == ()
    for more in ({"password": "wrong-word"}, {"user": "ann", "password": "wrong-word"}, {}):
        error = await refusal(target_of(server, **more))
        assert isinstance(error, AuthFailed), error
        assert ("asks for a password" if not more else "wrong") in error.message
    error = await refusal(target_of(server, password="p@ss word", db=99))
    assert isinstance(error, BadTarget) and "99" in error.message


async def test_refused_unknown_and_missing(tmp_path: Path) -> None:
    error = await refusal(target_of(launch.free_port()))
    assert type(error) is Unreachable and "refused" in error.message
    error = await refusal(Target("redis", (Address("no-such-host.invalid", 6379),)))
    assert type(error) is Unreachable and "unknown host" in error.message
    error = await refusal(Target("redis", (Address(path=str(tmp_path / "s")),)))
    assert type(error) is Unreachable and "no such socket" in error.message
    (tmp_path / "file").write_text("")
    error = await refusal(Target("auto", (Address(path=str(tmp_path / "file")),)))
    assert type(error) is Unreachable


async def test_maxclients_and_protected_mode(new_server) -> None:  # type: ignore[no-untyped-def]
    server = new_server("redis7", "--maxclients", "1")
    with server.client() as holder:
        holder.ping()
        error = await refusal(target_of(server))
    assert type(error) is Unreachable and "maxclients" in error.message
    async with strange_server(
        says(b"-DENIED Redis is running in protected mode because ...\r\n", then_close=True)
    ) as port:
        error = await refusal(target_of(port))
    assert error.code == "denied" and "protected mode" in error.message


STRANGERS = {
    "http": (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", NotACache, "HTTP"),
    "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", NotACache, "SSH"),
    "memcached": (b"ERROR\r\n", NotACache, "Memcached"),
    "garbage": (b"\x00\x01\x02\x1b[2J\r\n", NotACache, "not a cache"),
    "alert": (b"\x15\x03\x01\x00\x02\x02\x46", TlsFailed, "TLS"),
}


@pytest.mark.parametrize("stranger", sorted(STRANGERS))
async def test_what_is_not_redis_is_named(stranger: str) -> None:
    answer, kind, word = STRANGERS[stranger]
    async with strange_server(says(answer)) as port:
        error = await refusal(target_of(port, password="hidden-word"))
        assert type(error) is kind and word in error.message and "\x1b" not in error.line()
        if stranger != "memcached":
            error = await refusal(target_of(port, kind="auto"))
            assert type(error) is kind and word in error.message


@pytest.mark.parametrize("kind", ["redis", "auto"])
async def test_silence_and_closing_at_once(kind: str) -> None:
    async with strange_server(silent) as port:
        error = await refusal(target_of(port, kind=kind, timeout_s=0.5))
        assert isinstance(error, TimedOut)
    async with strange_server(says(b"", then_close=True)) as port:
        error = await refusal(target_of(port, kind=kind))
        assert isinstance(error, Unreachable) and "without an answer" in error.message


async def test_auto_finds_redis(redis_like: Server) -> None:
    target = target_of(redis_like, kind="auto")
    source = await open_source(target)
    assert isinstance(source, RedisSource) and source.identity
    await source.close()
    source = make_source(target)
    assert source.identity is None and source.why_not("scan") and source.sent.total() == 0
    try:
        assert isinstance(await source.poll("stats"), Stats)
        assert source.identity and source.why_not("scan") is None
    finally:
        await source.close()


async def test_auto_takes_the_first_that_answers(redis7: Server) -> None:
    addresses = (Address("127.0.0.1", launch.free_port()), Address("127.0.0.1", redis7.port))
    source = await open_source(Target("auto", addresses))
    assert source.identity and source.identity.address == redis7.address
    await source.close()


async def test_auto_asks_for_the_password(new_server) -> None:  # type: ignore[no-untyped-def]
    server = new_server("valkey9", "--requirepass", "pw")
    assert isinstance(await refusal(target_of(server, kind="auto")), AuthFailed)
    source = await open_source(target_of(server, kind="auto", password="pw"))
    assert source.identity and source.identity.kind == "valkey"
    await source.close()


# TLS


@pytest.fixture(scope="module")
def tls_only(certificates: dict[str, Path]) -> Iterator[Server]:
    server = launch.tls_server(launch.redis7(), certificates)
    yield server
    launch.remove(server)


@pytest.fixture(scope="module")
def mutual(certificates: dict[str, Path]) -> Iterator[Server]:
    server = launch.tls_server(launch.redis7(), certificates, mutual=True)
    yield server
    launch.remove(server)


@PROTOCOLS
async def test_tls(tls_only: Server, certificates: dict[str, Path], protocol: int) -> None:
    async with source_of(tls_only, tls=tls(certificates), protocol=protocol) as source:
        assert isinstance(await source.poll("stats"), Stats)
        await source.poll("clients")
    async with source_of(tls_only, tls=tls(certificates, ca=False, verify=False), protocol=protocol) as source:
        assert isinstance(await source.poll("stats"), Stats)
    source = await open_source(target_of(tls_only, kind="auto", tls=tls(certificates)))
    assert isinstance(source, RedisSource)
    await source.close()


@pytest.mark.parametrize("kind", ["redis", "auto"])
async def test_tls_refusals(tls_only: Server, redis7: Server, certificates: dict[str, Path], kind: str) -> None:
    def reason(error: CacheError) -> str:
        assert isinstance(error, TlsFailed), error.line()
        return error.message

    assert "speaks TLS only" in reason(await refusal(target_of(tls_only, kind=kind)))
    assert "does not speak TLS" in reason(await refusal(target_of(redis7, kind=kind, tls=tls(certificates))))
    assert "unknown CA" in reason(await refusal(target_of(tls_only, kind=kind, tls=tls(certificates, ca=False))))
    other = tls(certificates, server_name="elsewhere.example")
    assert "another host" in reason(await refusal(target_of(tls_only, kind=kind, tls=other)))
    nothing = replace(tls(certificates), ca_file="/nonexistent/ca.crt")
    assert "cannot read" in reason(await refusal(target_of(tls_only, kind=kind, tls=nothing)))


@pytest.mark.parametrize("kind", ["redis", "auto"])
async def test_mutual_tls(mutual: Server, certificates: dict[str, Path], kind: str) -> None:
    source = await open_source(target_of(mutual, kind=kind, tls=tls(certificates, client=True)))
    assert isinstance(await source.poll("stats"), Stats)
    await source.close()
    error = await refusal(target_of(mutual, kind=kind, tls=tls(certificates)))
    assert isinstance(error, TlsFailed) and "client certificate" in error.message


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


async def test_an_encrypted_client_key_asks_for_its_password(
    mutual: Server, certificates: dict[str, Path], tmp_path: Path
) -> None:
    locked = tmp_path / "locked.key"
    openssl("rsa", "-aes256", "-passout", "pass:opens-it", "-in", str(certificates["client.key"]), "-out", str(locked))
    how = replace(tls(certificates, client=True), key_file=str(locked))
    error = await refusal(target_of(mutual, tls=how))
    assert isinstance(error, TlsFailed) and "password is needed" in error.message
    error = await refusal(target_of(mutual, tls=replace(how, key_password=Secret("wrong"))))
    assert isinstance(error, TlsFailed) and "password is wrong" in error.message
    async with source_of(mutual, tls=replace(how, key_password=Secret("opens-it"))) as source:
        assert isinstance(await source.poll("stats"), Stats)


async def test_an_expired_certificate_is_refused(certificates: dict[str, Path], tmp_path: Path) -> None:
    request, made = tmp_path / "r.csr", dict(certificates)
    made["server.crt"], made["server.key"] = tmp_path / "old.crt", tmp_path / "old.key"
    openssl(
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=old",
        "-keyout",
        str(made["server.key"]),
        "-out",
        str(request),
    )
    (tmp_path / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    (tmp_path / "index.txt").write_text("")
    (tmp_path / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={tmp_path}/index.txt\nnew_certs_dir={tmp_path}\nrand_serial=yes\n"
        "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
    )
    openssl(
        *("ca", "-batch", "-config", str(tmp_path / "ca.cnf"), "-in", str(request), "-out", str(made["server.crt"])),
        *("-cert", str(certificates["ca.crt"]), "-keyfile", str(certificates["ca.key"])),
        *("-extfile", str(tmp_path / "san")),
        *("-startdate", "20200101000000Z", "-enddate", "20200201000000Z"),
    )
    server = launch.tls_server(launch.redis7(), made)
    try:
        error = await refusal(target_of(server, tls=tls(certificates)))
        assert isinstance(error, TlsFailed) and "expired" in error.message
        async with source_of(server, tls=tls(certificates, verify=False)) as source:
            assert isinstance(await source.poll("stats"), Stats)
    finally:
        launch.remove(server)
