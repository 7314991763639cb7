"""MONITOR's lines, whatever stands in them; the sample of what they tell; what is put together from both."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachetui.keyspace.access import Before, Residents, Sample, assembled
from cachetui.model.accesses import HASHES, Rules, Use, spatial_hash
from cachetui.model.burst import Burst, Figures, Measured, Room, Seen
from cachetui.source.redis.monitored import BASIC, LINE_BYTES, MonitorReader, read_commands, unescaped

HEAD = b"+1700000000.250000 [0 127.0.0.1:50000] "


class Kept:
    """A sink that keeps all."""

    def __init__(self, threshold: int = HASHES) -> None:
        self.threshold, self.full = threshold, False
        self.seen: list[Seen] = []

    def take(self, seen: Seen) -> None:
        self.seen.append(seen)


def quoted(word: bytes) -> bytes:
    """Quote as the servers do (sdscatrepr)."""
    plain = {ord("\n"): b"\\n", ord("\r"): b"\\r", ord("\t"): b"\\t", 7: b"\\a", 8: b"\\b", 34: b'\\"', 92: b"\\\\"}
    shown = (plain.get(c) or (bytes((c,)) if 32 <= c < 127 else b"\\x%02x" % c) for c in word)
    return b'"' + b"".join(shown) + b'"'


def line(*words: bytes, head: bytes = HEAD) -> bytes:
    return head + b" ".join(map(quoted, words)) + b"\r\n"


def read(data: bytes, *, step: int = 0, threshold: int = HASHES) -> tuple[MonitorReader, list[Seen]]:
    sink = Kept(threshold)
    reader = MonitorReader(BASIC, sink)
    for at in range(0, len(data), step or max(1, len(data))):
        reader.feed(data[at : at + (step or len(data))])
    return reader, sink.seen


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(1, 40))
def test_any_key_and_value_comes_back_wherever_the_bytes_are_cut(key: bytes, value: bytes, step: int) -> None:
    reader, seen = read(b"+OK\r\n" + line(b"SET", key, value) + line(b"get", key), step=step)
    assert [(one.key, one.use, one.db) for one in seen] == [(key, Use.WRITE, 0), (key, Use.READ, 0)]
    assert (reader.lookups, reader.strange) == (1, 0)
    assert seen[0].at_s == 1700000000.25


@given(st.binary(max_size=80))
def test_escapes_are_undone(word: bytes) -> None:
    assert unescaped(quoted(word)[1:-1]) == word


@given(st.binary(max_size=400), st.integers(1, 100))
def test_garbage_raises_nothing_and_is_counted(data: bytes, step: int) -> None:
    reader, _ = read(data.replace(b"\r\n", b"") + b"\n" + line(b"GET", b"k"), step=step)
    assert reader.lines == data.replace(b"\r\n", b"").count(b"\n") + 2
    assert reader.lookups >= 1


def test_several_keys_count_each() -> None:
    reader, seen = read(line(b"MGET", b"a", b"b", b"c") + line(b"MSET", b"a", b"1", b'q"x', b"2") + line(b"DEL", b"a"))
    assert [(one.key, one.use) for one in seen] == [
        (b"a", Use.READ),
        (b"b", Use.READ),
        (b"c", Use.READ),
        (b"a", Use.WRITE),
        (b'q"x', Use.WRITE),
        (b"a", Use.DELETE),
    ]
    assert reader.lookups == 3


@pytest.mark.parametrize(
    ("words", "ttl_s"),
    [
        ((b"SET", b"k", b"v"), math.inf),
        ((b"SET", b"k", b"v", b"EX", b"90"), 90.0),
        ((b"set", b"k", b"v", b"px", b"1500", b"NX"), 1.5),
        ((b"SET", b"k", b"v", b"EXAT", b"1700000010"), 9.75),
        ((b"SET", b'k"', b"v", b"EX", b"90"), 90.0),
        ((b"SETEX", b"k", b"30", b"v"), 30.0),
        ((b"PSETEX", b"k\n", b"500", b"v"), 0.5),
        ((b"EXPIRE", b"k", b"60"), 60.0),
        ((b"PEXPIRE", b"k", b"250"), 0.25),
        ((b"PERSIST", b"k"), math.inf),
        ((b"SET", b"k", b"v", b"KEEPTTL"), math.nan),
        ((b"SET", b"k", b'a "EX" "5'), math.inf),
        ((b"GET", b"k"), math.nan),
        ((b"EXPIRE", b"k", b"soon"), math.nan),
    ],
)
def test_times_to_live_are_read(words: Sequence[bytes], ttl_s: float) -> None:
    _, (seen,) = read(line(*words))
    assert seen.ttl_s == pytest.approx(ttl_s, nan_ok=True)


@pytest.mark.parametrize(
    "head",
    [
        b"+1700000000.250000 [0 [::1]:6379] ",
        b"+1700000000.250000 [0 lua] ",
        b"+1700000000.250000 [0 unix:/run/redis.sock] ",
    ],
)
def test_clients_of_every_kind(head: bytes) -> None:
    reader, seen = read(line(b"GET", b"k", head=head))
    assert [one.key for one in seen] == [b"k"]
    assert reader.strange == 0


def test_the_database_is_part_of_a_key() -> None:
    _, seen = read(line(b"GET", b"k", head=b"+1700000000.250000 [12 127.0.0.1:1] "))
    assert seen[0].db == 12


def test_a_huge_value_is_not_held_and_its_length_is_known() -> None:
    huge = b"x" * 3_000_000
    sink = Kept()
    reader = MonitorReader(BASIC, sink)
    data = line(b"SET", b"big", huge, b"EX", b"7") + line(b"GET", b"after")
    most = 0
    for at in range(0, len(data), 50_000):
        reader.feed(data[at : at + 50_000])
        most = max(most, len(reader._rest))
    assert most <= LINE_BYTES
    big, after = sink.seen
    assert (big.key, big.use, big.ttl_s, after.key) == (b"big", Use.WRITE, 7.0, b"after")
    assert abs(big.length - 3_000_000) < 100
    assert reader.lines == 2


def test_a_huge_key_is_counted_as_unreadable_not_as_another_key() -> None:
    reader, seen = read(line(b"SET", b"k" * 200_000, b"v") + line(b"GET", b"after"), step=30_000)
    assert [one.key for one in seen] == [b"after"]
    assert reader.strange == 1


def test_values_are_never_handed_on() -> None:
    _, seen = read(line(b"SET", b"k", b"secret") + line(b"HSET", b"h", b"password", b"secret", b"s\n", b"x"))
    assert not any(b"secret" in (word if isinstance(word, bytes) else b"") for one in seen for word in one)


def test_only_the_sample_is_handed_on_but_all_lookups_count() -> None:
    keys = [b"key:%d" % number for number in range(2000)]
    reader, seen = read(b"".join(line(b"GET", key) for key in keys), threshold=HASHES // 10, step=4096)
    assert reader.lookups == 2000
    assert [one.key for one in seen] == [key for key in keys if spatial_hash(key) < HASHES // 10]
    assert 120 < len(seen) < 280


def test_the_servers_own_table_of_commands_is_understood() -> None:
    table = [
        [b"get", 2, [b"readonly", b"fast"], 1, 1, 1],
        [b"hset", -4, [b"write"], 1, 1, 1],
        [b"bitop", -4, [b"write"], 2, -1, 1],
        [b"eval", -3, [b"movablekeys"], 0, 0, 0],
        [b"xread", -4, [b"readonly", b"movablekeys"], 0, 0, 0],
        [b"ping", -1, [b"fast"], 0, 0, 0],
        [b"broken"],
        b"nonsense",
    ]
    commands = read_commands(table)
    assert sorted(commands) == [b"BITOP", b"GET", b"HSET", b"XREAD"]
    sink = Kept()
    reader = MonitorReader(commands, sink)
    reader.feed(line(b"BITOP", b"AND", b"d", b"s1", b"s2") + line(b"XREAD", b"COUNT", b"2", b"STREAMS", b"st", b"0"))
    reader.feed(line(b"EVAL", b"return 1", b"1", b"k") + line(b"PING"))
    assert [(one.key, one.use) for one in sink.seen] == [
        (b"d", Use.UPDATE),
        (b"s1", Use.UPDATE),
        (b"s2", Use.UPDATE),
        (b"st", Use.READ),
    ]


# The sample


def seen(key: bytes, use: Use = Use.READ, at_s: float = 100.0, **more: object) -> Seen:
    return Seen(at_s, 0, key, use, **({"length": 0, "ttl_s": math.nan, "lookups": 1} | more))  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=600), st.integers(5, 60))
def test_a_sample_holds_all_uses_of_the_keys_with_the_lowest_hashes(numbers: list[int], most: int) -> None:
    sample = Sample(keys=most)
    for at, number in enumerate(numbers):
        sample.take(seen(b"%d" % number, at_s=float(at)))
    assert len(sample.hashes) <= most
    expected = [float(at) for at, number in enumerate(numbers) if spatial_hash(b"%d" % number) < sample.threshold]
    assert [one.at_s for one in sample.seen] == expected
    assert {one.key for one in sample.seen} == {key for _, key in sample.hashes}


def test_residents_are_chosen_by_the_same_hash_and_bounded() -> None:
    names = [b"n:%d" % number for number in range(1000)]
    sink = Residents(0.5)
    sink.add(names)
    assert list(sink.names) == [name for name in names if spatial_hash(name) < HASHES // 2]
    assert not sink.cut
    tight = Residents(1.0, most=10)
    tight.add(names)
    assert tight.cut


def _assembled(stream: Sequence[Seen], before: dict[bytes, Measured], after: dict[bytes, Measured]):  # type: ignore[no-untyped-def]
    sample = Sample()
    for one in stream:
        sample.take(one)
    figures = Figures()
    burst = Burst(5.0, len(stream), len(stream), 0, "time", figures, figures, figures)
    room = Room(10_000, 1000, 5000, 50, 5, 1, 100, 50, 0.0, Rules())
    accesses = assembled(sample, burst, room, Before(before, True), {(0, key): known for key, known in after.items()})
    names = list(dict.fromkeys([*before, *(one.key for one in stream)]))
    return accesses, {name: at for at, name in enumerate(names)}


def test_what_is_known_before_and_after_is_put_together() -> None:
    stream = [
        seen(b"missed", at_s=100.0),
        seen(b"missed", Use.WRITE, 100.001, length=500, ttl_s=60.0),
        seen(b"early", at_s=100.1),
        seen(b"idle", at_s=103.0),
        seen(b"never", at_s=103.5),
        seen(b"late", Use.WRITE, 104.0),
        seen(b"slow", at_s=100.2),
        seen(b"slow", Use.WRITE, 103.0),
    ]
    before = {
        b"idle": Measured(100, 9, None, 101.0),
        b"early": Measured(200, 0, None, 101.0),
        b"missed": Measured(600, 0, None, 101.0),
    }
    accesses, at = _assembled(
        stream, before, {b"late": Measured(300, 0, 5000, 105.0), b"slow": Measured(1, 0, -1, 105.0)}
    )
    assert list(accesses.uses) == [Use.READ, Use.FILL, Use.READ, Use.READ, Use.READ, Use.WRITE, Use.READ, Use.WRITE]
    idle = {name: accesses.idle_s[number] for name, number in at.items()}
    # Idle for 9 s a second after the stream began; used before it was looked up, but a hit; a miss; unknown keys.
    assert (idle[b"idle"], idle[b"early"], idle[b"slow"]) == (8.0, 0.0, 0.0)
    assert math.isnan(idle[b"missed"])
    assert math.isnan(idle[b"late"])
    assert accesses.fillable[at[b"missed"]] == accesses.fillable[at[b"late"]] == 1
    assert accesses.settled_s == 101.0
    assert accesses.expires_s[at[b"late"]] == 110.0
    assert accesses.expires_s[at[b"missed"]] == math.inf  # the stream itself says it
    assert accesses.sizes_bytes[at[b"early"]] - accesses.sizes_bytes[at[b"idle"]] == 100


def test_a_key_that_is_read_and_never_there_is_no_key() -> None:
    accesses, at = _assembled(
        [seen(b"ghost"), seen(b"ghost", at_s=101.0)], {}, {b"ghost": Measured(None, None, -2, 105.0)}
    )
    # The first read might have been a hit, as far as the stream tells: but it is in no memory afterwards.
    assert accesses.fillable[at[b"ghost"]] == 0
    assert not accesses.was_there(at[b"ghost"])


def test_sizes_of_what_has_gone_are_told_by_what_was_written() -> None:
    stream = [seen(b"k%d" % n, Use.WRITE, 100 + n / 100, length=100 * n + 10) for n in range(1, 30)]
    after = {b"k%d" % n: Measured(100 * n + 60, 0, -1, 105.0) for n in range(1, 30) if n != 15}
    accesses, at = _assembled(stream, {}, after | {b"k15": Measured(None, None, -2, 105.0)})
    between = (accesses.sizes_bytes[at[b"k14"]] + accesses.sizes_bytes[at[b"k16"]]) / 2
    assert abs(accesses.sizes_bytes[at[b"k15"]] - between) <= 2
