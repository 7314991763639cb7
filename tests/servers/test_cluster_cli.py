"""`cachetui cluster` as a program: made, shown, balanced, undone; what is wrong is one clear line."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import cachetui.cli
from cachetui.errors import CacheError
from tests.servers.clusters import key_in, started, stopped
from tests.servers.launch import Server
from tests.servers.program import Ended, Running, run


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """A cluster of three Valkey primaries, made by the program itself, and a fourth node."""
    servers = started("valkey9", 4)
    try:
        env = {"XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}
        made = run("cluster", "create", *(server.address for server in servers[:3]), "--yes", env=env)
        assert made.code == 0, made.err
        assert "3 nodes agree: all 16,384 slots are served by 3 primaries" in made.out
        yield servers
    finally:
        stopped(servers)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path)}


def cluster(env: dict[str, str], *words: str) -> Ended:
    return run("cluster", *words, env=env)


def test_a_dry_run_shows_before_and_after_and_changes_nothing(nodes: list[Server], env: dict[str, str]) -> None:
    before = nodes[0].command("CLUSTER", "SLOTS")
    shown = cluster(env, "rebalance", nodes[0].address, "--weight", f"{nodes[0].address}=2")
    assert shown.code == 0 and "dry run" in shown.err
    assert f"  {nodes[0].address}: 5,461 slots -> 8,192, 0 keys" in shown.lines
    assert any("CLUSTER MIGRATESLOTS SLOTSRANGE" in line for line in shown.lines)
    assert nodes[0].command("CLUSTER", "SLOTS") == before


def test_a_move_and_its_way_back(nodes: list[Server], env: dict[str, str]) -> None:
    nodes[0].command("SET", key_in(7), "v")
    move = ("move", nodes[2].address, "--slots", "0-99", "--to", nodes[1].address)
    dry = cluster(env, *move, "--json").json()
    assert (dry["status"], dry["action"], dry["plan"]["count"]) == ("dry-run", "move", 100)
    done = cluster(env, *move, "--yes", "--json")
    outcome = done.json()["outcome"]
    assert (done.code, outcome["state"], outcome["verified"], outcome["done"]) == (0, "done", True, 100)
    assert nodes[1].command("GET", key_in(7)) == b"v"
    (receipt,) = run("undo", "--list", "--json", env=env).json()["receipts"]
    assert receipt["moves"][0]["slots"] == "0-99"
    back = run("undo", receipt["receipt"], "--yes", env=env)
    assert back.code == 0, back.err
    assert nodes[0].command("GET", key_in(7)) == b"v"


def test_nothing_to_do_is_no_failure(nodes: list[Server], env: dict[str, str]) -> None:
    ended = cluster(env, "rebalance", nodes[0].address, "--yes")
    assert ended.code == 0 and "nothing to do" in ended.line()
    assert cluster(env, "fix", nodes[0].address, "--json").json()["plan"] is None


def test_a_node_is_added_and_removed(nodes: list[Server], env: dict[str, str]) -> None:
    added = cluster(env, "add", nodes[0].address, nodes[3].address, "--yes")
    assert added.code == 0, added.err
    assert cluster(env, "remove", nodes[0].address, nodes[3].address, "--yes").code == 0
    assert str(nodes[0].command("CLUSTER", "INFO")).count("known_nodes:3") == 1


def test_check_says_whether_it_is_whole(nodes: list[Server], env: dict[str, str]) -> None:
    ended = cluster(env, "check", nodes[0].address)
    assert "16384 of 16384 slots served" in ended.out and "open:" not in ended.out
    nodes[0].command("CLUSTER", "SETSLOT", "9", "MIGRATING", nodes[1].command("CLUSTER", "MYID"))  # type: ignore[arg-type]
    try:
        wrong = cluster(env, "check", nodes[0].address)
        assert wrong.code == 1 and "1 slot is open: 9" in wrong.out.replace("slot 9", "9"), wrong.out
    finally:
        fixed = cluster(env, "fix", nodes[0].address, "--yes")
        assert fixed.code == 0, fixed.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "what is to be done"),
        (("reshard", "{0}"), 2, "is not known"),
        (("failover", "{0}"), 2, "takes a target and REPLICA"),
        (("failover", "{0}", "{1}"), 5, "is a primary"),
        (("remove", "{0}", "127.0.0.1:1"), 2, "no node is called"),
        (("move", "{0}", "--slots", "99999", "--to", "{1}"), 2, "slots go from 0 to 16383"),
        (("move", "{0}", "--slots", "1"), 2, "move takes --to"),
        (("rebalance", "{0}", "--weight", "x"), 2, "a weight is NODE=NUMBER"),
        (("rebalance", "{0}", "--by", "luck"), 2, "invalid choice"),
        (("create", "{0}", "{1}", "{2}"), 5, "node of a cluster already"),
        (("forget", "{0}", "{1}"), 5, "answers"),
        (("rebalance", "127.0.0.1:1"), 3, "refused the connection"),
    ],
)
def test_what_cannot_be_is_said(nodes: list[Server], words: tuple[str, ...], code: int, says: str) -> None:
    asked = [word.format(*(server.address for server in nodes)) for word in words]
    with pytest.raises(CacheError) as failed:
        cachetui.cli.run(["cluster", *asked, "--yes"])
    assert failed.value.exit_code == code and says in failed.value.line()


def test_read_only_sends_nothing(nodes: list[Server], env: dict[str, str]) -> None:
    before = nodes[0].command("CLUSTER", "SLOTS")
    ended = cluster(env, "move", nodes[0].address, "--slots", "0", "--to", nodes[1].address, "--yes", "--read-only")
    assert ended.code == 5 and "read-only" in ended.line()
    assert nodes[0].command("CLUSTER", "SLOTS") == before


def test_a_signal_stops_a_rebalance_cleanly(nodes: list[Server], env: dict[str, str]) -> None:
    for slot in range(3000):
        nodes[0].command("SET", key_in(slot), "v") if slot % 10 == 0 else None
    words = ("move", nodes[0].address, "--slots", "0-1499", "--to", nodes[1].address, "--classic", "--rate", "100")
    with Running("cluster", *words, "--yes", env=env) as program:
        while not str(nodes[1].command("CLUSTER", "NODES")).count("[") and nodes[1].command("DBSIZE") == 0:
            assert program.process.poll() is None
        assert program.end(signal.SIGINT) == 4
        out, err = program.process.communicate()
    assert b"not sent: cancelled" in out and b"stopping" in err
    assert all(b"->-" not in server.command("CLUSTER", "NODES") for server in nodes[:3])  # type: ignore[operator]
    finished = cluster(env, *words[:-2], "--yes")
    assert finished.code == 0, finished.err
    assert nodes[1].command("GET", key_in(1490)) == b"v"


def test_a_killed_move_is_found_and_finished(nodes: list[Server], env: dict[str, str]) -> None:
    first, last = 10923, 11100
    for slot in range(first, last):
        nodes[2].command("SET", key_in(slot), "v")
    words = ("move", nodes[0].address, "--slots", f"{first}-{last - 1}", "--to", nodes[1].address)
    with Running("cluster", *words, "--classic", "--rate", "100", "--yes", env=env) as program:
        while b"->-" not in nodes[2].command("CLUSTER", "NODES") or not held(nodes[1], first):  # type: ignore[operator]
            assert program.process.poll() is None
        program.process.kill()
        program.process.wait()
    assert b"->-" in nodes[2].command("CLUSTER", "NODES")  # type: ignore[operator]
    assert "interrupted" in run("log", env=env).out
    checked = cluster(env, "check", nodes[0].address)
    assert checked.code == 1 and "open" in checked.out
    finished = cluster(env, *words, "--yes")
    assert finished.code == 0, finished.err
    assert all(b"->-" not in server.command("CLUSTER", "NODES") for server in nodes[:3])  # type: ignore[operator]
    assert all(held(nodes[1], slot) for slot in range(first, last))


def held(node: Server, slot: int) -> bool:
    """Tell whether a node has the key of this slot."""
    return node.command("CLUSTER", "COUNTKEYSINSLOT", str(slot)) == 1
