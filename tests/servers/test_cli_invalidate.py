"""`cachetui invalidate`: the dry run that changes nothing, and each invalidation seen on the server itself."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers import launch
from tests.servers.launch import Server
from tests.servers.program import Ended, Running, command, environment, run

ODD = (b"odd\x1b[2J", b"\xff\xfe", b"new\nline", b"back\\nslash", b"", b'{"key":"x"}', "ü日本".encode(), b" space ")


def fill(server: Server, number: int = 2000, form: str = "s:%d", **how: Any) -> None:
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for at in range(number):
            pipe.set(form % at, f"value {at}", **how)
        pipe.execute()


def names(server: Server) -> set[bytes]:
    with server.client() as client:
        return set(client.scan_iter(count=1000))


def everything(server: Server) -> str:
    """Return what all data of the server comes to."""
    with server.client() as client:
        return str(client.execute_command("DEBUG", "DIGEST"))


def invalidate(server: Server, *args: str, **how: Any) -> Ended:
    return run("invalidate", server.url, *args, **how)


def outcome(done: Ended) -> dict[str, Any]:
    document = done.json()
    assert document["operation"] == "invalidate" and document["schema"] == 1
    found: dict[str, Any] = document["outcome"]
    return found


DRY = [
    ("--key", "s:1"),
    ("--key", "s:1", "s:2", "--expire", "60"),
    ("--pattern", "s:*"),
    ("--pattern", "*", "--persist"),
    ("--regex", "^s:1", "--type", "string", "--without-ttl"),
    ("--tag", "a"),
    ("--version-key", "shop:version"),
    ("--pattern", "s:*", "--expire", "5", "--jitter", "3"),
    ("--pattern", "s:*", "--no-undo", "--json"),
]


@pytest.mark.parametrize("kind", ["redis7", "valkey9"])
def test_a_dry_run_changes_nothing(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    server: Server = request.getfixturevalue(kind)
    fill(server)
    with server.client() as client:
        client.sadd("tag:a", "s:1", "s:2")
        client.set("shop:version", 7)
        client.set("timed", "x", ex=1000)
    before, expiry = everything(server), server.command("EXPIRETIME", "timed")
    (tmp_path / "keys").write_text("s:1\ns:2\n")
    for args in [*DRY, ("--keys-from", str(tmp_path / "keys"))]:
        done = invalidate(server, *args)
        assert done.code == 0, done.err
        assert "--json" in args or "dry run: nothing was changed" in done.err
    assert everything(server) == before
    assert server.command("EXPIRETIME", "timed") == expiry
    assert not (Path(os.environ["XDG_STATE_HOME"]) / "cachetui" / "journal.jsonl").exists()
    with server.client() as client:
        written = {
            name
            for name in client.info("commandstats")
            if name.split("_")[1] in ("unlink", "pexpireat", "persist", "incr")
        }
    assert not written


def test_keys_by_name(redis_like: Server) -> None:
    fill(redis_like, 10)
    done = invalidate(redis_like, "--key", "s:1", "--key", "gone", "--key", "s:2", "--yes")
    assert done.code == 0, done.err
    assert "Delete 3 keys by name: 2 done, 1 gone already" in done.lines[0]
    assert names(redis_like) == {b"s:%d" % at for at in range(10) if at not in (1, 2)}
    assert invalidate(redis_like, "--key", "s:3", "s:4", "s:5", "--yes").code == 0
    assert names(redis_like) == {b"s:%d" % at for at in (0, 6, 7, 8, 9)}


def test_keys_from_a_file_as_keys_prints_them(redis_like: Server, tmp_path: Path) -> None:
    fill(redis_like, 50)
    with redis_like.client() as client:
        for name in ODD:
            client.set(name, "x")
    listed = run("keys", redis_like.url)
    named = "\n".join(line for line in listed.lines if line and not line.startswith("s:"))
    # A name that looks like JSON and the empty one are said in JSON.
    named = named.replace('{"key":"x"}', json.dumps({"key": '{"key":"x"}'})) + '\n{"key":""}\n\r\n'
    (tmp_path / "names").write_text(named)
    done = invalidate(redis_like, "--keys-from", str(tmp_path / "names"), "--yes", "--json")
    assert done.code == 0, done.err
    assert (outcome(done)["done"], outcome(done)["missing"]) == (len(ODD), 0)
    assert names(redis_like) == {b"s:%d" % at for at in range(50)}


def test_keys_from_stdin_and_json_and_raw(redis7: Server, tmp_path: Path) -> None:
    fill(redis7, 5)
    with redis7.client() as client:
        client.mset({b"\xff": 1, b"back\\nslash": 1})
    lines = b'{"key":"s:0","type":"string"}\n' + json.dumps({"keyBase64": base64.b64encode(b"\xff").decode()}).encode()
    piped = subprocess.run(
        command("invalidate", redis7.url, "--keys-from", "-", "--yes"),
        input=lines,
        env=environment(),
        capture_output=True,
        check=True,
        timeout=40,
    )
    assert b"2 done" in piped.stdout
    (tmp_path / "raw").write_bytes(b"back\\nslash\ns:1\n")
    assert invalidate(redis7, "--keys-from", str(tmp_path / "raw"), "--raw", "--yes").code == 0
    assert names(redis7) == {b"s:2", b"s:3", b"s:4"}
    (tmp_path / "bad").write_bytes(b's:2\n{"key":5}\n')
    bad = invalidate(redis7, "--keys-from", str(tmp_path / "bad"), "--yes")
    assert bad.code == 2 and "line 2" in bad.line()
    missing = invalidate(redis7, "--keys-from", str(tmp_path / "none"), "--yes")
    assert missing.code == 2 and "No such file" in missing.line()
    assert names(redis7) == {b"s:2", b"s:3", b"s:4"}


def test_a_pattern_and_its_conditions(redis_like: Server) -> None:
    fill(redis_like, 300)
    fill(redis_like, 100, "s:timed:%d", ex=1000)
    with redis_like.client() as client:
        client.hset("s:hash", mapping={"f": "v"})
        client.set("other", "x")
    assert invalidate(redis_like, "--pattern", "s:*", "--with-ttl", "--yes").code == 0
    assert len(names(redis_like)) == 302
    assert invalidate(redis_like, "--pattern", "s:*", "--type", "hash", "--yes").code == 0
    assert b"s:hash" not in names(redis_like)
    done = invalidate(redis_like, "--pattern", "s:*", "--regex", "[13579]$", "--yes", "--no-undo")
    assert done.lines[0].startswith("Delete 150 keys by the pattern s:*, with") and "150 done" in done.lines[0]
    assert "no undo" in done.out
    assert names(redis_like) == {b"s:%d" % at for at in range(0, 300, 2)} | {b"other"}
    nobody = invalidate(redis_like, "--pattern", "s:*", "--idle", "3600", "--json", "--yes")
    assert nobody.code == 0 and (nobody.json()["outcome"] is None or outcome(nobody)["done"] == 0)
    assert len(names(redis_like)) == 151


def test_the_whole_database_needs_its_name(redis7: Server) -> None:
    fill(redis7, 30)
    for pattern in ("*", "s:*", "?*", "**"):
        refused = invalidate(redis7, "--pattern", pattern, "--yes")
        assert (
            refused.code == 5
            and "nothing was sent" in refused.line()
            and f"--confirm {redis7.address}/0" in refused.line()
        )
        assert invalidate(redis7, "--pattern", pattern, "--yes", "--confirm", "yes").code == 5
    assert len(names(redis7)) == 30
    assert invalidate(redis7, "--pattern", "*", "--yes", "--confirm", f"{redis7.address}/0").code == 0
    assert names(redis7) == set()
    empty = invalidate(redis7, "--pattern", "*", "--yes")
    assert empty.code == 0 and empty.lines == ["nothing to do: no key fits"]


def test_a_tag_and_its_set(redis_like: Server, tmp_path: Path) -> None:
    fill(redis_like, 20)
    with redis_like.client() as client:
        client.sadd("tag:a", *(f"s:{at}" for at in range(5)), "stale")
        client.sadd("t/a!", "s:7")
    dry = invalidate(redis_like, "--tag", "a")
    assert "6 keys" in dry.out and "stale members, named by the tag but not there: 1 of 6 looked at" in dry.out
    done = invalidate(redis_like, "--tag", "a", "--yes", "--json")
    assert (outcome(done)["done"], outcome(done)["missing"]) == (6, 1)
    assert names(redis_like) == {b"s:%d" % at for at in range(5, 20)} | {b"t/a!"}
    (tmp_path / "config.toml").write_text(f"[profiles.own]\nurl = '{redis_like.url}'\ntag_template = 't/{{tag}}!'\n")
    done = run("invalidate", "own", "--tag", "a", "--yes", "--config", str(tmp_path / "config.toml"))
    assert done.code == 0, done.err
    assert names(redis_like) == {b"s:%d" % at for at in range(5, 20) if at != 7}
    missing = invalidate(redis_like, "--tag", "none", "--yes")
    assert missing.code == 0 and "there is no set tag:none" in missing.out
    with redis_like.client() as client:
        client.set("tag:wrong", "x")
    wrong = invalidate(redis_like, "--tag", "wrong", "--yes")
    assert wrong.code == 2 and "not a set" in wrong.line()


def test_a_version(redis_like: Server) -> None:
    fill(redis_like, 12, "shop:v7:%d", ex=1000)
    fill(redis_like, 5, "shop:v8:%d")
    with redis_like.client() as client:
        client.set("shop:version", 7)
        client.set("word", "seven")
    dry = invalidate(redis_like, "--version-key", "shop:version")
    assert dry.code == 0 and "from 7 to 8" in dry.lines[0]
    assert "12 keys" in dry.out and "will expire by themselves: all 12" in dry.out
    own = invalidate(redis_like, "--version-key", "shop:version", "--version-pattern", "shop:v{version}:1*", "--json")
    assert own.json()["plan"]["keys"]["count"] == 3
    done = invalidate(redis_like, "--version-key", "shop:version", "--yes")
    assert done.code == 0 and "read back" in done.out
    assert redis_like.command("GET", "shop:version") == b"8"
    assert "stay for ever" in invalidate(redis_like, "--version-key", "shop:version").out
    assert invalidate(redis_like, "--version-key", "word", "--yes").code == 2
    assert redis_like.command("GET", "word") == b"seven"
    assert invalidate(redis_like, "--version-key", "new", "--yes").code == 0
    assert redis_like.command("GET", "new") == b"1"


def test_expiry_and_jitter_and_persist(redis_like: Server) -> None:
    fill(redis_like, 400)
    fill(redis_like, 5, "other:%d")
    began_ms = time.time() * 1000
    done = invalidate(redis_like, "--pattern", "s:*", "--expire", "600", "--jitter", "300", "--yes")
    assert done.code == 0, done.err
    spent_ms = time.time() * 1000 - began_ms
    with redis_like.client() as client:
        left = [client.pttl(f"s:{at}") for at in range(400)]
        assert min(left) > 600_000 - spent_ms - 1000 and max(left) <= 900_000
        assert max(left) - min(left) > 200_000  # spread, not together
        assert client.pttl("other:1") == -1
    assert invalidate(redis_like, "--pattern", "s:*", "--persist", "--yes").code == 0
    with redis_like.client() as client:
        assert {client.pttl(f"s:{at}") for at in range(400)} == {-1}
    soon = invalidate(redis_like, "--pattern", "s:*", "--expire", "0", "--yes")
    assert soon.code == 2 and "leave out --expire" in soon.line()


UNDONE = [
    ("--key", "s:1", "h"),
    ("--pattern", "s:*"),
    ("--tag", "a"),
    ("--pattern", "s:*", "--expire", "600", "--jitter", "60"),
    ("--regex", "^s:timed:1", "--persist"),
    ("--version-key", "shop:version"),
]


@pytest.mark.parametrize("kind", ["redis7", "valkey9"])
def test_each_is_done_and_undone(kind: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(kind)
    fill(server, 500)
    fill(server, 100, "s:timed:%d", px=10_000_000)
    with server.client() as client:
        client.hset("h", mapping={"f": "v", "g": b"\xff"})
        client.sadd("tag:a", "s:1", "s:timed:7", "h", "stale")
        client.set("shop:version", 7, ex=10_000)
    before = everything(server)
    expiries = [server.command("PEXPIRETIME", f"s:timed:{at}") for at in range(100)]
    for args in UNDONE:
        done = invalidate(server, *args, "--yes", "--json")
        assert done.code == 0, done.err
        assert done.json()["plan"]["canUndo"] is True
        assert everything(server) != before, args
        undone = run("undo", server.url, done.json()["plan"]["receipt"], "--yes")
        assert undone.code == 0, undone.out + undone.err
        assert everything(server) == before, args
        assert [server.command("PEXPIRETIME", f"s:timed:{at}") for at in range(100)] == expiries, args


def test_memcached(memcached: Server) -> None:
    from pymemcache.client.base import Client

    url = f"memcached://{memcached.address}"
    client = Client(("127.0.0.1", memcached.port), default_noreply=False)
    for at in range(300):
        client.set(f"s:{at}", b"x")
    client.set("other", b"x")
    try:
        dry = run("invalidate", url, "--pattern", "s:1*")
        assert dry.code == 0 and "111 keys" in dry.lines[0]
        assert len(client.get_many([f"s:{at}" for at in range(300)])) == 300
        assert run("invalidate", url, "--pattern", "s:1*", "--yes").code == 0
        assert not [at for at in client.get_many([f"s:{at}" for at in range(300)]) if at.startswith("s:1")]
        assert run("invalidate", url, "--key", "s:2", "--expire", "1000", "--yes").code == 0
        shown = client.raw_command("mg s:2 t", "\r\n")
        assert 900 < int(shown.split(b"t")[1]) <= 1001
        assert run("invalidate", url, "--key", "s:2", "--persist", "--yes").code == 0
        assert client.raw_command("mg s:2 t", "\r\n") == b"HD t-1"
        assert run("invalidate", url, "--tag", "a").code == 5
        assert run("invalidate", url, "--version-key", "a").code == 5
        assert run("invalidate", url, "--key", "a\r\nflush_all", "--yes").code == 2
        refused = run("invalidate", url, "--flush", "--yes")
        assert refused.code == 5 and f"--confirm {memcached.address}" in refused.line()
        assert client.get("other") == b"x"
        done = run("invalidate", url, "--flush", "--yes", "--confirm", memcached.address)
        assert done.code == 0 and "no undo" in done.out
        assert client.get("other") is None
    finally:
        client.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_at_a_batch_with_exact_counts(redis7: Server, number: signal.Signals) -> None:
    fill(redis7, 6000)
    args = ("invalidate", redis7.url, "--pattern", "s:*", "--yes", "--rate", "400", "--json")
    with Running(*args, "--confirm", f"{redis7.address}/0") as running:
        while redis7.command("DBSIZE") == 6000:
            assert running.process.poll() is None
        running.process.send_signal(number)
        out, err = running.process.communicate(timeout=40)
        assert running.process.returncode == 4
    document = json.loads(out)
    counted = document["outcome"]
    left = len(names(redis7))
    assert document["status"] == "stopped" and counted["state"] == "stopped"
    assert 0 < counted["done"] == 6000 - left == counted["kept"]
    assert counted["left"] > 0 and counted["failed"] == counted["unknown"] == 0
    assert b"stopping" in err
    receipt = document["plan"]["receipt"]
    resumed = invalidate(redis7, "--resume", receipt, "--yes", "--confirm", f"{redis7.address}/0", "--json")
    assert resumed.code == 0, resumed.err
    assert outcome(resumed)["done"] == left
    assert names(redis7) == set()


def test_what_was_stopped_goes_on_only_where_it_was_begun(redis7: Server, redis6: Server) -> None:
    fill(redis7, 5)
    listed = invalidate(redis7, "--key", "s:1", "--yes", "--json").json()["plan"]["receipt"]
    ruled = invalidate(redis7, "--pattern", "s:2", "--yes", "--json").json()["plan"]["receipt"]
    assert invalidate(redis7, "--resume", listed).code == 5
    elsewhere = invalidate(redis6, "--resume", ruled)
    assert elsewhere.code == 5 and "not on" in elsewhere.line()
    assert invalidate(redis7, "--resume", "../../x").code == 2


def test_read_only_refuses_and_the_dry_run_still_shows(redis7: Server) -> None:
    fill(redis7, 5)
    assert invalidate(redis7, "--pattern", "s:1", "--read-only").code == 0
    refused = invalidate(redis7, "--pattern", "s:1", "--read-only", "--yes")
    assert refused.code == 5 and "read-only" in refused.line()
    error = invalidate(redis7, "--pattern", "s:1", "--read-only", "--yes", "--json")
    assert error.json()["error"]["code"] == "refused"
    assert len(names(redis7)) == 5


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--key", "a", "--tag", "b"),
        ("--pattern", "a", "--version-key", "b"),
        ("--tag", "b", "--type", "hash"),
        ("--tag", "b", "--without-ttl"),
        ("--version-key", "b", "--expire", "5"),
        ("--pattern", "a", "--jitter", "5"),
        ("--pattern", "a", "--raw"),
        ("--pattern", "a", "--expire", "5", "--persist"),
        ("--pattern", "a", "--with-ttl", "--without-ttl"),
        ("--regex", "("),
        ("--pattern", "a", "another-target"),
        ("--pattern", "a", "--rate", "0"),
        ("--resume", "x", "--expire", "5"),
    ],
)
def test_what_does_not_fit_together_is_refused(redis7: Server, args: tuple[str, ...]) -> None:
    done = invalidate(redis7, *args, "--yes")
    assert done.code == 2 and done.line() and done.raw == b""


def test_a_plan_as_a_document(redis7: Server) -> None:
    fill(redis7, 3)
    redis7.command("SET", b"s:\xff", "x")
    redis7.command("SET", "t", "x")
    document = invalidate(redis7, "--pattern", "s:*", "--json").json()
    assert document["status"] == "dry-run" and document["target"] == f"{redis7.url}/0"
    plan = document["plan"]
    assert (plan["keys"]["count"], plan["keys"]["error"], plan["keys"]["inDatabase"]) == (4, 0, 5)
    assert {"keyBase64": base64.b64encode(b"s:\xff").decode()} in plan["keys"]["sample"]
    assert plan["canUndo"] is True and plan["confirm"] is None and plan["undo"].startswith("cachetui undo ")
    assert plan["keys"]["types"] == {"string": 4} and plan["keys"]["withoutTtl"] == 4


def test_a_cluster(new_server: Callable[..., Server]) -> None:
    servers = [new_server("redis7", "--cluster-enabled", "yes") for _ in range(3)]
    launch.join_cluster(servers)
    from redis.cluster import RedisCluster

    url = f"redis+cluster://{servers[0].address}"
    with RedisCluster(host="127.0.0.1", port=servers[0].port) as client:
        for at in range(600):
            client.set(f"s:{at}", "x")
        client.sadd("tag:a", *(f"s:{at}" for at in range(590, 610)))
        assert run("invalidate", url, "--tag", "a", "--yes").code == 0
        assert client.dbsize(target_nodes=RedisCluster.PRIMARIES) == 590
        done = run("invalidate", url, "--pattern", "s:1*", "--yes", "--json")
        assert done.code == 0 and outcome(done)["done"] == 111
        assert client.dbsize(target_nodes=RedisCluster.PRIMARIES) == 590 - 111
        assert run("invalidate", url, "--pattern", "s:2*", "--expire", "500", "--yes").code == 0
        assert 400 < client.ttl("s:2") <= 500 and client.ttl("s:3") == -1


def test_without_unlink_del_is_offered(redis7: Server) -> None:
    fill(redis7, 20)
    redis7.command("ACL", "SETUSER", "some", "on", ">pw", "~*", "+@all", "-unlink")
    try:
        args = ("invalidate", f"redis://some@{redis7.address}", "--pattern", "s:1*", "--yes")
        done = run(*args, env={"REDISCLI_AUTH": "pw"})
        assert done.code != 0 and len(names(redis7)) == 20
        done = run(*args, "--no-undo", env={"REDISCLI_AUTH": "pw"})
        assert done.code == 5 and "--del" in done.err
        for more in (("--del",), ("--del", "--no-undo", "--regex", "1")):
            redis7.command("SET", "s:1", "x")
            assert run(*args, *more, env={"REDISCLI_AUTH": "pw"}).code == 0
            assert b"s:1" not in names(redis7)
    finally:
        redis7.command("ACL", "DELUSER", "some")


def test_where_scripts_are_denied_a_way_without_copies_is_named(redis7: Server) -> None:
    fill(redis7, 20)
    redis7.command("ACL", "SETUSER", "some", "on", ">pw", "~*", "+@all", "-evalsha", "-eval")
    try:
        args = ("invalidate", f"redis://some@{redis7.address}", "--pattern", "s:1*", "--yes")
        done = run(*args, env={"REDISCLI_AUTH": "pw"})
        assert done.code == 5 and "--no-undo" in done.err and len(names(redis7)) == 20
        assert run(*args, "--no-undo", env={"REDISCLI_AUTH": "pw"}).code == 0
        assert len(names(redis7)) == 9
    finally:
        redis7.command("ACL", "DELUSER", "some")


def test_where_command_info_is_denied_it_is_planned_and_read_only_holds(redis7: Server) -> None:
    fill(redis7, 20)
    redis7.command("ACL", "SETUSER", "some", "on", ">pw", "~*", "+@all", "-command")
    try:
        args = ("invalidate", f"redis://some@{redis7.address}", "--pattern", "s:1*")
        assert run(*args, env={"REDISCLI_AUTH": "pw"}).code == 0
        assert run(*args, "--yes", "--read-only", env={"REDISCLI_AUTH": "pw"}).code == 5
        assert len(names(redis7)) == 20
    finally:
        redis7.command("ACL", "DELUSER", "some")


def test_a_replica_takes_no_writes(new_server: Callable[..., Server], redis7: Server) -> None:
    fill(redis7, 5)
    replica = new_server("redis7", "--replicaof", "127.0.0.1", str(redis7.port))
    done = run("invalidate", replica.url, "--pattern", "s:*")
    assert done.code == 5 and "replica" in done.line()


def test_a_server_that_stalls_is_told_and_nothing_sent(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    fill(server, 10)
    server.pause()
    try:
        done = invalidate(server, "--pattern", "s:*", "--yes", "--confirm", f"{server.address}/0")
        assert done.code == 3 and done.line()
    finally:
        server.resume()
    assert len(names(server)) == 10


def test_a_list_narrowed_by_conditions(redis_like: Server, tmp_path: Path) -> None:
    fill(redis_like, 40)
    fill(redis_like, 10, "h:%d", ex=500)
    (tmp_path / "keys").write_text("".join(f"{name}\n" for at in range(10) for name in (f"s:{at}", f"h:{at}")))
    done = invalidate(redis_like, "--keys-from", str(tmp_path / "keys"), "--with-ttl", "--yes", "--json")
    assert done.code == 0, done.err
    assert (done.json()["plan"]["keys"]["count"], outcome(done)["done"]) == (10, 10)
    assert names(redis_like) == {b"s:%d" % at for at in range(40)}


def test_memcached_names_that_only_a_scan_finds(memcached: Server) -> None:
    from pymemcache.client.base import Client

    client = Client(("127.0.0.1", memcached.port), default_noreply=False)
    try:
        odd = base64.b64encode(b"s:\x00 odd\n").decode()
        client.raw_command(f"ms {odd} 1 b\r\nx", "\r\n")
        client.set("s:plain", b"x")
        client.set("t:plain", b"x")
        url = f"memcached://{memcached.address}"
        dry = run("invalidate", url, "--pattern", "s:*")
        assert dry.code == 0 and "Delete 2 keys" in dry.lines[0]
        done = run("invalidate", url, "--pattern", "s:*", "--yes")
        assert done.code == 0 and "2 done" in done.lines[0], done.out
        assert client.raw_command(f"mg {odd} b s", "\r\n") == b"EN"
        assert client.get("t:plain") == b"x"
    finally:
        client.close()


def test_what_the_server_denies_is_counted(redis7: Server) -> None:
    fill(redis7, 20)
    fill(redis7, 20, "t:%d")
    redis7.command("ACL", "SETUSER", "some", "on", ">pw", "%R~*", "%W~t:*", "+@all")
    try:
        url = f"redis://some@{redis7.address}"
        done = run("invalidate", url, "--key", "s:1", "t:1", "--yes", "--no-undo", env={"REDISCLI_AUTH": "pw"})
        assert done.code == 4 and "1 done" in done.out and "1 failed" in done.out and "pw" not in done.out + done.err
        denied = run("invalidate", url, "--pattern", "s:*", "--yes", "--no-undo", env={"REDISCLI_AUTH": "pw"})
        assert denied.code == 5 and "not permitted" in denied.out
        assert len(names(redis7)) == 39
    finally:
        redis7.command("ACL", "DELUSER", "some")
