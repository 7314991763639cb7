"""Each command against real servers: its data, its narration, its exit code."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cachetui import __version__
from tests.servers.launch import Server
from tests.servers.program import command, environment, run
from tests.unit.documents import assert_document

HOSTILE = (b"bad\x1b[2Jname", b"\xff\xfe", b"new\nline", b"[red]x[/]", "ü日本".encode(), b"")


def fill(server: Server) -> None:
    server.command("SET", "user:1", "x" * 100)
    server.command("SET", "user:2", "x", "EX", "1000")
    server.command("RPUSH", "queue", *map(str, range(50)))


def test_analyze_as_a_document(redis_like: Server) -> None:
    fill(redis_like)
    done = run("analyze", redis_like.url, "--json")
    assert done.code == 0 and done.err == ""
    document = done.json()
    assert_document(document)
    assert document["status"] == "success"
    assert document["target"] == f"{redis_like.url}/0"
    assert document["server"]["role"] == "primary"


def test_analyze_as_text(redis7: Server) -> None:
    fill(redis7)
    done = run("analyze", redis7.address)
    assert done.code == 0 and done.err == ""
    assert done.lines[0].startswith(f"{redis7.url}/0  redis 7.")
    assert any(line.startswith("LOW") and "[no-maxmemory]" in line for line in done.lines)
    assert any(line.strip().startswith("CONFIG SET maxmemory") for line in done.lines)


def test_analyze_fails_on_what_was_asked(redis7: Server) -> None:
    assert run("analyze", redis7.url, "--fail-on", "low").code == 1
    assert run("analyze", redis7.url, "--fail-on", "high").code == 0


def test_analyze_over_a_window(redis7: Server) -> None:
    redis7.command("GET", "missing")
    done = run("analyze", redis7.url, "--json", "--sample", "0.5")
    assert done.json()["metrics"]["hitRate"] is None, "nothing was looked up in the window"
    assert run("analyze", redis7.url, "--json").json()["metrics"]["hitRate"] == 0


def test_analyze_memcached(memcached: Server) -> None:
    done = run("analyze", f"memcached://{memcached.address}", "--json")
    assert done.code == 0
    assert_document(done.json())
    assert done.json()["server"]["kind"] == "memcached"


def test_a_bare_address_is_asked_what_it_is(memcached: Server, valkey9: Server) -> None:
    assert run("analyze", memcached.address, "--json").json()["server"]["kind"] == "memcached"
    assert run("analyze", "-p", str(valkey9.port), "--json").json()["server"]["kind"] == "valkey"


def test_keys_are_one_escaped_name_a_line(redis_like: Server) -> None:
    for key in HOSTILE:
        redis_like.command("SET", key, "x")
    done = run("keys", redis_like.url)
    assert done.code == 0
    assert sorted(done.out.split("\n")[:-1]) == sorted(
        ["bad\\x1b[2Jname", "\\xff\\xfe", "new\\nline", "[red]x[/]", "ü日本", ""]
    )
    raw = run("keys", redis_like.url, "--raw").raw
    assert sorted(raw.split(b"\n")) == sorted(b"\n".join((*HOSTILE, b"")).split(b"\n"))


def test_keys_as_objects(redis7: Server) -> None:
    for key in HOSTILE:
        redis7.command("SET", key, "x", "EX", "500")
    objects = [json.loads(line) for line in run("keys", redis7.url, "--json", "--with", "type,ttl,size").lines]
    names = {base64.b64decode(o["keyBase64"]) if "keyBase64" in o else o["key"].encode() for o in objects}
    assert names == set(HOSTILE)
    assert {o["type"] for o in objects} == {"string"}
    assert all(0 < o["ttlSeconds"] <= 500 and o["hasTtl"] and o["sizeBytes"] > 0 for o in objects)


def test_keys_match_type_sort_and_limit(redis7: Server) -> None:
    fill(redis7)
    assert sorted(run("keys", redis7.url, "--match", "user:*").lines) == ["user:1", "user:2"]
    assert run("keys", redis7.url, "--type", "list").lines == ["queue"]
    assert run("keys", redis7.url, "--sort", "name").lines == ["queue", "user:1", "user:2"]
    assert run("keys", redis7.url, "--sort", "ttl").lines[0] == "user:2"
    assert run("keys", redis7.url, "--sort", "size", "--limit", "2").lines == ["queue", "user:1"]
    assert run("keys", redis7.url, "--sort", "name", "--with", "ttl,type").lines[0] == "queue\tnone\tlist"
    assert len(run("keys", redis7.url, "--limit", "1").lines) == 1


def test_each_of_many_keys_comes_once(redis7: Server) -> None:
    redis7.command("DEBUG", "POPULATE", "20000")
    lines = run("keys", redis7.url).lines
    assert len(lines) == len(set(lines)) == 20000


def test_keys_of_memcached(memcached: Server) -> None:
    from pymemcache.client.base import Client

    client = Client(("127.0.0.1", memcached.port), connect_timeout=2, timeout=2, default_noreply=False)
    client.set("a:1", b"x", expire=1000)
    client.set("b:1", b"xy")
    client.close()
    assert run("keys", f"memcached://{memcached.address}", "--match", "a:*").lines == ["a:1"]
    assert run("keys", memcached.address, "--sort", "name").lines == ["a:1", "b:1"]


def test_a_reader_who_leaves_early_is_no_failure(redis7: Server) -> None:
    redis7.command("DEBUG", "POPULATE", "20000")
    for args in (["keys", redis7.url], ["--help"]):
        process = subprocess.Popen(
            command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), start_new_session=True
        )
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.stderr.read(), process.wait(20)) == (b"", 0)
        process.stderr.close()


def test_a_full_disk_is_said(redis7: Server) -> None:
    fill(redis7)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("keys", redis7.url), stdout=full, stderr=subprocess.PIPE, env=environment(), timeout=30, check=False
        )
    assert done.returncode == 4
    assert done.stderr == b"cachetui: cannot write the output: No space left on device\n"


def test_slowlog(redis_like: Server) -> None:
    assert run("slowlog", redis_like.url).line() == "cachetui: no entries"
    redis_like.command("CONFIG", "SET", "slowlog-log-slower-than", "0")
    redis_like.command("SET", b"k\x1b[2J", b"\xff")
    redis_like.command("CONFIG", "SET", "slowlog-log-slower-than", "10000")
    assert any("SET k\\x1b[2J \\xff" in line for line in run("slowlog", redis_like.url).lines)
    document = run("slowlog", redis_like.url, "--json").json()
    entry = next(entry for entry in document["entries"] if entry["command"].startswith("SET"))
    assert entry["args"] == ["SET", {"base64": base64.b64encode(b"k\x1b[2J").decode()}, {"base64": "/w=="}]
    assert document["thresholdUs"] == 10000 and entry["durationUs"] >= 0


def test_topology_and_its_check(new_server: Callable[..., Server]) -> None:
    primary = new_server("redis7")
    assert run("topology", primary.url, "--check").code == 0
    lost = new_server("redis7", "--replicaof", "127.0.0.1", "1")
    done = run("topology", lost.url, "--check")
    assert done.code == 1 and any(line.startswith("problem: ") for line in done.lines)
    assert run("topology", lost.url).code == 0
    document = run("topology", lost.url, "--json").json()
    assert document["server"]["role"] == "replica" and not document["ok"] and document["problems"]


def test_policy_shows_plans_and_applies(redis7: Server) -> None:
    done = run("policy", redis7.url)
    assert done.lines[0].split() == ["policy", "noeviction"] and "allkeys-lru" in done.out
    done = run("policy", redis7.url, "allkeys-lru", "--maxmemory", "100mb")
    assert done.code == 0 and "dry run" in done.line()
    assert "  > CONFIG SET maxmemory-policy allkeys-lru" in done.lines
    assert redis7.command("CONFIG", "GET", "maxmemory-policy")[b"maxmemory-policy"] == b"noeviction"
    try:
        done = run("policy", redis7.url, "allkeys-lru", "--maxmemory", "100mb", "--yes", "--json")
        assert done.code == 0
        assert [outcome["state"] for outcome in done.json()["outcomes"]] == ["done", "done"]
        assert redis7.command("CONFIG", "GET", "maxmemory")[b"maxmemory"] == b"104857600"
        titles = [entry["title"] for entry in run("log", "--json").json()["entries"]]
        assert titles == ["Set maxmemory to 100MB", "Set the eviction policy to allkeys-lru"]
        assert len(run("log", "--limit", "1", "--json").json()["entries"]) == 1
        assert "allkeys-lru" in run("log").out
    finally:
        redis7.command("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")


def test_policy_refuses_what_it_must(redis7: Server, memcached: Server) -> None:
    done = run("policy", redis7.url, "allkeys-lru", "--yes", "--read-only")
    assert done.code == 5 and "read-only (--read-only)" in done.line()
    assert run("policy", redis7.url, "frobnicate").code == 2
    assert run("policy", redis7.url, "--yes").code == 2
    done = run("policy", f"memcached://{memcached.address}", "allkeys-lru", "--yes")
    assert done.code == 5 and "no eviction policy" in done.line()
    done = run("policy", redis7.url, "allkeys-lru", "--yes", "--json", "--read-only")
    assert done.json()["error"]["code"] == "refused"


def test_a_read_only_profile_refuses_a_write(redis7: Server, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f"[profiles.prod]\nurl = '{redis7.url}'\nread_only = true\n")
    done = run("policy", "prod", "allkeys-lru", "--yes", "--config", str(path))
    assert done.code == 5 and "profile prod" in done.line()


def test_an_empty_journal() -> None:
    done = run("log")
    assert done.code == 0 and "nothing was done yet" in done.line()
    assert run("log", "--json").json()["entries"] == []


def test_help_version_and_usage() -> None:
    assert run("--version").out == f"cachetui {__version__}\n"
    for args in (["--help"], ["keys", "--help"], ["--config", "x", "policy", "--help"]):
        done = run(*args)
        assert done.code == 0 and done.out.startswith("usage: cachetui") and done.err == ""


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["redis://a", "redis://b"], "several targets at once are not supported yet"),
        (["analyze", "redis://a", "redis://b"], "several targets at once"),
        (["--bogus=hunter2"], "unknown option --bogus"),
        (["-h"], "expected one argument"),
        (["-p", "x"], "a whole number from 1 to 65535"),
        (["keys", "--limit", "0", "h"], "a whole number from 1"),
        (["keys", "--sort", "colour", "h"], "invalid choice"),
        (["keys", "--with", "type,type", "h"], "type, ttl and size are known"),
        (["keys", "--raw", "--with", "type", "h"], "--raw prints names only"),
        (["keys", "--raw", "--json", "h"], "not allowed with"),
        (["policy", "h", "--maxmemory", "many"], "not a size"),
        (["--interval", "0", "analyze", "h"], "seconds from 0.2 to 3600"),
        (["record", "redis://a"], "one target and one file"),
        (["replay"], "replay takes one file"),
        (["replay", "/no/such/file"], "there is no recording"),
        (["log", "h"], "log takes no target"),
        (["demo", "--all"], "--all is not there yet"),
        (["demo", "--cluster", "--sentinel"], "one kind of servers"),
        (["demo", "redis://h"], "demo takes no target"),
        (["redis://h"], "needs a terminal"),
        (["analyze", "ftp://h"], "unknown kind of target"),
        (["analyze", "--config", "/no/such.toml", "h"], "no such file"),
        (["--askpass", "analyze", "h"], "no terminal to ask on"),
    ],
)
def test_each_misuse_is_one_line(args: list[str], says: str) -> None:
    done = run(*args)
    assert says in done.line() and "hunter2" not in done.err
    assert done.code == 2 and done.raw == b""
