"""Snapshots survive the way into a recording and back, by their types alone."""

from __future__ import annotations

import dataclasses
import json
import types
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui import errors, model
from cachetui.errors import CacheError, Denied, ServerError, TimedOut, from_reply
from cachetui.model import codec
from cachetui.model.trouble import error_of, trouble_of

SNAPSHOTS = typing.get_args(model.Snapshot)


def of_type(wanted: typing.Any) -> st.SearchStrategy[typing.Any]:
    """Return a strategy for any value that an annotation of the model allows."""
    plain = {
        int: st.integers(-(2**63), 2**64),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: st.text(max_size=8),
        bytes: st.binary(max_size=8),
        bool: st.booleans(),
    }
    if wanted in plain:
        return plain[wanted]
    if dataclasses.is_dataclass(wanted):
        hints = typing.get_type_hints(wanted)
        return st.builds(wanted, **{f.name: of_type(hints[f.name]) for f in dataclasses.fields(wanted)})
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        return st.none() | of_type(next(t for t in arguments if t is not type(None)))
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return st.lists(of_type(arguments[0]), max_size=2).map(tuple)
        return st.tuples(*(of_type(t) for t in arguments))
    if origin is dict:
        return st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2)
    raise AssertionError(f"a type the recording does not know: {wanted}")


@pytest.mark.parametrize("cls", SNAPSHOTS)
def test_every_snapshot_comes_back_equal(cls: type) -> None:
    @given(of_type(cls))
    def check(snapshot: typing.Any) -> None:
        document = json.loads(json.dumps(codec.snapshot_to_plain(snapshot)))
        assert codec.snapshot_from_plain(document) == snapshot

    check()


def test_fields_of_a_newer_version_are_ignored() -> None:
    document = {"type": "SlowLog", "data": {"taken_at": 1, "server": {"kind": "redis", "moon": 1}, "mood": "good"}}
    assert codec.snapshot_from_plain(document) == model.SlowLog(1.0, model.Identity("redis"))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"type": "Stats"},
        {"type": "Stats", "data": {}},
        {"type": "Stats", "data": []},
        {"type": "Exploit", "data": {}},
        {"type": "Stats", "data": {"taken_at": "soon", "server": {"kind": "redis"}}},
        {"type": "Stats", "data": {"taken_at": 1, "server": {"kind": "redis"}, "extra": 5}},
        {"type": "Stats", "data": {"taken_at": 1, "server": {"kind": "redis"}, "hits_total": "many"}},
        {"type": "ScanStep", "data": {"taken_at": 1, "keys": [{"b64": "%%%"}], "cursor": None}},
        {"type": "ScanStep", "data": {"taken_at": 1, "keys": ["plain"], "cursor": None}},
    ],
)
def test_malformed_documents_are_one_error(document: dict[str, typing.Any]) -> None:
    with pytest.raises(ValueError, match=r"not a snapshot|unknown"):
        codec.snapshot_from_plain(document)


@pytest.mark.parametrize(
    "error",
    [TimedOut("silent", "wait"), Denied("no", "ask"), from_reply("OOM command not allowed"), from_reply("ERR odd")],
)
def test_a_trouble_becomes_its_error_again(error: CacheError) -> None:
    again = error_of(trouble_of(error, 5.0))
    assert type(again) is type(error) and again.line() == error.line()
    if isinstance(error, ServerError):
        assert isinstance(again, ServerError) and again.word == error.word


def test_every_error_has_a_code_of_its_own() -> None:
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, CacheError)]
    assert len({cls.code for cls in classes}) == len(classes) > 12
    assert type(error_of(model.Trouble("from the future", "m", "", 1.0))) is CacheError
