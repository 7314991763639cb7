"""`cachetui keys`: the same names as redis-cli's, whatever they hold, and all the ways to end early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cachetui.cli import rows
from cachetui.cli.rows import Form, Once, form_of
from tests.servers import launch
from tests.servers.launch import Server
from tests.servers.program import Running, command, environment, run

MANY = 100_000


def fill(server: Server, number: int = MANY) -> None:
    with server.client() as client:
        for start in range(0, number, 5_000):
            client.mset({b"key:%d" % at: "x" for at in range(start, start + 5_000)})


def test_the_same_set_as_redis_cli(redis_like: Server, tmp_path: Path) -> None:
    fill(redis_like)
    with redis_like.client() as client:
        # No NUL: redis-cli ends a name there.
        client.mset({b"\xff\x1b\xfe%d" % at: "x" for at in range(1000)} | {b"": 1, "ü日本": 1, b'q"\\u0041': 1})
    sets = []
    for argv in (
        [launch.redis_cli(), "-p", str(redis_like.port), "--scan"],
        command("keys", redis_like.url, "--raw"),
    ):
        with (tmp_path / "names").open("wb") as out:
            subprocess.run(argv, stdout=out, env=environment(), check=True, timeout=60)
        sets.append(sorted((tmp_path / "names").read_bytes().split(b"\n")))
    theirs, ours = sets
    assert len(ours) == MANY + 1003 + 1  # and what is behind the last newline
    assert set(ours) == set(theirs)  # SCAN may repeat a name, and redis-cli does as well


def test_facts_beside_each_of_many_names(redis_like: Server) -> None:
    fill(redis_like, 30_000)
    with redis_like.client() as client:
        client.set("soon", "x", ex=500)
        client.hset('a "hash"\n', mapping={"f": "v"})
    done = run("keys", redis_like.url, "--with", "type,ttl,size")
    cells = {line.split("\t")[0]: line.split("\t")[1:] for line in done.lines}
    assert len(cells) == len(done.lines) == 30_002
    assert cells["key:7"][:2] == ["string", "none"] and int(cells["key:7"][2]) > 0
    assert cells['a "hash"\\n'][0] == "hash" and 400 < float(cells["soon"][1]) <= 500
    objects = [json.loads(line) for line in run("keys", redis_like.url, "--with", "ttl,type", "--json").lines]
    assert len(objects) == 30_002
    assert {"key": "key:7", "ttlSeconds": None, "hasTtl": False, "type": "string"} in objects
    (soon,) = (one for one in objects if one.get("key") == "soon")
    assert soon["hasTtl"] is True and 400 < soon["ttlSeconds"] <= 500
    assert run("keys", redis_like.url, "--sort", "ttl", "--limit", "1").lines == ["soon"]
    assert run("keys", redis_like.url, "--sort", "size", "--limit", "1", "--type", "hash").lines == ['a "hash"\\n']


def test_facts_that_are_denied_are_unknown(redis7: Server) -> None:
    fill(redis7, 5_000)
    redis7.command("ACL", "SETUSER", "some", "on", ">pw", "~*", "+@all", "-memory", "-type")
    try:
        done = run("keys", f"redis://some@{redis7.address}", "--with", "type,ttl,size", env={"REDISCLI_AUTH": "pw"})
        assert done.code == 0 and len(done.lines) == 5_000
        assert {line.split("\t", 1)[1] for line in done.lines} == {"-\tnone\t-"}
        assert "MEMORY" in done.err and "pw" not in done.err
    finally:
        redis7.command("ACL", "DELUSER", "some")


def test_a_limit_ends_it_early(redis7: Server) -> None:
    fill(redis7, 300_000)
    assert len(run("keys", redis7.url, "--limit", "1234").lines) == 1234
    assert len(run("keys", redis7.url, "--limit", "1234", "--with", "type").lines) == 1234
    before = redis7.command("INFO", "commandstats")["cmdstat_scan"]["calls"]  # type: ignore[index]
    assert len(run("keys", redis7.url, "--limit", "1").lines) == 1
    assert redis7.command("INFO", "commandstats")["cmdstat_scan"]["calls"] - before < 100  # type: ignore[index]


def test_nobody_reads_and_ctrl_c_ends_it(redis7: Server) -> None:
    fill(redis7)
    with Running("keys", redis7.url) as running:
        running.first_line()  # and then the pipe is full
        assert running.end(signal.SIGINT) == 130


@pytest.mark.parametrize("options", [(), ("--raw",), ("--json",), ("--with", "ttl"), ("--sort", "name")])
def test_a_reader_who_leaves_early_is_no_failure(redis7: Server, options: tuple[str, ...]) -> None:
    fill(redis7)
    with Running("keys", redis7.url, *options) as running:
        assert running.process.stdout is not None and running.process.stderr is not None
        running.first_line()
        running.process.stdout.close()
        assert (running.process.stderr.read(), running.process.wait(30)) == (b"", 0)
        running.process.stdout = None


def test_a_shard_that_is_gone_is_exit_code_4(new_server: Callable[..., Server]) -> None:
    servers = [
        new_server("redis7", "--cluster-enabled", "yes", "--cluster-require-full-coverage", "no") for _ in range(2)
    ]
    for server, (first, last) in zip(servers, ((0, 8191), (8192, 16383)), strict=True):
        server.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
    servers[0].command("CLUSTER", "MEET", "127.0.0.1", str(servers[1].port))
    for server in servers:
        while not cluster_is_up(server):
            pass
    servers[0].command("SET", "b", "x")  # slot 3300
    servers[1].command("SET", "a", "x")  # slot 15495
    assert sorted(run("keys", servers[0].url).lines) == ["a", "b"]
    servers[1].kill()
    done = run("keys", servers[0].url)
    assert (done.lines, done.code) == (["b"], 4)
    assert "1 of 2 shards" in done.line()


def cluster_is_up(server: Server) -> bool:
    with server.client() as client:
        found = client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True)
    return b"cluster_state:ok\r\ncluster_slots_assigned:16384" in found


def test_names_that_came_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    once = Once()
    assert once.fresh([b"a", b"b"]) is None
    assert once.fresh([b"b", b"c", b"c"]) == [1]
    monkeypatch.setattr(rows, "REMEMBERED", 2)
    assert once.fresh([b"d"]) is None  # a, b, c are the older ones now
    assert once.fresh([b"a", b"d", b"e"]) == [2]


def test_the_quick_way_writes_what_the_careful_one_does() -> None:
    plain, odd = [b"a", b"b c", b""], [b"a", b"\xff", b'"', b"\\n", b"new\nline", b""]
    for keys in (plain, odd, [b""]):
        columns = (keys, ["string"] * len(keys), [-1] * len(keys), [None] * len(keys))
        for wanted in ((), ("size", "type")):
            one_by_one = [tuple([column[at]] for column in columns) for at in range(len(keys))]
            for form in Form:
                lines = form_of(form, wanted)
                assert lines(columns) == b"".join(lines(one) for one in one_by_one)  # type: ignore[arg-type]
    assert form_of(Form.JSON, ())((odd[1:3], (), (), ())) == b'{"keyBase64":"/w=="}\n{"key":"\\""}\n'


def test_a_pipe_that_cannot_wait_is_waited_for(redis7: Server) -> None:
    fill(redis7)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = subprocess.Popen(command("keys", redis7.url, "--raw"), stdout=writing, env=environment())
    os.close(writing)
    with os.fdopen(reading, "rb") as out:
        assert len(out.read().splitlines()) == MANY
    assert process.wait(30) == 0
