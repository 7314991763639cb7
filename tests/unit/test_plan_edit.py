"""Plans for edits: the exact commands, what they depend on, what they say, and what is refused."""

from __future__ import annotations

import doctest
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.actions.plan import (
    KINDS,
    Plan,
    edit,
    fields,
    new,
    plan_copy,
    plan_hash_field,
    plan_import,
    plan_list_element,
    plan_list_push,
    plan_new,
    plan_rename,
    plan_set_member,
    plan_set_string,
    plan_stream_entry,
    plan_zset_member,
)
from cachetui.actions.plan.edit import LARGEST_BYTES, hash_slot
from cachetui.actions.plan.new import score_word
from cachetui.errors import BadUsage, CacheError, Refused, Unsupported
from cachetui.model import Check, Identity, KeyFacts, Value, ValueItem

REDIS = Identity("redis", "7.0.15", role="primary")
REPLICA = Identity("redis", "7.0.15", role="replica")
CLUSTER = Identity("redis", "7.0.15", mode="cluster", role="primary")
SENTINEL = Identity("redis", "7.0.15", mode="sentinel")
MEMCACHED = Identity("memcached", "1.6.18")
TARGET = "redis://127.0.0.1:6379/0"
NOW = 1_700_000_000.25
BYTES = st.binary(max_size=30)


def said(plan: Plan) -> str:
    return "\n".join(plan.what)


def value_of(data: bytes, type_: str = "string", **more: Any) -> Value:
    facts = KeyFacts(b"k", type=type_, ttl_s=more.pop("ttl_s", None), exists=more.pop("exists", True))
    total = more.pop("total_bytes", len(data))
    return Value(NOW, facts, (ValueItem(b"", data, total_bytes=total),), **more)


def test_doctests() -> None:
    for module in (edit, fields, new):
        assert doctest.testmod(module).failed == 0


def test_a_string_depends_on_its_value_and_keeps_its_ttl() -> None:
    plan = plan_set_string(REDIS, TARGET, value_of(b"old", ttl_s=90.0), b"\x1bnew", now=NOW)
    assert list(plan.commands()) == [(b"SET", b"k", b"\x1bnew", b"KEEPTTL")]
    assert plan.checks == (Check((b"GET", b"k"), b"old", "the value of k"),)
    assert plan.watched == (b"k",)
    assert (plan.needs, plan.risk, plan.typed) == ("edit", "medium", None)
    assert plan.undo == "SET k old KEEPTTL"
    assert r'now: "\x1bnew"' in plan.what
    assert "was: old" in plan.what
    assert "never overwritten" in said(plan)
    assert said(plan).replace("\n", "").isprintable()


def test_a_long_old_value_cannot_be_put_back_from_the_preview() -> None:
    plan = plan_set_string(REDIS, TARGET, value_of(b"x" * 100_000), b"y")
    assert plan.undo.startswith("no undo: the old value")
    assert len(said(plan)) < 1000


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (value_of(b"part", total_bytes=100), Refused, "only a part"),
        (value_of(b"part", total_bytes=None), Refused, "only a part"),
        (value_of(b"part", next=b"4"), Refused, "only a part"),
        (value_of(b"part", start=b"4"), Refused, "only a part"),
        (Value(NOW, KeyFacts(b"k", type="string")), Refused, "only a part"),
        (value_of(b"", exists=False), Refused, "gone"),
        (value_of(b"x", "hash"), BadUsage, "not edited as one text"),
        (value_of(b"new"), BadUsage, "nothing to write"),
    ],
)
def test_what_was_not_read_whole_is_not_written(value: Value, error: type[CacheError], words: str) -> None:
    with pytest.raises(error, match=words):
        plan_set_string(REDIS, TARGET, value, b"new")


def test_too_much_for_one_command_is_refused_in_one_line() -> None:
    large = b"x" * (LARGEST_BYTES + 1)
    for build in (
        lambda: plan_set_string(REDIS, TARGET, value_of(b"old"), large),
        lambda: plan_new(REDIS, TARGET, b"k", "list", [large]),
        lambda: plan_hash_field(REDIS, TARGET, b"k", b"f", old=None, new=large),
        lambda: plan_import(REDIS, TARGET, [(b"k", [(b"SET", b"k", large)])], ()),
    ):
        with pytest.raises(Refused, match="at most") as refused:
            build()
        assert len(refused.value.line()) < 300
        assert "\n" not in refused.value.line()


def test_a_json_document_must_be_json() -> None:
    value = value_of(b'{"a":1}', "ReJSON-RL")
    plan = plan_set_string(REDIS, TARGET, value, b"[1]")
    assert list(plan.commands()) == [(b"JSON.SET", b"k", b"$", b"[1]")]
    assert Check((b"JSON.GET", b"k"), b'{"a":1}', "the value of k") in plan.checks
    for wrong in (b"{", b"\xff", b"NaN", b"[" * 100_000):
        with pytest.raises(BadUsage, match="JSON"):
            plan_set_string(REDIS, TARGET, value, wrong)


def test_a_memcached_item_depends_on_its_version() -> None:
    value = value_of(b"old", "item", ttl_s=77.9, version=b"12", flags=5)
    plan = plan_set_string(MEMCACHED, TARGET, value, b"a\r\nb")
    assert list(plan.commands()) == [(b"ms", b"k", b"F5", b"T77", b"C12", b"a\r\nb")]
    assert plan.checks[0].expected == b"12"
    for version in (None, b"0"):
        with pytest.raises(Unsupported, match="version"):
            plan_set_string(MEMCACHED, TARGET, value_of(b"old", "item", version=version), b"new")


@pytest.mark.parametrize("key", [b"", b"a b", b"a\r\nflush_all", b"k" * 251, b"\x00"])
def test_a_name_memcached_cannot_carry_is_refused(key: bytes) -> None:
    with pytest.raises(BadUsage, match="not a Memcached key") as refused:
        plan_new(MEMCACHED, TARGET, key, "item", b"x")
    assert refused.value.line().isprintable()


def test_memcached_has_no_other_edits() -> None:
    for build in (plan_rename, plan_copy):
        with pytest.raises(Unsupported, match="memcached cannot"):
            build(MEMCACHED, TARGET, b"a", b"b")
    with pytest.raises(Unsupported, match="Redis commands"):
        plan_import(MEMCACHED, TARGET, [(b"k", [(b"SET", b"k", b"v")])], ())


def test_a_fields_own_ttl_is_set_again_in_the_same_transaction() -> None:
    plan = plan_hash_field(REDIS, TARGET, b"h", b"f", old=b"1", new=b"2", field_ttl_s=1.5)
    assert list(plan.commands()) == [(b"HSET", b"h", b"f", b"2"), (b"HPEXPIRE", b"h", b"1500", b"FIELDS", b"1", b"f")]
    kept = plan_hash_field(REDIS, TARGET, b"h", b"f", old=b"1", new=b"2", field_ttl_s=1.5, keepttl_known=True)
    assert [command[0] for command in kept.commands()] == [b"HSETEX"]
    gone = plan_hash_field(REDIS, TARGET, b"h", b"f", old=b"1", new=None, field_ttl_s=1.5)
    assert list(gone.commands()) == [(b"HDEL", b"h", b"f")]
    assert gone.undo == "HSET h f 1"


def test_an_element_is_removed_by_a_mark_that_is_never_the_same() -> None:
    plans = [plan_list_element(REDIS, TARGET, b"l", 8, old=b"x", new=None, length=10) for _ in range(2)]
    marks = set()
    for plan in plans:
        put, removed = plan.commands()
        assert put[:3] == (b"LSET", b"l", b"8")
        assert removed == (b"LREM", b"l", b"-1", put[3])
        marks.add(put[3])
        assert Check((b"LINDEX", b"l", b"8"), b"x", "element 8 of l") in plan.checks
        assert plan.undo.startswith("no undo")
    assert len(marks) == 2
    far = plan_list_element(REDIS, TARGET, b"l", 500_000, old=b"x", new=b"y", length=1_000_000)
    assert "every client waits" in said(far)
    with pytest.raises(BadUsage, match="from 0"):
        plan_list_element(REDIS, TARGET, b"l", -1, old=b"x", new=b"y")


def test_a_member_is_added_before_the_old_one_goes() -> None:
    plan = plan_set_member(REDIS, TARGET, b"s", old=b"a", new=b"b")
    assert list(plan.commands()) == [(b"SADD", b"s", b"b"), (b"SREM", b"s", b"a")]
    zset = plan_zset_member(REDIS, TARGET, b"z", b"a", old_score=1.0, new_score=2.0, renamed=b"b")
    assert list(zset.commands()) == [(b"ZADD", b"z", b"2", b"b"), (b"ZREM", b"z", b"a")]
    assert zset.undo == "ZADD z 1 a, then ZREM z b"
    assert list(plan_list_push(REDIS, TARGET, b"l", b"x", end="left").commands()) == [(b"LPUSHX", b"l", b"x")]
    assert list(plan_stream_entry(REDIS, TARGET, b"x", entry_id=b"1-1", fields=None).commands()) == [
        (b"XDEL", b"x", b"1-1")
    ]


@pytest.mark.parametrize(
    "build",
    [
        lambda: plan_hash_field(REDIS, TARGET, b"h", b"f", old=b"1", new=b"1"),
        lambda: plan_hash_field(REDIS, TARGET, b"h", b"f", old=None, new=None),
        lambda: plan_list_element(REDIS, TARGET, b"l", 0, old=b"x", new=b"x"),
        lambda: plan_set_member(REDIS, TARGET, b"s", old=b"x", new=b"x"),
        lambda: plan_zset_member(REDIS, TARGET, b"z", b"m", old_score=1.0, new_score=1.0),
        lambda: plan_zset_member(REDIS, TARGET, b"z", b"m", old_score=None, new_score=1.0, renamed=b"n"),
        lambda: plan_zset_member(REDIS, TARGET, b"z", b"m", old_score=1.0, new_score=float("nan")),
        lambda: plan_stream_entry(REDIS, TARGET, b"x", entry_id=None, fields=None),
        lambda: plan_stream_entry(REDIS, TARGET, b"x", entry_id=None, fields=[]),
        lambda: plan_rename(REDIS, TARGET, b"a", b"a"),
        lambda: plan_new(REDIS, TARGET, b"k", "hash", []),
        lambda: plan_new(REDIS, TARGET, b"k", "string", [b"x"]),
        lambda: plan_new(REDIS, TARGET, b"k", "item", b"x"),
        lambda: plan_new(REDIS, TARGET, b"k", "json", b"{"),
        lambda: plan_new(REDIS, TARGET, b"k", "string", b"x", ttl_s=0),
        lambda: plan_import(REDIS, TARGET, [], ()),
        lambda: plan_import(REDIS, TARGET, [(b"k", [(b"SET", b"k", b"v")])], (b"k",)),
        lambda: plan_import(REDIS, TARGET, [(b"k", [(b"SET", b"other", b"v")])], ()),
        lambda: plan_import(REDIS, TARGET, [(b"k", [(b"FLUSHALL",)])], ()),
    ],
)
def test_what_makes_no_sense_is_refused(build: Any) -> None:
    with pytest.raises(BadUsage) as refused:
        build()
    assert refused.value.line().isprintable()


@pytest.mark.parametrize("identity", [REPLICA, SENTINEL])
def test_only_a_primary_is_edited(identity: Identity) -> None:
    for build in (
        lambda: plan_set_string(identity, TARGET, value_of(b"old"), b"new"),
        lambda: plan_new(identity, TARGET, b"k", "string", b"x"),
        lambda: plan_rename(identity, TARGET, b"a", b"b"),
        lambda: plan_import(identity, TARGET, [(b"k", [(b"SET", b"k", b"v")])], ()),
    ):
        with pytest.raises((Refused, Unsupported), match=r"replica|Sentinel"):
            build()


def test_a_new_name_must_not_be_taken_and_lies_in_the_same_slot() -> None:
    plan = plan_rename(REDIS, TARGET, KeyFacts(b"a", has_ttl=False), b"b")
    assert [(check.command, check.expected) for check in plan.checks] == [
        ((b"EXISTS", b"a"), 1),
        ((b"EXISTS", b"b"), 0),
    ]
    assert plan.undo == "RENAMENX b a"
    assert "no TTL" in said(plan)
    with pytest.raises(Refused, match="different slots") as refused:
        plan_rename(CLUSTER, TARGET, b"a", b"b")
    assert refused.value.hint.endswith("such as {a}:new")
    assert list(plan_copy(CLUSTER, TARGET, b"a", b"{a}:new").commands()) == [(b"COPY", b"a", b"{a}:new")]
    assert hash_slot(b"a") == hash_slot(b"{a}:new")
    with pytest.raises(Unsupported, match="COPY"):
        plan_copy(REDIS, TARGET, b"a", b"b", copy_known=False)
    large = plan_copy(REDIS, TARGET, KeyFacts(b"a", size_bytes=50 * 1024 * 1024), b"b")
    assert large.risk == "high"
    assert "every client waits" in said(large)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_made_only_where_there_is_nothing(kind: Any) -> None:
    content: Any = {
        "string": b"v",
        "json": b"{}",
        "hash": [(b"f", b"v")],
        "stream": [(b"f", b"v")],
        "zset": [(b"m", 1.5)],
    }.get(kind, [b"e"])
    plan = plan_new(REDIS, TARGET, b"k", kind, content, ttl_s=60)
    making, expiring = plan.commands()
    assert making[1] == b"k"
    assert expiring == (b"EXPIRE", b"k", b"60")
    assert plan.checks == (Check((b"EXISTS", b"k"), 0, "the key k"),)
    assert plan.undo == "UNLINK k"
    assert plan.risk == "low"


def test_an_import_skips_what_exists_and_joins_what_is_given_twice() -> None:
    given: list[Any] = [
        (b"a", [(b"RPUSH", b"a", b"1")]),
        (b"b", [(b"SET", b"b", b"v")]),
        (b"a", [(b"PEXPIRE", b"a", b"9")]),
        (b"c", [(b"SET", b"c", b"v")]),
    ]
    plan = plan_import(REDIS, TARGET, given, frozenset((b"b",)))
    assert list(plan.commands()) == [(b"RPUSH", b"a", b"1"), (b"PEXPIRE", b"a", b"9"), (b"SET", b"c", b"v")]
    assert plan.fresh == ((b"a", 2), (b"c", 1))
    assert "write 2 new keys" in said(plan)
    assert "skipped: 1 key" in said(plan)


@given(st.floats(allow_nan=False))
def test_a_score_reads_back_to_the_last_bit(score: float) -> None:
    assert float(score_word(score)) == score


@given(BYTES, BYTES, BYTES, BYTES)
def test_whatever_the_bytes_the_preview_is_printable(key: bytes, field: bytes, old: bytes, new_: bytes) -> None:
    if old == new_:
        return
    plans = [
        plan_hash_field(REDIS, TARGET, key, field, old=old, new=new_),
        plan_set_member(REDIS, TARGET, key, old=old, new=new_),
        plan_rename(REDIS, TARGET, old, new_),
        plan_new(REDIS, TARGET, key, "stream", [(field, new_)]),
    ]
    for plan in plans:
        lines = (*plan.what, plan.title, plan.undo, *plan.preview_commands(), *(check.what for check in plan.checks))
        assert all(line.isprintable() for line in lines)


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists))
def test_any_json_document_is_taken_as_it_was_typed(document: object) -> None:
    text = json.dumps(document).encode()
    assert list(plan_new(REDIS, TARGET, b"k", "json", text).commands()) == [(b"JSON.SET", b"k", b"$", text)]
