"""Enumerations across broken cursors. Real servers are in the contract tests; this is the arithmetic."""

from typing import cast

import pytest

from cachetui.errors import CacheError, Denied, ServerError, Unreachable
from cachetui.keyspace import scan
from cachetui.model import ScanStep
from cachetui.source.base import Source

Script = list[ScanStep | CacheError]


class Scripted:
    """Answers `scan` from a list."""

    def __init__(self, script: Script) -> None:
        self.script = list(script)
        self.cursors: list[bytes | None] = []

    async def scan(self, cursor: bytes | None = None, **_: object) -> ScanStep:
        self.cursors.append(cursor)
        answer = self.script.pop(0)
        if isinstance(answer, CacheError):
            raise answer
        return answer


def step(cursor: bytes | None, *keys: bytes) -> ScanStep:
    return ScanStep(0.0, keys, cursor, 4)


async def gathered(script: Script, *, limit: int | None = None) -> tuple[list[bytes], int, Scripted]:
    source, restarts, keys = Scripted(script), [], list[bytes]()

    def restart() -> None:
        restarts.append(1)
        keys.clear()

    async for found in scan.steps(cast("Source", source), limit=limit, on_restart=restart):
        keys += found.keys
    return keys, len(restarts), source


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "PAUSE_S", 0.0)


async def test_steps_go_on_to_the_end() -> None:
    keys, restarts, source = await gathered([step(b"1", b"a"), step(b"2"), step(None, b"b")])
    assert (keys, restarts, source.cursors) == ([b"a", b"b"], 0, [None, b"1", b"2"])


async def test_a_limit_cuts_and_ends() -> None:
    keys, _, source = await gathered([step(b"1", b"a", b"b"), step(b"2", b"c", b"d")], limit=3)
    assert keys == [b"a", b"b", b"c"]
    assert source.script == []


async def test_a_broken_enumeration_begins_again() -> None:
    script = [step(b"1", b"a"), Unreachable("gone"), Unreachable("still"), step(b"9", b"b"), step(None, b"c")]
    keys, restarts, source = await gathered(script)
    assert (keys, restarts) == ([b"b", b"c"], 1)
    assert source.cursors == [None, b"1", None, None, b"9"]


async def test_it_gives_up_after_some_restarts() -> None:
    script: Script = []
    for _ in range(scan.RESTARTS + 1):
        script += [step(b"1", b"a"), ServerError("old cursor")]
    with pytest.raises(ServerError):
        await gathered(script)


async def test_the_first_failure_and_a_refusal_are_raised_at_once() -> None:
    with pytest.raises(Unreachable):
        await gathered([Unreachable("no")])
    with pytest.raises(Denied):
        await gathered([step(b"1"), Denied("no")])
