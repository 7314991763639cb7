"""The gate for untrusted text: nothing raw gets through, and different bytes never look the same."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from cachetui import text
from cachetui.text import cells, clean_utf8, fit, from_printable, parse_size, printable

HOSTILE = [
    b"\x1b[2J",
    b"\x1b]0;title\x07",
    b"\x1bP1;2q\x1b\\",
    b"\x9b31m",
    "\u009b31m".encode(),
    b"a\r\nb",
    b"a\tb",
    b"\x08\x7f\x00",
    "\u202e\u2066\u200b\u200d\ufeff\u00ad".encode(),
    b"\xff\xfe",
    b"[red]x[/x][@click=app.quit]y",
    b"",
]


def test_hostile_bytes_are_shown_escaped() -> None:
    for data in HOSTILE:
        shown = printable(data)
        assert shown.isprintable()
        assert from_printable(shown) == data


@given(st.binary(max_size=200))
def test_any_bytes_become_printable_and_come_back(data: bytes) -> None:
    shown = printable(data)
    assert shown.isprintable()
    assert from_printable(shown) == data


@given(st.text(max_size=100))
def test_any_text_becomes_printable(data: str) -> None:
    shown = printable(data)
    assert shown.isprintable()
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp") for char in shown)


@given(st.binary(max_size=100), st.integers(1, 30))
def test_a_limit_holds(data: bytes, limit: int) -> None:
    assert len(printable(data, limit)) <= limit


def test_a_long_name_is_cut_quickly() -> None:
    assert printable(b"x" * 10_000_000, 20) == "x" * 19 + "…"


@given(st.text(st.characters(categories=("L", "N", "P", "S", "M", "Zs")), max_size=60), st.integers(0, 40))
def test_fit_always_takes_exactly_the_width(data: str, width: int) -> None:
    assert cells(fit(printable(data), width)) == width


def test_clean_text_is_only_what_needs_no_escaping() -> None:
    assert clean_utf8("naïve:日本".encode()) == "naïve:日本"
    assert [clean_utf8(data) for data in HOSTILE[:10]] == [None] * 10


def test_sizes_are_read_as_people_write_them() -> None:
    assert [parse_size(word) for word in ("100", "1kb", "1 MB", "2GiB", "0")] == [100, 1024, 1024**2, 2 * 1024**3, 0]
    for bad in ("", "x", "-1", "1 pb", "4gb\x1b"):
        try:
            parse_size(bad)
        except ValueError as error:
            assert str(error).isprintable()
        else:
            raise AssertionError(bad)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e18, max_value=1e18))
def test_figures_keep_a_stable_width(value: float) -> None:
    assert len(text.size(value)) <= 8
    assert len(text.count(value)) <= 9
    assert text.duration(value)
