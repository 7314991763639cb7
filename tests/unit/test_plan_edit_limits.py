"""Plans of edits on odd input: too large, any bytes, any score, commands that do not belong there."""

from __future__ import annotations

import doctest
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.actions.plan import (
    edit,
    fields,
    new,
    plan_hash_field,
    plan_import,
    plan_new,
    plan_rename,
    plan_set_member,
    plan_set_string,
)
from cachetui.actions.plan.edit import LARGEST_BYTES
from cachetui.actions.plan.new import score_word
from cachetui.errors import BadUsage, Refused
from cachetui.model import Identity, KeyFacts, Value, ValueItem
from cachetui.source.base import Command

REDIS = Identity("redis", "7.0.15", role="primary")
TARGET = "redis://127.0.0.1:6379/0"
BYTES = st.binary(max_size=30)


def test_doctests() -> None:
    for module in (edit, fields, new):
        assert doctest.testmod(module).failed == 0


def test_too_much_for_one_command_is_refused_in_one_line() -> None:
    large = b"x" * (LARGEST_BYTES + 1)
    value = Value(0.0, KeyFacts(b"k", type="string"), (ValueItem(b"", b"old", total_bytes=3),))
    for build in (
        lambda: plan_set_string(REDIS, TARGET, value, large),
        lambda: plan_new(REDIS, TARGET, b"k", "list", [large]),
        lambda: plan_hash_field(REDIS, TARGET, b"k", b"f", old=None, new=large),
        lambda: plan_import(REDIS, TARGET, [(b"k", [(b"SET", b"k", large)])], ()),
    ):
        with pytest.raises(Refused, match="at most") as refused:
            build()
        assert len(refused.value.line()) < 300
        assert refused.value.line().isprintable()


@pytest.mark.parametrize(
    ("key", "command"),
    [
        (b"ASYNC", (b"flushall", b"ASYNC")),
        (b"k", (b"RENAME", b"k", b"other")),
        (b"k", (b"COPY", b"k", b"other", b"REPLACE")),
        (b"SET", (b"CONFIG", b"SET", b"dir", b"/")),
        (b"return 1", (b"EVAL", b"return 1", b"0")),
        (b"k", (b"\x1b]0;title\x07", b"k")),
    ],
)
def test_an_import_holds_nothing_but_writes_of_one_key(key: bytes, command: Command) -> None:
    with pytest.raises(BadUsage, match="is not imported") as refused:
        plan_import(REDIS, TARGET, [(key, [(b"SET", key, b"v"), command])], ())
    assert refused.value.line().isprintable()


@given(st.floats(allow_nan=False))
def test_a_score_reads_back_to_the_last_bit(score: float) -> None:
    assert float(score_word(score)) == score


@given(BYTES, BYTES, BYTES, BYTES)
def test_whatever_the_bytes_the_preview_is_printable(key: bytes, field: bytes, old: bytes, data: bytes) -> None:
    data += b"\x9b" if old == data else b""
    plans = [
        plan_hash_field(REDIS, TARGET, key, field, old=old, new=data),
        plan_set_member(REDIS, TARGET, key, old=old, new=data),
        plan_rename(REDIS, TARGET, old, data),
        plan_new(REDIS, TARGET, key, "stream", [(field, data)]),
    ]
    for plan in plans:
        lines = (*plan.what, plan.title, plan.undo, *plan.preview_commands(), *(check.what for check in plan.checks))
        assert all(line.isprintable() for line in lines)


DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists
)


@given(DOCUMENTS)
def test_any_json_document_is_taken_as_it_was_typed(document: object) -> None:
    text = json.dumps(document).encode()
    assert list(plan_new(REDIS, TARGET, b"k", "json", text).commands()) == [(b"JSON.SET", b"k", b"$", text)]
