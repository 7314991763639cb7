"""The recording's file: what is in it, what never is, and what becomes of bad ones."""

from __future__ import annotations

import gzip
import json
import os
import resource
import stat
import zlib
from pathlib import Path

import pytest

from cachetui.errors import BadUsage
from cachetui.feeds import record
from cachetui.feeds.record import Recorder, read_recording
from cachetui.feeds.redact import redact
from cachetui.model import (
    ClientInfo,
    ClientList,
    Identity,
    KeyFacts,
    ScanStep,
    SlowEntry,
    SlowLog,
    Snapshot,
    Stats,
    Topology,
    Trouble,
    Value,
    ValueItem,
)
from cachetui.source import recording

WHO = Identity("redis", "7.0.15", run_id="a")
PASSWORD = "hunter2-öß"


def stats(at: float, **fields: object) -> Stats:
    return Stats(at, WHO, uptime_s=int(at), hits_total=int(at), extra={"os": "Linux"}, **fields)  # type: ignore[arg-type]


def unpacked(path: Path) -> bytes:
    """Return all that can be read, also of a torn file."""
    return zlib.decompressobj(31).decompress(path.read_bytes())


def made(path: Path, *lines: object, header: dict[str, object] | None = None) -> Path:
    first = header or {"format": "cachetui-recording", "version": 1, "target": "t", "startedAt": 1.0}
    texts = [line if isinstance(line, str) else json.dumps(line) for line in (first, *lines)]
    path.write_bytes(gzip.compress("".join(f"{text}\n" for text in texts).encode()))
    return path


def test_what_is_written_comes_back_equal(tmp_path: Path) -> None:
    items: list[Snapshot | Trouble | Identity] = [
        WHO,
        stats(10.5),
        SlowLog(11.0, WHO, (SlowEntry(1, 9.0, 20_000, (b"GET", b"\xff\x00\n")),), 1, 10_000),
        ClientList(11.5, WHO, (ClientInfo(1, "h:1", name="a\\x1bb"),)),
        Topology(12.0, WHO, summary="primary alone", facts=(("backlog", "1MB"),)),
        Trouble("timed-out", "no answer", "wait", 12.5, {"seconds": 2.0}),
        ScanStep(13.0, (b"a", b"\x80"), b"17"),
        Value(14.0, KeyFacts(b"a", type="hash"), (ValueItem(b"f", b"v"),)),
    ]
    with Recorder(tmp_path / "r", "redis://h:1") as recorder:
        assert all(recorder.write(item, kind="stats", at=12.5) for item in items)
        assert recorder.entries_written == len(items)
    header, entries = read_recording(tmp_path / "r")
    read = list(entries)
    assert (header.target, header.version) == ("redis://h:1", 1)
    assert [entry.item for entry in read] == items
    assert [entry.kind for entry in read] == [
        "identity",
        "stats",
        "slowlog",
        "clients",
        "topology",
        "stats",
        "scan",
        "value",
    ]
    assert gzip.decompress((tmp_path / "r").read_bytes()).count(b"\n") == len(items) + 1, "any tool can read it"


def test_only_its_owner_may_read_it_and_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_text("precious")
    path.chmod(0o644)
    with pytest.raises(BadUsage, match="exists already"):
        Recorder(path, "t")
    assert path.read_text() == "precious"
    Recorder(path, "t", overwrite=True).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Recorder(tmp_path / "new", "t"):
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    with pytest.raises(BadUsage, match="cannot create"):
        Recorder(tmp_path / "no" / "such" / "folder", "t")
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(BadUsage, match="cannot create"):
        Recorder(link, "t", overwrite=True)


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ([b"AUTH", b"PW"], b"AUTH"),
        ([b"auth", b"me", b"PW"], b"auth"),
        ([b"HELLO", b"3", b"AUTH", b"me", b"PW", b"SETNAME", b"x"], b"SETNAME x"),
        ([b"ACL", b"SETUSER", b"bob", b"on", b">PW", b"~*"], b"ACL SETUSER bob"),
        ([b"CONFIG", b"SET", b"maxmemory", b"1gb", b"requirepass", b"PW"], b"maxmemory 1gb requirepass"),
        ([b"CONFIG", b"SET", b"MASTERAUTH", b"PW"], b"CONFIG SET MASTERAUTH"),
        ([b"CONFIG", b"SET", b"tls-key-file-pass", b"PW"], b"tls-key-file-pass"),
        ([b"MIGRATE", b"h", b"1", b"", b"0", b"9", b"AUTH", b"PW", b"KEYS", b"a"], b"KEYS a"),
        ([b"MIGRATE", b"h", b"1", b"", b"0", b"9", b"auth2", b"u", b"PW", b"KEYS", b"a"], b"KEYS a"),
        ([b"SENTINEL", b"SET", b"mymaster", b"auth-pass", b"PW"], b"mymaster auth-pass"),
        ([b"GET", b"key"], b"GET key"),
        ([b"CONFIG", b"SET", b"maxmemory-policy", b"noeviction"], b"maxmemory-policy noeviction"),
    ],
)
def test_commands_lose_their_passwords(command: list[bytes], kept: bytes, tmp_path: Path) -> None:
    shown = b" ".join(redact(command))
    assert b"PW" not in shown and kept in shown
    with Recorder(tmp_path / "r", "t") as recorder:
        recorder.write(SlowLog(1.0, WHO, (SlowEntry(1, 1.0, 5, tuple(command)),)))
    entry = next(read_recording(tmp_path / "r")[1])
    assert isinstance(entry.item, SlowLog) and entry.item.entries[0].args == redact(command)


def test_the_targets_password_is_nowhere(tmp_path: Path) -> None:
    raw = PASSWORD.encode()
    items: list[Snapshot | Trouble | Identity] = [
        SlowLog(1.0, WHO, (SlowEntry(1, 1.0, 5, (b"EVAL", b"x" + raw + b"y"), client_name=f"app-{PASSWORD}"),)),
        ClientList(1.0, WHO, (ClientInfo(1, "h:1", name=PASSWORD),)),
        Topology(1.0, WHO, facts=(("primary", PASSWORD), ("masterauth", "other"))),
        stats(1.0, policy="noeviction"),
        ScanStep(1.0, (raw, b"user:" + raw), None),
        Value(1.0, KeyFacts(b"k"), (ValueItem(raw, raw * 3),)),
        Trouble("auth", f"no {PASSWORD}", PASSWORD, 1.0, {"reply": [PASSWORD]}),
    ]
    with Recorder(tmp_path / "r", f"redis://u:{PASSWORD}@h", secrets=[PASSWORD, "redis", ""]) as recorder:
        for item in items:
            assert recorder.write(item)
    read = [entry.item for entry in read_recording(tmp_path / "r")[1]]
    text = unpacked(tmp_path / "r") + repr(read).encode()
    for form in (raw, json.dumps(PASSWORD)[1:-1].encode(), repr(raw)[2:-1].encode(), b"other"):
        assert form not in text
    assert [type(item) for item in read] == [type(item) for item in items]
    assert isinstance(read[3], Stats) and read[3].server == WHO, "a password `redis` does not change the server's kind"


def test_a_recording_that_is_still_open_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path / "r", "t")
    assert list(read_recording(tmp_path / "r")[1]) == []
    monkeypatch.setattr(record, "FLUSH_S", 0.0)
    recorder.write(stats(1.0))
    assert [entry.at for entry in read_recording(tmp_path / "r")[1]] == [1.0]
    recorder.close()
    recorder.close()
    assert recorder.write(stats(2.0)) is False


def test_every_torn_end_is_tolerated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "FLUSH_S", 0.0)
    with Recorder(tmp_path / "r", "t") as recorder:
        header_bytes = recorder.bytes_written
        for at in range(20):
            recorder.write(stats(float(at)))
    whole = (tmp_path / "r").read_bytes()
    torn = tmp_path / "torn"
    counts = []
    for length in range(header_bytes, len(whole)):
        torn.write_bytes(whole[:length])
        counts.append(len(list(read_recording(torn)[1])))
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == 20
    damaged = bytearray(whole)
    damaged[len(whole) // 2 :] = os.urandom(len(whole) - len(whole) // 2)
    torn.write_bytes(damaged)
    try:
        kept = len(list(read_recording(torn)[1]))
    except BadUsage:
        kept = 0
    assert kept < 20


def test_the_size_limit_is_kept_and_said(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", "t", max_bytes=20_000)
    written = 0
    while recorder.write(ScanStep(float(written), tuple(os.urandom(50) for _ in range(10)), None)):
        written += 1
    assert recorder.closed and recorder.stopped == "reached its limit of 19.5KB"
    assert 10_000 < (tmp_path / "r").stat().st_size <= 20_000
    entries = list(read_recording(tmp_path / "r")[1])
    assert len(entries) == written + 1
    assert entries[-1].kind == "note" and entries[-1].item == "stopped: reached its limit of 19.5KB"


def test_a_full_disk_ends_the_recording_and_raises_nothing(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        recorder = Recorder(tmp_path / "r", "t")
        written = 0
        while recorder.write(ScanStep(1.0, (os.urandom(3000),), None)):
            written += 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert recorder.closed and recorder.stopped == "cannot write: File too large"
    assert recorder.write(stats(1.0)) is False
    recorder.close()
    assert len(list(read_recording(tmp_path / "r")[1])) <= written


def test_only_files_are_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/null"), tmp_path / "pipe", tmp_path):
        before = path.stat().st_mode
        with pytest.raises(BadUsage, match="is not a file"):
            Recorder(path, "t", overwrite=True)
        assert path.stat().st_mode == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a cachetui recording"),
        (b"hello\n", "is not a cachetui recording"),
        (bytes(range(256)) * 20, "is not a cachetui recording"),
        (gzip.compress(b"hello\n"), "is not a cachetui recording"),
        (gzip.compress(b"[1]\n"), "is not a cachetui recording"),
        (gzip.compress(b"[" * 50_000 + b"\n"), "is not a cachetui recording"),
        (gzip.compress(b"a" * 10_000_000), "is not a cachetui recording"),
        (gzip.compress(b'{"format":"cachetui-recording"}\n'), "is not a cachetui recording"),
        (
            gzip.compress(b'{"format":"cachetui-recording","version":2,"target":"t","startedAt":1}\n'),
            "was written by a newer cachetui",
        ),
    ],
    ids=range(9),  # names made of such bytes would differ from run to run
)
def test_what_is_no_recording_is_refused_in_one_line(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "r\x1b[2J"
    path.write_bytes(content)
    with pytest.raises(BadUsage, match=says) as caught:
        read_recording(path)
    assert caught.value.line().isprintable() and caught.value.exit_code == 2


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="there is no recording"):
        read_recording(tmp_path / "none")
    with pytest.raises(BadUsage, match="is not a file"):
        read_recording(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadUsage, match="is not a file"):
        read_recording(tmp_path / "pipe")


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        {"kind": "stats"},
        {"at": "noon", "kind": "stats"},
        '{"at": 1e999, "kind": "stats"}',
        {"at": 1, "kind": "stats", "snapshot": 5},
        {"at": 1, "kind": "stats", "snapshot": {"type": "Stats", "data": {}}},
        {"at": 1, "kind": "stats", "snapshot": {"type": "SlowLog", "data": {"taken_at": 1, "server": {"kind": "x"}}}},
        {"at": 1, "kind": "stats", "trouble": {"code": 5}},
        "[" * 100_000,
        '{"at": 1, "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_a_malformed_line_is_one_clear_error(line: object, tmp_path: Path) -> None:
    path = made(tmp_path / "r", {"at": 1, "identity": {"kind": "redis"}}, line)
    with pytest.raises(BadUsage, match="malformed") as caught:
        list(read_recording(path)[1])
    assert caught.value.line().isprintable()


def test_an_endless_line_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_LINE_BYTES", 1_000_000)
    path = made(tmp_path / "r", "a" * 50_000_000)
    with pytest.raises(BadUsage, match="longer than"):
        list(read_recording(path)[1])


def test_what_a_newer_version_adds_is_left_out(tmp_path: Path) -> None:
    path = made(
        tmp_path / "r",
        {"at": 1, "kind": "weather", "forecast": "rain"},
        {"at": 2, "kind": "moods", "snapshot": {"type": "Moods", "data": {}}},
        {"at": 3, "identity": {"kind": "redis", "planet": "earth"}},
    )
    assert [entry.item for entry in read_recording(path)[1]] == [Identity("redis")]


def test_text_of_a_foreign_recording_is_escaped(tmp_path: Path) -> None:
    evil = "\x1b]0;x\x07\x9b2J\u202e"
    path = made(
        tmp_path / "r",
        {"at": 1, "kind": "stats", "trouble": {"code": "error", "message": evil, "hint": evil, "since": 1.0}},
        {"at": 1, "identity": {"kind": evil, "address": evil}},
        {"at": 1, "note": evil},
        header={"format": "cachetui-recording", "version": 1, "target": evil, "startedAt": 1},
    )
    header, entries = read_recording(path)
    assert header.target.isprintable()
    for entry in entries:
        item = entry.item
        texts = [item.message, item.hint] if isinstance(item, Trouble) else []
        texts += [item.kind, item.address] if isinstance(item, Identity) else []
        texts += [item] if isinstance(item, str) else []
        assert texts and all(text.isprintable() for text in texts)
