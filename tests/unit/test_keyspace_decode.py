"""Values as text: nothing is loaded, nothing grows, nothing reaches the screen raw."""

import gzip
import json
import pickle
import zlib

from hypothesis import given
from hypothesis import strategies as st

from cachetui import text
from cachetui.keyspace.decode import LINES, UNPACKED_BYTES, describe, preview
from cachetui.model import KeyFacts, Value, ValueItem


def string(data: bytes, total: int | None = None) -> Value:
    return Value(0.0, KeyFacts(b"k", type="string"), (ValueItem(b"", data, total_bytes=total),), total)


def test_json_is_laid_out_and_its_tokens_stay() -> None:
    described = describe(b'{"a":1.0e5,"b":[],"a":{"c":"x\\u202ey, [1]"}}')
    assert described.kind == "JSON"
    assert described.lines == ("{", '  "a": 1.0e5,', '  "b": [],', '  "a": {', '    "c": "x\\u202ey, [1]"', "  }", "}")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_laid_out_json_is_the_same_json(document: object) -> None:
    described = describe(json.dumps({"it": document}).encode())
    assert described.kind == "JSON"
    assert json.loads("\n".join(described.lines)) == {"it": document}


def test_deep_and_broken_json_is_shown_as_text() -> None:
    assert describe(b"[" * 50_000 + b"]" * 50_000).kind == "text"
    assert describe(b"[" * 50_000).kind == "text"
    assert describe(b'{"a": ').kind == "text"
    assert describe(b"[" + b"9" * 5000 + b"]").kind == "JSON"


def test_kinds() -> None:
    assert describe(b"").kind == "empty"
    assert describe(b"-17").kind == "integer"
    assert describe("grüße\n2".encode()).lines == ("grüße", "2")
    assert describe(b'O:8:"stdClass":0:{}').kind == "PHP serialized (not loaded)"
    assert describe(b"\xac\xed\x00\x05sr\x00").kind == "Java object (not loaded)"
    assert describe(b"\x00\x01").kind == "binary"
    assert describe("abcü".encode()[:-1]).kind == "text"


def test_hyperloglog_header() -> None:
    described = describe(b"HYLL\x01\x00\x00\x00" + (1234).to_bytes(8, "little") + b"\x7f\xff")
    assert described.kind == "HyperLogLog"
    assert described.lines[0] == "sparse, cached count 1,234"
    stale = describe(b"HYLL\x00\x00\x00\x00" + (1 << 63).to_bytes(8, "little"))
    assert stale.lines[0] == "dense, count not cached"


class Bomb:
    """A pickle that leaves a mark when it is loaded."""

    loaded = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _mark, ()


def _mark() -> None:
    Bomb.loaded = True


def test_pickles_are_named_and_never_loaded() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert describe(pickle.dumps(Bomb(), protocol)).kind == "pickle (not loaded)"
    assert describe(gzip.compress(pickle.dumps(Bomb()))).kind == "gzip of pickle (not loaded)"
    assert not Bomb.loaded


def test_compressed_data_is_unpacked_within_bounds() -> None:
    assert describe(gzip.compress(b'{"a": 1}')).kind == "gzip of JSON"
    assert describe(zlib.compress(b"hello")).lines == ("hello",)
    bomb = gzip.compress(b"a" * 50_000_000)
    described = describe(bomb)
    assert described.kind == "gzip of text"
    assert described.lines[-1].startswith("… cut after 64.0KB")
    assert sum(map(len, described.lines)) < UNPACKED_BYTES + 100
    cut = describe(gzip.compress(b"hello" * 1000)[:40])
    assert cut.lines[-1].startswith("… cut after") or cut.kind == "binary"
    assert describe(b"\x1f\x8b\x08" + b"\xff" * 20).kind == "binary"


def test_lines_are_bounded() -> None:
    assert len(describe(b"\n" * 1_000_000).lines) == LINES + 1
    assert len(describe(b"\x00" * 1_000_000).lines) == LINES + 1
    assert len(describe(b"[" + b"1," * 100_000 + b"1]").lines) == LINES + 1


@given(st.binary(max_size=300), st.integers(1, 60), st.integers(1, 20))
def test_previews_are_safe_and_fit(data: bytes, width: int, rows: int) -> None:
    items = (ValueItem(data, data, 1.5), ValueItem(b"x", data, None, 5.0))
    for value in (
        string(data),
        Value(0.0, KeyFacts(b"k", type="hash"), items, 9, ("field", "value")),
        Value(0.0, KeyFacts(b"k", type="zset"), items, 2, ("member", "score")),
        Value(0.0, KeyFacts(b"k", type="set"), items, None, ("member",)),
        Value(0.0, KeyFacts(b"k", exists=False), note=data.decode("latin-1")),
    ):
        lines = preview(value, width=width, rows=rows)
        assert 0 < len(lines) <= rows
        assert all(line.isprintable() and text.cells(line) <= width for line in lines)


def test_a_string_is_headed_by_what_it_is_and_wrapped() -> None:
    assert preview(string(b"x" * 25, 100), width=10, rows=9) == ["text, 100…", "xxxxxxxxxx", "xxxxxxxxxx", "xxxxx"]
    assert preview(string(b"x" * 25), width=10, rows=3) == ["text, 25B", "xxxxxxxxxx", "…"]


def test_elements_stand_in_columns() -> None:
    items = (ValueItem(b"name", b"a\x1b[1m"), ValueItem(b"n", b"2"))
    value = Value(0.0, KeyFacts(b"k", type="hash"), items, 50, ("field", "value"))
    assert preview(value, width=30, rows=9) == [
        "field  value",
        "name   a\\x1b[1m",
        "n      2",
        "… first 2 of 50",
    ]
    ranked = Value(0.0, KeyFacts(b"k"), (ValueItem(b"", b"alice", 10.0),), 1, ("member", "score"))
    assert preview(ranked, width=30, rows=9) == ["       score  member", "          10  alice"]
