"""`cachetui prefixes`: what it says of a real server is so, from a sample and from all keys."""

from __future__ import annotations

import contextlib
import json

from pymemcache.client.base import Client

from tests.servers.launch import Server
from tests.servers.program import run


def fill(server: Server) -> None:
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for at in range(4000):
            pipe.set(f"page:product:{at}", json.dumps({"id": at, "name": "n" * 40, "price": 3}), ex=3000 + at)
            pipe.set(f"session:{at:032x}", "s" * 400, ex=86400)
        for at in range(2000):
            pipe.hset(f"user:{at}", mapping={"name": "x", "mail": "y"})
        pipe.set("blob", b"\x00" * 300_000)
        pipe.execute()


def rows(document: dict[str, object]) -> dict[str, dict[str, object]]:
    found = document["prefixes"]
    assert isinstance(found, list)
    return {row["prefix"]: row for row in found}


def test_a_sample_and_all_keys_agree(redis_like: Server) -> None:
    fill(redis_like)
    sampled, exact = (run("prefixes", redis_like.url, "--json", *more).json() for more in ((), ("--exact",)))
    assert (sampled["keys"], sampled["exact"], sampled["status"]) == (10_001, False, "success")
    assert (exact["keys"], exact["exact"], exact["looked"]) == (10_001, True, 10_001)
    told, true = rows(sampled), rows(exact)
    assert {name: row["keys"] for name, row in true.items()} == {
        "page:product:*": 4000,
        "session:*": 4000,
        "user:*": 2000,
        "*": 1,
    }
    for name in ("page:product:*", "session:*", "user:*"):
        # All names were walked: what is left is the error of a sample, half of it again to be sure.
        assert abs(told[name]["keys"] - true[name]["keys"]) <= 2 * told[name]["keysError"] + 1
        share = told[name]["share"]
        spread = share["high"] - share["low"] + 0.001  # sizes are nearly alike
        assert share["low"] - spread <= true[name]["share"]["value"] <= share["high"] + spread
    assert told["user:*"]["withoutTtl"]["value"] == 1 and told["session:*"]["withoutTtl"]["value"] == 0
    assert [big["key"] for big in exact["bigKeys"]] == ["blob"] and exact["bigKeys"][0]["bytes"] > 300_000
    assert ("flat-json", "page:product:*") in {(hint["kind"], hint["prefix"]) for hint in sampled["hints"]}
    (cliff,) = exact["expiries"]["cliffs"]
    assert cliff["prefix"] == "session:*" and 80_000 < cliff["beginsSeconds"] <= 86_400
    assert sum(exact["expiries"]["keys"]) > 7_900


def test_what_a_person_reads(valkey9: Server) -> None:
    fill(valkey9)
    with valkey9.client() as client:
        before = client.object("idletime", "user:1")
    done = run("prefixes", valkey9.url, "--depth", "1", "--exact")
    assert done.code == 0 and done.lines[0].startswith("10,001 keys, ")
    assert any(line.startswith("page:*") and "4.0k" in line for line in done.lines)
    assert any(line.startswith("big keys") for line in done.lines) and any("a cliff" in line for line in done.lines)
    with valkey9.client() as client:
        assert client.object("idletime", "user:1") >= before  # looking is no use


def test_an_empty_server_and_one_that_refuses(redis7: Server) -> None:
    assert run("prefixes", redis7.url).lines[0].startswith("0 keys, -")
    with redis7.client() as client:
        client.set("a:1", "x")
        client.execute_command("ACL SETUSER prefixless on >p ~* +@all -memory -object")
        try:
            shown = run("prefixes", f"redis://prefixless:p@{redis7.address}", "--json").json()
            (row,) = shown["prefixes"]
            assert (row["prefix"], row["keys"], row["bytes"], shown["bytes"]) == ("a:*", 1, None, None)
            client.execute_command("ACL SETUSER prefixless -scan")
            refused = run("prefixes", f"redis://prefixless:p@{redis7.address}")
            assert refused.code == 5 and "SCAN" in refused.line()
        finally:
            client.execute_command("ACL DELUSER prefixless")


def test_memcached_tells_all(memcached: Server) -> None:
    with contextlib.closing(Client(("127.0.0.1", memcached.port))) as client:
        for at in range(300):
            client.set(f"page:{at}", b"x" * 200, expire=1000)
            client.set(f"user:{at}", b"y" * 50)
    shown = run("prefixes", f"memcached://{memcached.address}", "--json").json()
    found = rows(shown)
    assert shown["exact"] and (found["page:*"]["keys"], found["user:*"]["keys"]) == (300, 300)
    assert found["page:*"]["bytes"] > found["user:*"]["bytes"] > 300 * 50
    assert found["page:*"]["withoutTtl"]["value"] == 0 and found["user:*"]["withoutTtl"]["value"] == 1
