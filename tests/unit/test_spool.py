"""What is kept for the way back: nothing lost, nothing readable by others, nothing endless."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.actions.spool import (
    VOID,
    Head,
    Kept,
    Spool,
    SpoolFull,
    inspected,
    newest_first,
    opened,
    prune,
    stored,
    void,
)
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


def test_damage_in_the_middle_is_told_and_loses_only_that_part(tmp_path: Path) -> None:
    spool = Spool(tmp_path, head(), 1 << 20)
    sizes = []
    for number in range(3):
        sizes.append(spool.stored_bytes)
        spool.add([Kept(b"k%d" % number, os.urandom(100)), Kept(b"m%d" % number, b"v")])
    spool.close()
    assert (inspected(spool.path).damaged, inspected(spool.path).lost) == (False, 0)
    data = bytearray(spool.path.read_bytes())
    data[sizes[1] + 40] ^= 1
    spool.path.write_bytes(data)
    assert not opened(spool.path).damaged, "nobody has looked into it yet"
    assert (inspected(spool.path).damaged, inspected(spool.path).lost) == (True, 2)
    lost: list[int] = []
    keys = [record.key for frame in newest_first(spool.path, lost.append) for record in frame]
    assert (keys, lost) == ([b"m2", b"k2", b"m0", b"k0"], [2])


def test_a_full_disk_leaves_a_whole_file(tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from cachetui.actions.spool import Head, Kept, Spool
from cachetui.errors import CacheError
import os
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
spool = Spool(Path(sys.argv[1]), Head("r1", "t", "redis", "Delete", 1.0, "delete"), 1 << 20)
spool.add([Kept(b"first", os.urandom(1000))])
try:
    spool.add([Kept(b"second", os.urandom(9000))])
except CacheError as error:
    print(error.line())
spool.add([Kept(b"third", os.urandom(1000))])
spool.close()
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "cannot be kept" in done.stdout and "make room" in done.stdout
    assert [record.key for record in everything(tmp_path / "r1.undo")] == [b"third", b"first"]
    assert not opened(tmp_path / "r1.undo").damaged


def test_the_lock_of_a_killed_writer_is_gone_with_it(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from cachetui.actions.spool import Head, Kept, Spool
spool = Spool(Path(sys.argv[1]), Head("r1", "t", "redis", "Delete", 1.0, "delete"), 1 << 20)
spool.add([Kept(b"k", b"v")])
print("kept", flush=True)
sys.stdin.read()
"""
    argv = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"kept\n"
        assert opened(tmp_path / "r1.undo").running
        prune(tmp_path, max_bytes=0, max_age_s=0)
        assert opened(tmp_path / "r1.undo").running, "it is being written: it stays"
        writer.kill()
    found = opened(tmp_path / "r1.undo")
    assert (found.running, found.damaged, found.keys) == (False, False, 1)
    prune(tmp_path, max_bytes=0)
    assert stored(tmp_path) == []
