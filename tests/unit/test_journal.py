"""The journal survives crashes, other writers and hostile text."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachetui.actions.journal import Journal, who
from cachetui.actions.plan import render
from cachetui.errors import CacheError
from cachetui.model import JournalEntry


def entry(receipt: str, outcome: str = "done", **more: object) -> JournalEntry:
    return JournalEntry(1.5, receipt, "me", "redis://h:1/0", "Delete", ("UNLINK a",), outcome, **more)  # type: ignore[arg-type]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / "cachetui" / "journal.jsonl")


def test_an_absent_journal_is_empty(journal: Journal) -> None:
    assert journal.read() == []
    assert not journal.has("a")


def test_newest_first_and_one_entry_for_each_receipt(journal: Journal) -> None:
    for item in (entry("a", "started"), entry("b", "started"), entry("a", "done", done=5), entry("c", "started")):
        journal.append(item)
    assert [(item.receipt, item.outcome, item.done) for item in journal.read()] == [
        ("c", "started", 0),
        ("a", "done", 5),
        ("b", "started", 0),
    ]
    assert [item.receipt for item in journal.read(1)] == ["c"]
    assert journal.has("b")
    assert not journal.has("d")


def test_only_its_owner_may_read_it(journal: Journal) -> None:
    journal.append(entry("a"))
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700


def test_a_torn_last_line_swallows_nothing(journal: Journal) -> None:
    journal.append(entry("a"))
    journal.append(entry("b"))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-20])
    assert [item.receipt for item in journal.read()] == ["a"]
    journal.append(entry("c"))
    assert [item.receipt for item in journal.read()] == ["c", "a"]


def test_foreign_lines_are_passed_over_and_never_shown_raw(journal: Journal) -> None:
    journal.append(entry("a"))
    with journal.path.open("ab") as file:
        file.write(b'\xff\x00\n\n[1]\n"x"\nnull\n{"at": "soon"}\n{"receipt": "z"}\n' + b"[" * 100_000 + b"\n")
        file.write(b'{"at":1,"receipt":"e","user":"\\u001b[2J","target":"t","title":"\\u202e","commands":["\\u0007"],')
        file.write(b'"outcome":"done","later":"unknown fields are fine"}\n')
    newest, oldest = journal.read()
    assert oldest.receipt == "a"
    assert (newest.user, newest.title, newest.commands) == ("\\x1b[2J", "\\u202e", ("\\x07",))


@settings(max_examples=50)
@given(key=st.binary(max_size=60), text=st.text(max_size=60))
def test_any_bytes_and_any_text_come_back_as_they_were_shown(
    tmp_path_factory: pytest.TempPathFactory, key: bytes, text: str
) -> None:
    journal = Journal(tmp_path_factory.mktemp("j") / "journal.jsonl")
    command = render((b"UNLINK", key))
    wanted = JournalEntry(1.0, "r", "me", "t", text, (command,), "done")
    journal.append(wanted)
    (read,) = journal.read()
    assert read.commands == (command,)
    assert read.title.isprintable()
    if text.isprintable():
        assert read == wanted


def test_a_full_journal_moves_aside_and_is_still_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", rotate_bytes=500)
    for number in range(8):
        journal.append(entry(str(number)))
    assert journal.older == tmp_path / "journal.1.jsonl"
    assert journal.older.exists()
    assert journal.path.stat().st_size < 500
    assert [item.receipt for item in journal.read()] == [str(number) for number in reversed(range(8))]


def test_a_write_that_spans_the_rotation_is_one_entry(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", rotate_bytes=1)
    journal.append(entry("a", "started"))
    journal.append(entry("a", "done"))
    assert [item.outcome for item in journal.read()] == ["done"]


def test_processes_that_write_at_once_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    program = """
import sys
from pathlib import Path
from cachetui.actions.journal import Journal
from cachetui.model import JournalEntry
journal = Journal(Path(sys.argv[1]), rotate_bytes=150_000)
for number in range(100):
    journal.append(JournalEntry(1.0, f"{sys.argv[2]}-{number}", "me", "t", "x", ("UNLINK " + "k" * 700,), "done"))
"""
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in ("a", "b")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    journal = Journal(path)
    assert journal.older.exists()
    assert {item.receipt for item in journal.read()} == {f"{name}-{n}" for name in "ab" for n in range(100)}


def test_an_unwritable_place_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "journal.jsonl", Path("/proc/nowhere/journal.jsonl"), Path("/dev/full")):
        with pytest.raises(CacheError, match="journal cannot be written") as refusal:
            Journal(path).append(entry("a"))
        assert refusal.value.line().isprintable()


def test_an_unreadable_journal_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="cannot be read"):
        Journal(tmp_path).read()


def test_who_names_the_user_and_where_the_ssh_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "alice")
    assert who() == "alice"
    monkeypatch.setenv("SSH_CLIENT", "10.1.2.3 50022 22")
    assert who() == "alice from 10.1.2.3"
    monkeypatch.setenv("SSH_CLIENT", "\x1b[2J 1 2")
    assert who() == "alice from \\x1b[2J"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    assert who() == f"uid {os.getuid()}"


def test_settings_and_nodes_come_back_safe_to_show(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    back = (("hz", "10", "\x1b[2J"),)
    journal.append(JournalEntry(1.0, "r", "me", "t", "Set hz", (), "done", back=back, nodes=("a:1", "b:\u202e2")))
    (entry,) = journal.read()
    assert entry.back == (("hz", "10", "\\x1b[2J"),) and entry.nodes == ("a:1", "b:\\u202e2")
