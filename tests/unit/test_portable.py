"""Keys as lines and back: nothing is lost, nothing else is let in."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.errors import BadUsage, Unsupported
from cachetui.keyspace.portable import (
    BATCH,
    TYPES,
    Content,
    json_line,
    parse_line,
    parse_lines,
    quoted,
    record_of,
    to_commands,
    to_record,
)
from cachetui.keyspace.quoting import words_of
from cachetui.model import KeyFacts, Value, ValueItem

BYTES = st.binary(max_size=40) | st.text(max_size=20).map(lambda words: words.encode("utf-8", "surrogatepass"))
PAIRS = st.lists(st.tuples(BYTES, BYTES), min_size=1, max_size=5)
IDS = st.tuples(st.integers(1, 2**63), st.integers(0, 2**63)).map(lambda id_: b"%d-%d" % id_)
CONTENT = {
    "string": BYTES,
    "hash": PAIRS,
    "list": st.lists(BYTES, min_size=1, max_size=5),
    "set": st.lists(BYTES, min_size=1, max_size=5),
    "zset": st.lists(st.tuples(BYTES, st.floats(allow_nan=False)), min_size=1, max_size=5),
    "stream": st.lists(st.tuples(IDS, PAIRS), min_size=1, max_size=3),
}
KEYS = st.sampled_from(TYPES).flatmap(lambda type_: st.tuples(st.just(type_), CONTENT[type_]))
TTLS = st.none() | st.integers(0, 10**12)


@given(BYTES, KEYS, TTLS)
def test_a_line_of_json_is_the_record(key: bytes, what: tuple[str, Content], ttl_ms: int | None) -> None:
    record = to_record(key, what[0], ttl_ms, what[1], now_ms=1_700_000_000_000)
    line = json_line(record)
    assert line.isascii() and line.isprintable()
    assert parse_line(line) == record
    assert to_commands(parse_line(line)) == to_commands(record)


@given(BYTES, KEYS, TTLS)
def test_commands_are_read_back_as_the_same_commands(key: bytes, what: tuple[str, Content], ttl_ms: int | None) -> None:
    commands = to_commands(to_record(key, what[0], ttl_ms, what[1]))
    lines = [quoted(command) for command in commands]
    assert all(line.isprintable() for line in lines)
    assert [words_of(line.encode()) for line in lines] == [list(command) for command in commands]
    assert [command for record in parse_lines(lines) for command in to_commands(record)] == commands


@given(st.lists(BYTES, min_size=1, max_size=5))
def test_quoting_keeps_every_byte(words: list[bytes]) -> None:
    line = quoted(words)
    assert line.isprintable()
    assert words_of(line.encode()) == words


def test_long_collections_are_written_in_batches() -> None:
    record = to_record(b"k", "list", None, [b"%d" % number for number in range(2 * BATCH + 1)])
    commands = to_commands(record)
    assert [len(command) - 2 for command in commands] == [BATCH, BATCH, 1]
    assert [word for command in commands for word in command[2:]] == [b"%d" % n for n in range(2 * BATCH + 1)]


def test_an_expiry_follows_the_key() -> None:
    commands = to_commands(to_record(b"k", "string", 500, b"v", now_ms=1000))
    assert commands == [(b"SET", b"k", b"v"), (b"PEXPIREAT", b"k", b"1500")]
    assert parse_line("pexpireat k 1500") == {"key": "k", "type": "expiry", "expiresAtMs": 1500}


def test_odd_bytes_travel_in_base64() -> None:
    record = to_record(b"\xff", "zset", None, [(b"a\x1b", math.inf), (b"b", -0.5)])
    assert record == {
        "keyBase64": "/w==",
        "type": "zset",
        "expiresAtMs": None,
        "members": [{"memberBase64": "YRs=", "score": "inf"}, {"member": "b", "score": -0.5}],
    }
    assert to_commands(record) == [(b"ZADD", b"\xff", b"inf", b"a\x1b", b"-0.5", b"b")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("FLUSHALL", "FLUSHALL is not imported"),
        ("EVAL 'return 1' 0", "EVAL is not imported"),
        ("SET k v EX 5", "SET takes a key and a value here"),
        ("SET k", "needs a key and what to write"),
        ("HSET k f", "takes pairs"),
        ("ZADD k nan m", "a score is no number"),
        ("ZADD k high m", "could not convert"),
        ("XADD k * f v", "whole id"),
        ("XADD k 1-1", "takes pairs"),
        ("PEXPIREAT k soon", "Unix milliseconds"),
        ('SET k "v', "a quote has no end"),
        ('SET k "v"w', "in the middle of a word"),
        ("hello \x1b[2J", "hello is not imported"),
        ("\x1b]0;x\x07 k v", "\\x1b]0;x\\x07 is not imported"),
        ('{"key": "k"', "no JSON"),
        ("{}", "key is missing"),
        ('{"key": 5, "type": "string", "value": "v"}', "key is no text"),
        ('{"key": "k", "type": "module", "value": "v"}', "the type module"),
        ('{"key": "k", "type": "string"}', "value is missing"),
        ('{"key": "k", "type": "string", "valueBase64": "?"}', ""),
        ('{"key": "k", "type": "hash", "fields": [5]}', "field is missing"),
        ('{"key": "k", "type": "zset", "members": [{"member": "m", "score": true}]}', "a score is no number"),
        ('{"key": "k", "type": "zset", "members": [{"member": "m", "score": NaN}]}', "a score is no number"),
        ('{"key": "k", "type": "stream", "entries": [{"id": "*", "fields": []}]}', "an entry's id"),
        ('{"key": "k", "type": "string", "value": "v", "expiresAtMs": -1}', "no time in milliseconds"),
        ('{"key": "k", "type": "list", "elements": ' + "[" * 100_000, ""),
    ],
)
def test_anything_else_is_refused_with_its_line(line: str, words: str) -> None:
    with pytest.raises(BadUsage) as caught:
        list(parse_lines(["", "SET a b", line]))
    assert caught.value.message.startswith("line 3: ")
    assert words in caught.value.message
    assert caught.value.line().isprintable()


@given(BYTES)
def test_no_line_breaks_the_reader(line: bytes) -> None:
    try:
        record = parse_line(line, 7)
    except BadUsage as error:
        assert error.message.startswith("line 7: ") and error.message.isprintable()
    else:
        assert to_commands(record)


def windows(type_: str, *items: ValueItem, columns: tuple[str, ...] = ("value",), ttl_s: float | None = None) -> Value:
    return Value(0.0, KeyFacts(b"k", type=type_, ttl_s=ttl_s), items, len(items), columns)


def test_what_was_read_becomes_a_record() -> None:
    string = record_of([windows("string", ValueItem(b"", b"ab", total_bytes=2), ttl_s=1.5)], now_ms=100)
    assert string == {"key": "k", "type": "string", "expiresAtMs": 1600, "value": "ab"}
    hash_ = windows("hash", ValueItem(b"f", b"v", ttl_s=2.0), ValueItem(b"g", b"w"), columns=("field", "value"))
    record = record_of([hash_], now_ms=100)
    assert record["fields"] == [{"field": "f", "value": "v", "expiresAtMs": 2100}, {"field": "g", "value": "w"}]
    commands = to_commands(json.loads(json_line(record)))
    assert commands == [
        (b"HSET", b"k", b"f", b"v", b"g", b"w"),
        (b"HPEXPIREAT", b"k", b"2100", b"FIELDS", b"1", b"f"),
    ]
    assert [c for r in parse_lines(map(quoted, commands)) for c in to_commands(r)] == commands
    ranked = windows("zset", ValueItem(b"", b"m", 2.0), columns=("member", "score"))
    assert to_commands(record_of([ranked], now_ms=0)) == [(b"ZADD", b"k", b"2.0", b"m")]


def test_what_was_not_read_whole_becomes_none() -> None:
    cut = windows("list", ValueItem(b"0", b"ab", total_bytes=5), columns=("index", "value"))
    gone = Value(0.0, KeyFacts(b"k", exists=False), note="gone")
    module = Value(0.0, KeyFacts(b"k", type="ReJSON-RL"))
    half = Value(0.0, KeyFacts(b"k", type="string"), (ValueItem(b"", b"a"),), 2, next=b"1")
    less = Value(0.0, KeyFacts(b"k", type="set"), (ValueItem(b"", b"a"),), 2, ("member",))
    for value in (cut, gone, module, half, less):
        with pytest.raises(Unsupported):
            record_of([value], now_ms=0)
    with pytest.raises(Unsupported):
        record_of([], now_ms=0)
