"""Rules about keys and values, provoked on real servers; orderly keys are passed over in silence."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable

import pytest

from tests.servers.launch import Server
from tests.servers.program import run

KEEPING = {
    *("expiry-cliff-ahead", "pickled-values", "big-keys", "staying-prefixes", "flat-json", "uncompressed-text"),
    "key-names",
}


def found(server: Server, *more: str) -> dict[str, dict[str, object]]:
    document = run("analyze", server.url, "--json", "--keys", "2000", *more).json()
    return {one["id"]: one for one in document["recommendations"]}


def fill(server: Server, number: int, make: Callable[[int], tuple[str, bytes | str, int | None]]) -> None:
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for at in range(number):
            key, value, expires = make(at)
            pipe.set(key, value, ex=expires)
        pipe.execute()


def orderly(at: int) -> tuple[str, bytes | str, int | None]:
    return f"page:{at}", random.Random(at).randbytes(300), 600 + 3 * at


def test_orderly_keys_are_passed_over(redis_like: Server) -> None:
    fill(redis_like, 2000, orderly)
    assert not KEEPING & set(found(redis_like))


def test_nothing_is_said_of_keys_nobody_looked_at(redis7: Server) -> None:
    fill(redis7, 200, lambda at: (f"a b {at}", pickle.dumps({"at": at}), 100))
    document = run("analyze", redis7.url, "--json").json()
    assert not KEEPING & {one["id"] for one in document["recommendations"]}


PROVOKED: dict[str, Callable[[int], tuple[str, bytes | str, int | None]]] = {
    "expiry-cliff-ahead": lambda at: (f"import:{at}", b"x" * 50, 5000),
    "pickled-values": lambda at: (f"object:{at}", pickle.dumps({"number": at, "name": "x" * 40}), 500 + 7 * at),
    "staying-prefixes": lambda at: (f"cart:{at}", random.Random(at).randbytes(300), None),
    "flat-json": lambda at: (f"user:{at}", json.dumps({"id": at, "name": "Ada", "city": "Bern"}), 500 + 7 * at),
    "uncompressed-text": lambda at: (f"html:{at}", f"<p>the same words, {at} </p>" * 80, 500 + 7 * at),
    "key-names": lambda at: (f"page {at}:x", b"x" * 50, 500 + 7 * at),
}


@pytest.mark.parametrize("rule", PROVOKED)
def test_provoked(redis7: Server, rule: str) -> None:
    fill(redis7, 1000, orderly)
    fill(redis7, 1500, PROVOKED[rule])
    mine = found(redis7)
    assert KEEPING & set(mine) == {rule}, mine
    assert mine[rule]["evidence"]


def test_a_big_key_is_named_with_its_size(valkey9: Server) -> None:
    fill(valkey9, 100, orderly)
    with valkey9.client() as client:
        client.rpush("queue:mail", *(b"x" * 1000 for _ in range(12_000)))
        client.expire("queue:mail", 100)
    big = found(valkey9)["big-keys"]
    assert big["priority"] == "medium" and "queue:mail" in str(big["issue"])
    assert big["commands"] == ["MEMORY USAGE queue:mail"]
