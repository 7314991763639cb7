"""A value as lines: rows with hints, sections, a series, scrolled and within bounds."""

from __future__ import annotations

import gzip
import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui import text
from cachetui.errors import BadConfig
from cachetui.keyspace.decode import DECODER_NAMES, LINES, DecoderChoices, hint, lines_of, preview
from cachetui.keyspace.decode.choices import CHOICES
from cachetui.keyspace.decode.plot import PLOT_ROWS, plot
from cachetui.model import KeyFacts, Value, ValueItem, ValueSection


def string(data: bytes, total: int | None = None) -> Value:
    return Value(0.0, KeyFacts(b"k", type="string"), (ValueItem(b"", data, total_bytes=total),), total)


def hash_(count: int, total: int | None = None, **more: object) -> Value:
    items = tuple(ValueItem(b"f%d" % number, b"v%d" % number) for number in range(count))
    return Value(0.0, KeyFacts(b"k", type="hash"), items, total or count, ("field", "value"), **more)  # type: ignore[arg-type]


GROUPS = ValueSection(
    "groups", ("name", "pending", "lag"), (("mail", "12", "-"), ("a\\x1b", "1000", "7"), ("longer name", "0", "12"))
)


# Scrolling


def test_a_preview_is_a_slice_of_the_lines() -> None:
    value = string(json.dumps({"a": list(range(20))}).encode())
    lines = lines_of(value, width=40)
    assert lines[0] == "JSON, 77B"
    assert preview(value, width=40, rows=100) == lines
    assert preview(value, width=40, rows=5, offset=3) == [*lines[3:7], "…"]
    assert preview(value, width=40, rows=5, offset=len(lines) - 2) == lines[-2:]
    assert preview(value, width=40, rows=5, offset=len(lines) + 5) == []
    assert preview(value, width=40, rows=100, folded=True)[1:] == ["{", '  "a": […20]', "}"]


def test_a_scrolled_collection_says_how_far_it_is_seen() -> None:
    value = hash_(10, 50)
    assert lines_of(value, width=20)[-1] == "… first 10 of 50"
    assert preview(value, width=20, rows=4) == ["field  value", "f0     v0", "f1     v1", "… first 2 of 50"]
    assert preview(value, width=20, rows=3, offset=5) == ["f4     v4", "f5     v5", "… first 6 of 50"]
    assert preview(value, width=20, rows=3, offset=9) == ["f8     v8", "f9     v9", "… first 10 of 50"]
    later = hash_(10, 50, start=b"17")
    assert lines_of(later, width=20)[-1] == "… 10 of 50"


def test_a_part_of_a_string_says_so() -> None:
    assert lines_of(string(b"abc", 10), width=40)[0] == "text, 10B, first 3B"
    assert lines_of(string(b'{"a": [1, 2', 10_000), width=60)[0] == "JSON (its beginning), 9.8KB, first 11B"


@given(
    st.binary(max_size=200),
    st.tuples(st.integers(1, 60), st.integers(1, 20), st.integers(0, 30)),
    st.sampled_from((None, *DECODER_NAMES)),
    st.booleans(),
)
def test_whatever_comes_is_safe_and_fits(
    data: bytes, window: tuple[int, int, int], decoder: str | None, folded: bool
) -> None:
    width, rows, offset = window
    cell = text.printable(data)
    section = ValueSection(cell, (cell, "n"), ((cell, "1"), (cell,)))
    points = tuple((float(at), float(byte)) for at, byte in enumerate(data))
    for value in (
        string(data, 1000),
        Value(0.0, KeyFacts(b"k"), (ValueItem(data, data, 1.5),), 9, ("a", "b", "c"), sections=(section,)),
        Value(0.0, KeyFacts(b"k"), (), 9, sections=(section,), points=points),
    ):
        everything = lines_of(value, width=width, decoder=decoder, folded=folded)
        shown = preview(value, width=width, rows=rows, decoder=decoder, folded=folded, offset=offset)
        assert len(shown) == min(rows, max(0, len(everything) - offset))
        assert all(line.isprintable() and text.cells(line) <= width for line in (*everything, *shown))


def test_lines_are_bounded_in_number() -> None:
    assert len(lines_of(string(b"x" * 1_000_000), width=1)) <= LINES + 3
    assert len(lines_of(hash_(5000), width=30)) <= LINES + 3
    many = ValueSection("t", ("a",), tuple((str(number),) for number in range(5000)))
    lines = lines_of(hash_(1, sections=(many,)), width=30)
    assert lines[-1] == "… first 200 of 5,000"


# Hints, sections, series


def test_elements_show_what_is_inside_them() -> None:
    assert hint(b"plain \x1b[1m", 40) == "plain \\x1b[1m"
    assert hint(b'{"a": 1}', 40) == '{"a": 1}'
    assert hint(gzip.compress(b'{"a": {"b": 1}}'), 60) == '[gzip of JSON] { "a": {…1} }'
    assert hint(b"1700000000", 80) == "1700000000  as a time: 2023-11-14 22:13:20 UTC (Unix seconds)"
    assert hint(b"\x00\xff", 40) == "\\x00\\xff"
    assert hint(b"\x00\xff", 80, "hex").startswith("[binary] 000000  00 ff")
    assert len(hint(gzip.compress(b"x" * 1000), 40)) <= 41


def test_sections_are_tables_under_the_rows() -> None:
    lines = lines_of(hash_(1, sections=(GROUPS, GROUPS)), width=60)
    assert lines == [
        "field  value",
        "f0     v0",
        *2
        * [
            "",
            "groups",
            "name         pending  lag",
            "mail              12    -",
            "a\\x1b           1000    7",
            "longer name        0   12",
        ],
    ]
    empty = Value(0.0, KeyFacts(b"k"), note="TSDB-TYPE: facts only", sections=(GROUPS,))
    assert lines_of(empty, width=60)[:3] == ["TSDB-TYPE: facts only", "", "groups"]
    assert lines_of(Value(0.0, KeyFacts(b"k"), sections=(GROUPS,)), width=60)[0] == "groups"


def test_a_series_is_drawn() -> None:
    points = tuple((1_700_000_000.0 + at, float(at % 50)) for at in range(200))
    for ascii_only in (False, True):
        lines = plot(points, width=70, ascii_only=ascii_only)
        assert len(lines) == PLOT_ROWS
        assert all(text.cells(line) <= 70 for line in lines)
        assert "".join(lines).isascii() == ascii_only
        assert lines[0].split()[0] == "49" and lines[-2].split()[0] == "1"
        assert lines[-1].split() == ["2023-11-14", "22:13:20", "UTC", "2023-11-14", "22:16:39", "UTC"]
    value = Value(0.0, KeyFacts(b"k"), points=points)
    assert len(lines_of(value, width=70)) == PLOT_ROWS


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=20), st.integers(0, 80))
def test_no_series_breaks_the_plot(points: list[tuple[float, float]], width: int) -> None:
    lines = plot(points, width=width)
    assert len(lines) in (0, PLOT_ROWS)
    assert all(line.isprintable() and text.cells(line) <= width for line in lines)


def test_a_flat_series_and_a_gap() -> None:
    flat = plot([(0.0, 5.0), (10.0, 5.0)], width=31)
    assert sum("█" in line or "▄" in line for line in flat) > 0
    assert all(line[12:30].strip() == "" for line in flat[:-1])


# Choices


def test_the_longest_prefix_chooses() -> None:
    choices = DecoderChoices()
    choices.choose(b"a:", "json")
    choices.choose(b"a:b:", "msgpack")
    assert [choices.of(key) for key in (b"a:1", b"a:b:1", b"a:b", b"z", b"")] == ["json", "msgpack", "json", None, None]
    choices.choose(b"", "hex")
    assert choices.of(b"z") == "hex"
    choices.choose(b"a:b:", None)
    assert choices.of(b"a:b:1") == "json"
    with pytest.raises(ValueError, match="no decoder"):
        choices.choose(b"a:", "no\x1bsuch")


def test_choices_are_kept_in_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "state" / "decoders.json"
    assert len(DecoderChoices.load(path)) == 0
    choices = DecoderChoices()
    choices.choose(b"\xff\x1b", "gzip")
    choices.choose("ü:".encode(), "text")
    choices.save(path)
    choices.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["decoders.json"]
    again = DecoderChoices.load(path)
    assert (again.of(b"\xff\x1bx"), again.of("ü:1".encode())) == ("gzip", "text")


def test_choices_are_bounded(tmp_path: Path) -> None:
    choices = DecoderChoices()
    for number in range(CHOICES + 10):
        choices.choose(b"%d:" % number, "hex")
    assert len(choices) == CHOICES
    assert choices.of(b"0:x") is None and choices.of(b"509:x") == "hex"


def test_a_file_that_is_none_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "decoders.json"
    for content in ("", "[]", '{"choices": 5}', '{"choices": [{"decoder": "hex"}]}', "[" * 100_000):
        path.write_text(content)
        with pytest.raises(BadConfig, match="holds no choices"):
            DecoderChoices.load(path)
    path.write_text('{"choices": [{"prefix": "a", "decoder": "of-tomorrow"}, {"prefix": "b", "decoder": "hex"}]}')
    assert DecoderChoices.load(path).of(b"b") == "hex"
