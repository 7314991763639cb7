"""Each way not to get in: one line with a hint, the right exit code, and never a password."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cachetui.cli import call
from cachetui.config import Address, Target
from cachetui.errors import Unreachable
from tests.servers import launch
from tests.servers.launch import Server, free_port
from tests.servers.program import Ended, run
from tests.servers.strange import says, silent, strange_server
from tests.unit.documents import assert_document


def refused(done: Ended, words: str, code: int = 3) -> None:
    assert words in done.line(), done.line()
    assert done.code == code and done.raw == b""
    assert "hunter2" not in done.err


def test_nobody_listens() -> None:
    port = free_port()
    for target in (f"redis://127.0.0.1:{port}", f"127.0.0.1:{port}", f"memcached://127.0.0.1:{port}"):
        refused(run("slowlog", target), "refused the connection; nothing listens there")


def test_unreachable_is_a_document_too() -> None:
    done = run("analyze", f"redis://:hunter2@127.0.0.1:{free_port()}", "--json")
    assert done.code == 3 and "refused the connection" in done.line()
    assert_document(done.json())
    assert done.json()["status"] == "error" and "hunter2" not in done.out
    done = run("topology", f"redis://127.0.0.1:{free_port()}", "--json")
    assert done.code == 3 and done.json()["error"]["code"] == "unreachable"


def test_unknown_host_and_missing_socket(tmp_path: Path) -> None:
    refused(run("keys", "redis://no-such-host.invalid"), "unknown host no-such-host.invalid")
    refused(run("keys", f"unix://{tmp_path}/none"), "no such socket")
    (tmp_path / "file").touch()
    assert run("keys", f"unix://{tmp_path}/file").code == 3


async def test_what_answers_is_no_cache() -> None:
    async with strange_server(says(b"HTTP/1.1 400 Bad Request\r\n\r\n", then_close=True)) as port:
        for target in (f"127.0.0.1:{port}", f"redis://127.0.0.1:{port}"):
            refused(await asyncio.to_thread(run, "analyze", target), "is not a cache: an HTTP server")


async def test_silence_times_out() -> None:
    async with strange_server(silent) as port:
        refused(await asyncio.to_thread(run, "keys", f"redis://127.0.0.1:{port}"), "did not answer")


def test_a_full_backlog_times_out() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        refused(run("keys", f"127.0.0.1:{deaf.getsockname()[1]}"), "did not answer")


def test_the_other_protocol(memcached: Server, redis7: Server) -> None:
    refused(run("keys", f"redis://{memcached.address}"), "is not Redis: Memcached answers")
    done = run("keys", f"memcached://{redis7.address}")
    assert done.code == 3 and "Redis" in done.line()


def test_passwords(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7", "--requirepass", "hunter2")
    port = str(server.port)
    refused(run("keys", server.url), "the server asks for a password")
    refused(run("keys", server.address), "the server asks for a password")
    refused(run("keys", f"redis://:hunter2x@{server.address}"), "password is wrong")
    refused(run("keys", f"redis://bob:hunter2@{server.address}"), "password is wrong")
    for done in (
        run("analyze", f"redis://:hunter2@{server.address}"),
        run("analyze", "-p", port, env={"REDISCLI_AUTH": "hunter2"}),
        run("analyze", server.address, "--user", "default", "-a", "hunter2", "--no-auth-warning"),
        run("analyze", "-u", f"redis://default:hunter2@{server.address}", "--json"),
        run("topology", f"redis://:hunter2@{server.address}", "--json"),
    ):
        assert done.code == 0 and done.err == ""
        assert "hunter2" not in done.out
    done = run("analyze", "-p", port, "-a", "hunter2")
    assert done.code == 0 and "warning: a password on the command line" in done.line()


def test_permissions(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    server.command("ACL", "SETUSER", "pinger", "on", ">hunter2", "+ping")
    server.command("ACL", "SETUSER", "guest", "on", ">hunter2", "~*", "+@read", "+scan", "+ping", "-info", "-slowlog")
    pinger, guest = (f"redis://{name}:hunter2@{server.address}" for name in ("pinger", "guest"))
    refused(run("keys", pinger), "not permitted", 5)
    refused(run("slowlog", pinger), "not permitted", 5)
    server.command("SET", "a", "1")
    assert run("keys", guest).lines == ["a"]
    refused(run("slowlog", guest), "not permitted", 5)
    done = run("analyze", guest, "--json")
    assert done.code == 0
    assert_document(done.json())
    assert done.json()["status"] == "partial" and "INFO" in done.json()["denied"]
    done = run("policy", guest, "allkeys-lru", "--yes")
    assert done.code == 5 and "hunter2" not in done.err


def test_tls(certificates: dict[str, Path], redis7: Server) -> None:
    server = launch.tls_server(launch.redis7(), certificates)
    ca = ["--cacert", str(certificates["ca.crt"])]
    port = str(server.port)
    try:
        refused(run("keys", server.url), "speaks TLS only")
        refused(run("keys", server.address), "speaks TLS only")
        refused(run("keys", f"rediss://{redis7.address}"), "does not speak TLS")
        refused(run("keys", f"rediss://{server.address}"), "signed by an unknown CA")
        refused(run("keys", "-p", port, "--tls", *ca, "--sni", "other.example"), "is for another host")
        refused(run("keys", "-p", port, "--insecure"), "TLS options without TLS", 2)
        refused(run("keys", "-p", port, "--tls", "--cacert", "/no/such"), "no such file", 2)
        assert run("keys", "-p", port, "--tls", "--insecure").code == 0
        assert run("keys", "-p", port, "--tls", *ca).code == 0
        assert run("keys", f"rediss://{server.address}?ssl_ca_certs={certificates['ca.crt']}").code == 0
    finally:
        launch.remove(server)


def test_mutual_tls_from_a_profile(certificates: dict[str, Path], tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "rsa", "-aes256", "-passout", "pass:hunter2", "-in", certificates["client.key"], "-out", locked],
        check=True,
        capture_output=True,
    )
    server = launch.tls_server(launch.redis7(), certificates, mutual=True)
    path = tmp_path / "c.toml"
    tls = f"ca = '{certificates['ca.crt']}'\ncert = '{certificates['client.crt']}'\nkey = 'locked.key'\n"
    profile = f"[profiles.m]\nurl = 'rediss://{server.address}'\n[profiles.m.tls]\n{tls}"
    try:
        path.write_text(profile)
        refused(run("keys", "m", "--config", str(path)), "no terminal to ask on (Passphrase of ", 2)
        path.write_text(profile + "key_password_command = 'echo hunter2'\n")
        assert run("keys", "m", "--config", str(path)).code == 0
        done = run("keys", "-p", str(server.port), "--tls", "--cacert", str(certificates["ca.crt"]))
        refused(done, "asks for a client certificate")
    finally:
        launch.remove(server)


def test_a_bad_configuration_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("theme = 'dark'\n\nintervall = 1\n")
    done = run("analyze", "h", "--config", str(path))
    refused(done, f"{path}:3: unknown setting intervall", 2)


async def test_no_target_looks_at_both_local_ports(memcached: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = (Address("127.0.0.1", free_port()), Address("127.0.0.1", free_port()))
    monkeypatch.setattr(call, "LOCAL", nobody)
    with pytest.raises(Unreachable) as caught:
        await call.settled(Target("auto", nobody))
    assert caught.value.message.count("127.0.0.1:") == 2 and "cachetui demo" in caught.value.hint
    found = await call.settled(Target("auto", (nobody[0], Address("127.0.0.1", memcached.port))))
    assert (found.kind, found.addresses) == ("memcached", (Address("127.0.0.1", memcached.port),))


def test_a_sentinel_is_said_to_hold_no_keys(new_server: Callable[..., Server]) -> None:
    sentinel = launch.sentinel_server(launch.redis7(), new_server("redis7"))
    try:
        assert run("topology", sentinel.address).lines[0] == "Sentinel watching 1 group"
        refused(run("keys", sentinel.address), "holds no keys", 5)
        refused(run("policy", sentinel.address, "allkeys-lru"), "holds no data", 5)
        through = f"redis+sentinel://{sentinel.address}/mymaster"
        assert run("analyze", through, "--json").json()["server"]["role"] == "primary"
    finally:
        launch.remove(sentinel)


def test_a_socket_of_either_kind_is_recognised(new_server: Callable[..., Server]) -> None:
    redis, memcached = new_server("redis7", socket_path=True), new_server("memcached", socket_path=True)
    redis.command("SET", "here", "1")
    for where in (["-s", redis.path], [redis.path], [f"unix://{redis.path}?db=0"]):
        assert run("keys", *where).lines == ["here"]
    for where in (["-s", memcached.path], [f"memcached+unix://{memcached.path}"]):
        assert run("topology", *where).code == 0


def test_a_busy_server_is_analyzed(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7", "--busy-reply-threshold", "100")
    with socket.create_connection(("127.0.0.1", server.port)) as link:
        link.sendall(b"EVAL 'while true do end' 0\r\n")
        done = run("analyze", server.url, "--fail-on", "high")
        while "SCRIPT KILL" not in done.out:  # not stuck for long enough yet
            done = run("analyze", server.url, "--fail-on", "high")
        assert done.code == 1 and "HIGH" in done.out
        assert run("keys", server.url).code == 3
        server.command("SCRIPT", "KILL")


@pytest.mark.parametrize("name", ["CACHETUI_URL", "REDIS_URL"])
def test_the_environment_names_the_target(redis7: Server, name: str) -> None:
    redis7.command("SET", "here", "1")
    assert run("keys", env={name: redis7.url}).lines == ["here"]
