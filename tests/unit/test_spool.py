"""What is kept for the way back: nothing lost, nothing readable by others, nothing endless."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.actions.spool import VOID, Head, Kept, Spool, SpoolFull, newest_first, opened, prune, stored, void
from cachetui.errors import CacheError
from cachetui.model import Operation, Selection

RECORDS = st.builds(
    Kept,
    key=st.binary(max_size=40),
    value=st.none() | st.binary(max_size=200),
    expires_at_ms=st.integers(-1, 2**60),
    flags=st.integers(0, 2**32 - 1),
    became=st.binary(max_size=20).filter(lambda became: became != VOID),
    again=st.just(False),
)


def head(receipt: str = "r1", **more: object) -> Head:
    return Head(receipt, "redis://h:1/0", "redis", "Delete", 100.0, "delete", **more)  # type: ignore[arg-type]


def everything(path: Path) -> list[Kept]:
    return [record for frame in newest_first(path) for record in frame]


@given(frames=st.lists(st.lists(RECORDS, min_size=1, max_size=5), max_size=4))
def test_what_goes_in_comes_out_newest_first(
    tmp_path_factory: pytest.TempPathFactory, frames: list[list[Kept]]
) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool"), head(), 1 << 20)
    for frame in frames:
        spool.add(frame)
    spool.close()
    assert spool.path.exists() is bool(frames)
    if frames:
        assert everything(spool.path) == [record for frame in reversed(frames) for record in reversed(frame)]
        assert opened(spool.path).keys == sum(map(len, frames))


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "undo", head(), 1 << 20)
    spool.add([Kept(b"k", b"v")])
    spool.close()
    assert stat.S_IMODE((tmp_path / "undo").stat().st_mode) == 0o700
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600


def test_the_head_says_what_can_be_resumed(tmp_path: Path) -> None:
    about = head(selection=Selection(pattern=b"\xff*", ttl=False), operation=Operation("expire", 5.0, 1.0))
    spool = Spool(tmp_path, about, 1 << 20)
    spool.add([Kept(b"k", None, 5)])
    assert opened(spool.path).running
    spool.close()
    found = opened(spool.path)
    assert (found.head, found.running, found.damaged) == (about, False, False)


def test_beyond_the_cap_nothing_of_the_batch_is_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path, head(), 2000)
    spool.add([Kept(b"first", b"v")])
    with pytest.raises(SpoolFull) as caught:
        spool.add([Kept(b"second", os.urandom(5000))])
    assert "no more was deleted" in caught.value.message and caught.value.hint
    spool.close()
    assert [record.key for record in everything(spool.path)] == [b"first"]


def test_a_torn_end_loses_only_itself(tmp_path: Path) -> None:
    spool = Spool(tmp_path, head(), 1 << 20)
    for number in range(3):
        spool.add([Kept(b"k%d" % number, os.urandom(100))])
    spool.close()
    whole = spool.path.read_bytes()
    for cut in (1, 50, 120):
        spool.path.write_bytes(whole[:-cut])
        assert opened(spool.path).damaged
        assert {record.key for record in everything(spool.path)} <= {b"k0", b"k1"}
    spool.path.write_bytes(whole[:-20] + b"\0" * 20)
    assert [record.key for record in everything(spool.path)] == [b"k1", b"k0"]


@pytest.mark.parametrize("data", [b"", b"{}\n", b"garbage", b'{"receipt": 5}\n', b"[" * 5000])
def test_files_of_others_are_passed_over(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.undo").write_bytes(data)
    with pytest.raises(CacheError):
        opened(tmp_path / "x.undo")
    assert stored(tmp_path) == []


def test_what_is_old_or_too_much_goes_but_not_what_is_being_written(tmp_path: Path) -> None:
    spools = {}
    for name in ("a", "b", "c"):
        spools[name] = Spool(tmp_path, head(name), 1 << 20)
        spools[name].add([Kept(b"k", os.urandom(1000))])
    spools["b"].close()
    spools["c"].close()
    prune(tmp_path, max_bytes=1500)
    assert [found.head.receipt for found in stored(tmp_path)] == ["c", "a"]
    spools["a"].close()
    long_ago = time.time() - 1000
    os.utime(spools["a"].path, (long_ago, long_ago))
    prune(tmp_path, max_age_s=500)
    assert [found.head.receipt for found in stored(tmp_path)] == ["c"]


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "undo").write_text("a file")
    with pytest.raises(CacheError) as caught:
        Spool(tmp_path / "undo", head(), 1 << 20)
    assert "cannot be kept" in caught.value.message and caught.value.hint


def test_what_was_not_written_is_not_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path, head(), 1 << 20)
    spool.add([Kept(b"a", b"v"), Kept(b"b", b"v")])
    spool.add([Kept(b"a", b"newer", again=True), void(b"b")])
    spool.close()
    assert opened(spool.path).keys == 1
    spool = Spool(tmp_path, head("r2"), 1 << 20)
    spool.add([Kept(b"a", b"v")])
    spool.add([void(b"a")])
    spool.close()
    assert not spool.path.exists()
