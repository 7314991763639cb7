"""For any keyspace, any selection and anybody who writes in between: what is chosen goes, and undo is its inverse."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachetui.actions import pace
from cachetui.actions.apply import apply
from cachetui.actions.journal import Journal
from cachetui.actions.undo import found, plan_undo, receipts
from cachetui.config import parse_target
from cachetui.model import Keep, Operation, Selection
from cachetui.source.base import Command, Source
from cachetui.source.connect import open_source
from tests.servers.launch import Server
from tests.servers.test_sweep import FREE, planned

NAMES = st.one_of(
    st.sampled_from([b"", b"a", b"a:1", b"a:2", b"b:1", b"\xff", b"a\n", b"a*", b"{t}1"]),
    st.binary(min_size=1, max_size=6).map(lambda name: b"a:" + name),
)
TAG = b"tag:x"
CREATE: dict[str, Any] = {
    "string": lambda key: [(b"SET", key, b"v\x00\r\n" + key)],
    "integer": lambda key: [(b"SET", key, b"12345")],
    "hash": lambda key: [(b"HSET", key, b"f", b"v", b"", b"\xff")],
    "list": lambda key: [(b"RPUSH", key, b"1", b"", b"1")],
    "set": lambda key: [(b"SADD", key, b"one")],
    "zset": lambda key: [(b"ZADD", key, b"1.5", b"m", b"-inf", b"n")],
    "stream": lambda key: [(b"XADD", key, b"1-1", b"f", b"v"), (b"XGROUP", b"CREATE", key, b"g", b"0")],
}
TTLS = st.none() | st.integers(100_000, 10_000_000)


@dataclass(frozen=True)
class Meddling:
    """What somebody else does before one of our calls."""

    call: int
    key: bytes
    deletes: bool


class Meddled:
    """The source with somebody else at work: before the n-th pipeline of ours they write."""

    def __init__(self, source: Source, server: Server, meddling: Sequence[Meddling]) -> None:
        self._source, self._server, self._meddling = source, server, meddling
        self._calls = 0
        self.did: dict[bytes, bytes | None] = {}
        self.unsure: set[bytes] = set()
        """Written and deleted by them: when we were before that, what we deleted may come back."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def execute(self, commands: Sequence[Command]) -> list[object]:
        for one in self._meddling:
            if one.call == self._calls:
                value = None if one.deletes else b"theirs %d" % self._calls
                reply = self._server.command(*((b"DEL", one.key) if value is None else (b"SET", one.key, value)))
                if reply == 0:
                    continue  # we were first
                if value is None and one.key in self.did:
                    self.unsure.add(one.key)
                self.did[one.key] = value
        self._calls += 1
        return await self._source.execute(commands)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[bytes, tuple[str, int | None]], Selection, list[Meddling]]:
    keys = draw(st.dictionaries(NAMES, st.tuples(st.sampled_from(sorted(CREATE)), TTLS), min_size=1, max_size=25))
    some = sorted(keys)
    listed = st.lists(st.sampled_from(some) | NAMES, min_size=1, max_size=20, unique=True)
    selection = draw(
        st.one_of(
            listed.map(lambda chosen: Selection(keys=tuple(chosen))),
            st.sampled_from([b"a:*", b"*", b"a?1", b"[ab]:1", b"a\\*"]).map(lambda glob: Selection(pattern=glob)),
            st.sampled_from([True, False]).map(lambda ttl: Selection(pattern=b"a*", ttl=ttl)),
            st.sampled_from(["string", "hash"]).map(lambda type_: Selection(type_=type_)),
            st.sampled_from([b"^a", b"[0-9]$", b"."]).map(lambda regex: Selection(regex=regex)),
            st.just(Selection(tag=TAG)),
        )
    )
    meddler = st.builds(Meddling, st.integers(0, 12), st.sampled_from(some), st.booleans())
    return keys, selection, draw(st.lists(meddler, max_size=6))


def snapshot(server: Server) -> dict[bytes, tuple[bytes, int]]:
    """Return DUMP (of a set, whose order is not fixed, the members) and the seconds to live of every key."""

    def content(key: bytes) -> bytes:
        return repr(sorted(client.smembers(key))).encode() if client.type(key) == b"set" else client.dump(key)

    with server.client() as client:
        return {key: (content(key), client.ttl(key)) for key in client.scan_iter(count=1000)}


def same(left: dict[bytes, tuple[bytes, int]], right: dict[bytes, tuple[bytes, int]]) -> bool:
    if left.keys() != right.keys():
        return False
    return all(left[key][0] == right[key][0] and abs(left[key][1] - right[key][1]) <= 2 for key in left)


async def tried(
    server: Server, selection: Selection, meddling: list[Meddling], operation: Operation, journal: Journal
) -> None:
    source = await open_source(parse_target(server.url))
    try:
        await source.open()
        before = snapshot(server)
        meddled = Meddled(source, server, meddling)
        plan = planned(source, selection, operation, keep=Keep(), expected=len(before))
        outcome = await apply(plan, meddled, journal=journal, guard=FREE)  # type: ignore[arg-type]
        theirs = meddled.did
        assert outcome.failed == outcome.unknown == 0, outcome.line()
        after = snapshot(server)
        gone = before.keys() - after.keys()
        if selection.keys is not None:
            assert gone <= set(selection.keys) | set(theirs)
            left = set(selection.keys) & after.keys()
            assert operation.kind != "delete" or left <= set(theirs), (left, theirs)
        untouched = {key: value for key, value in after.items() if key not in theirs}
        if operation.kind == "delete":
            assert same(untouched, {key: before[key] for key in untouched}), "what was not chosen has changed"
        if receipts(journal.path):
            assert source.identity is not None
            way_back = plan_undo(source.identity, source.name, found(journal.path, plan.id))
            undone = await apply(way_back, source, journal=journal, guard=FREE)
            assert undone.failed == undone.unknown == undone.left == 0, undone.line()
        end = snapshot(server)
        assert same(
            {key: value for key, value in end.items() if key not in theirs},
            {key: value for key, value in before.items() if key not in theirs},
        )
        with server.client() as client:
            for key, value in theirs.items():
                if key in meddled.unsure:
                    continue
                if value is None:
                    assert key not in end, f"{key!r} was deleted by somebody else and came back"
                else:
                    assert client.get(key) == value, f"{key!r} does not hold what somebody else wrote"
    finally:
        await source.close()


@pytest.mark.parametrize("operation", [Operation("delete"), Operation("expire", ttl_s=50_000, jitter_s=100)])
@given(case=cases())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_apply_takes_what_was_chosen_and_undo_is_its_inverse(
    redis_like: Server,
    monkeypatch: pytest.MonkeyPatch,
    operation: Operation,
    case: tuple[dict[bytes, tuple[str, int | None]], Selection, list[Meddling]],
) -> None:
    keys, selection, meddling = case
    monkeypatch.setattr(pace, "BATCH", 5)
    with redis_like.client() as client:
        client.flushall()
        for key, (kind, ttl_ms) in keys.items():
            for command in CREATE[kind](key):
                client.execute_command(*command)
            if ttl_ms is not None:
                client.pexpire(key, ttl_ms)
        client.sadd(TAG, *list(keys)[::2], b"stale")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(tried(redis_like, selection, meddling, operation, Journal(Path(folder) / "journal.jsonl")))
