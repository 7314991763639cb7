"""`cachetui undo` and `cachetui log`: a dry run first, then the way back, and what was done in any case."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.servers.launch import Server
from tests.servers.program import command, environment, run


def fill(server: Server, number: int = 200) -> None:
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for at in range(number):
            pipe.set(f"user:{at}", f"value {at}")
        pipe.set("other", "stays")
        pipe.execute()


def test_a_dry_run_changes_nothing_and_yes_brings_it_back(redis_like: Server) -> None:
    fill(redis_like)
    assert run("undo", redis_like.url).code == 2, "nothing was done yet"
    done = run("invalidate", redis_like.url, "--pattern", "user:*", "--yes")
    assert done.code == 0 and "200 done" in done.out, done.err
    (row,) = run("undo", "--list").lines
    receipt = row.split()[0]
    assert receipt in done.out and "200 keys" in row and "done" in row
    dry = run("undo", receipt)
    assert dry.code == 0 and "bring back 200 keys" in dry.out and "dry run" in dry.err
    assert redis_like.command("DBSIZE") == 1
    back = run("undo", redis_like.url, "--yes", "--json")
    assert back.code == 0, back.err
    document = back.json()
    assert (document["operation"], document["status"]) == ("undo", "success")
    assert (document["outcome"]["done"], document["plan"]["undoes"]) == (200, receipt)
    assert redis_like.command("GET", "user:7") == b"value 7"
    again = run("undo", receipt)
    assert again.code == 2 and "was undone already" in again.err
    assert "nothing can be undone" in run("undo", "--list").err


def test_settings_are_set_back_unless_somebody_set_them_since(new_server) -> None:  # type: ignore[no-untyped-def]
    server = new_server("redis7")
    assert run("policy", server.url, "allkeys-lru", "--yes").code == 0
    assert run("undo", server.url, "--yes").code == 0
    with server.client() as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert run("policy", server.url, "allkeys-lru", "--yes").code == 0
        client.config_set("maxmemory-policy", "allkeys-random")
        refused = run("undo", server.url, "--yes")
        assert refused.code == 5 and "somebody has set it since" in refused.err
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-random"}


def test_a_killed_deletion_is_shown_as_interrupted_and_can_be_undone_and_resumed(redis_like: Server) -> None:
    fill(redis_like, 3000)
    argv = command("invalidate", redis_like.url, "--pattern", "user:*", "--rate", "2000", "--yes")
    with subprocess.Popen(argv, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        with redis_like.client() as client:
            while client.dbsize() > 2500:
                assert process.poll() is None, "it ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
    left = int(str(redis_like.command("DBSIZE"))) - 1
    assert 0 < left < 3000
    (row,) = run("undo", "--list").lines
    receipt = row.split()[0]
    assert "interrupted" in row
    assert any("interrupted" in line for line in run("log").lines)
    assert run("log", "--outcome", "done").lines == []
    done = run("invalidate", redis_like.url, "--resume", receipt, "--yes", "--json")
    assert done.code == 0, done.err
    assert done.json()["outcome"]["done"] == left
    assert redis_like.command("DBSIZE") == 1
    for _ in range(2):
        assert run("undo", redis_like.url, "--yes").code == 0
    assert redis_like.command("DBSIZE") == 3001


def test_the_journal_is_filtered(redis7: Server, tmp_path: Path) -> None:
    fill(redis7)
    run("invalidate", redis7.url, "--key", "user:1", "--yes")
    run("invalidate", redis7.url, "--key", "user:2", "--yes")
    everything = run("log", "--json").json()["entries"]
    assert len(everything) == 2
    assert len(run("log", "--json", "--grep", "user:2").json()["entries"]) == 1
    assert len(run("log", "--json", "--outcome", "done", "--since", "1h").json()["entries"]) == 2
    assert run("log", "--json", "--target", "elsewhere").json()["entries"] == []
    assert run("log", "--since", "soon").code == 2


def test_what_was_left_alone_is_named_and_the_journal_says_what_was_undone(redis7: Server) -> None:
    fill(redis7, 3)
    done = run("invalidate", redis7.url, "--pattern", "user:*", "--yes", "--json").json()
    receipt = done["plan"]["receipt"]
    redis7.command("SET", "user:1", "theirs")
    redis7.command("SET", "user:2", "theirs")
    back = run("undo", redis7.url, "--yes", "--json")
    document = back.json()
    assert (back.code, document["status"], document["outcome"]["done"]) == (4, "stopped", 1)
    (alone,) = document["outcome"]["leftAlone"]
    assert sorted(row["key"] for row in alone["keys"]) == ["user:1", "user:2"] and alone["count"] == 2
    undo, deletion = run("log", "--json").json()["entries"]
    assert (undo["undoes"], deletion["undoneBy"], undo["undoneBy"]) == (receipt, undo["receipt"], None)
    assert "user:1" in undo["leftAlone"][0]
    lines = run("log").lines
    assert any("left alone: 2 written since" in line for line in lines)
    assert any(f"undone by: {undo['receipt']}" in line for line in lines)
    assert "was undone already" in run("undo", receipt).err


def test_a_write_without_copies_that_goes_on_is_not_called_interrupted(redis7: Server) -> None:
    fill(redis7, 3000)
    argv = command("invalidate", redis7.url, "--pattern", "user:*", "--rate", "500", "--no-undo", "--yes")
    with subprocess.Popen(argv, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        with redis7.client() as client:
            while client.dbsize() > 2900:
                assert process.poll() is None, "it ended before it could be seen"
        assert [entry["outcome"] for entry in run("log", "--json").json()["entries"]] == ["running"]
        os.kill(process.pid, signal.SIGKILL)
    assert [entry["outcome"] for entry in run("log", "--json").json()["entries"]] == ["interrupted"]
    assert run("log", "--outcome", "running").lines == []
