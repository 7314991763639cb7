"""Which writes go on: true while their process lives, whatever becomes of it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cachetui.actions.going import STALE_S, goes_on, going
from cachetui.errors import Refused


def test_it_goes_on_until_it_ends(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    assert not goes_on(journal, "r1")
    with going(journal, "r1"):
        assert goes_on(journal, "r1") and not goes_on(journal, "r2")
        assert stat.S_IMODE((tmp_path / "running").stat().st_mode) == 0o700
        with pytest.raises(Refused, match="applied before"), going(journal, "r1"):
            raise AssertionError("it goes on already")
        assert goes_on(journal, "r1")
    assert not goes_on(journal, "r1") and list((tmp_path / "running").iterdir()) == []


@pytest.mark.parametrize("receipt", ["", "../journal.jsonl", "a\0b", "x" * 300])
def test_what_is_no_receipt_does_not_go_on(tmp_path: Path, receipt: str) -> None:
    with going(tmp_path / "journal.jsonl", "r1"):
        assert not goes_on(tmp_path / "journal.jsonl", receipt)


def test_a_killed_process_goes_on_no_more_and_is_swept_up_later(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    program = """
import sys
from pathlib import Path
from cachetui.actions.going import going
with going(Path(sys.argv[1]), "r1"):
    print("on", flush=True)
    sys.stdin.read()
"""
    argv = [sys.executable, "-c", program, str(journal)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"on\n"
        assert goes_on(journal, "r1")
        process.kill()
    assert not goes_on(journal, "r1")
    left = tmp_path / "running" / "r1"
    with going(journal, "r2"):
        assert left.exists()
    os.utime(left, (0, time.time() - STALE_S - 5))
    with going(journal, "r3"):
        assert [path.name for path in left.parent.iterdir()] == ["r3"]


def test_a_place_that_cannot_be_written_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "running").write_text("a file")
    with pytest.raises(Refused, match="nothing was sent"), going(tmp_path / "journal.jsonl", "r1"):
        raise AssertionError("it could not be noted")
