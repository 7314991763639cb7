"""Every filter against the same question asked of one name after the other."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.keyspace.filter import find, parse_filter
from cachetui.keyspace.index import KeyIndex
from cachetui.source.globs import compiled
from cachetui.text import printable

NAMES = st.lists(st.binary(max_size=8).map(lambda data: bytes(b"abAB:*\n\x1b\xff1"[byte % 10] for byte in data)))
WORDS = st.text("abAB:*?1", min_size=1, max_size=4)


def index_of(names: list[bytes]) -> KeyIndex:
    index = KeyIndex()
    index.add(names)
    return index


def found(names: list[bytes], words: str) -> list[bytes]:
    matches = find(index_of(names), parse_filter(words))
    everything = list(matches)
    assert matches[:] == everything
    assert [matches.place(name) for name in everything] == list(range(len(matches)))
    return everything


@given(NAMES, WORDS)
def test_parts_and_globs(names: list[bytes], words: str) -> None:
    wanted = words.encode()
    folded = wanted == wanted.lower()

    def fits(name: bytes) -> bool:
        name = name.lower() if folded else name
        if any(sign in words for sign in "*?["):
            return compiled(wanted).fullmatch(name) is not None
        return wanted in name

    assert found(names, words) == sorted({name for name in names if fits(name)})


PATTERNS = ["a", "a.b", "^a", "^a|b", "^", "b$", "a|b", "[^a]b", r"\W", "a(?!b)", r"a\s", "(a+)+b", ".", "a*"]
PATTERNS += ["[!-_]b", r"\x41", "[a-b]", "[0-9]b", "(a|b)a"]


@given(NAMES, st.sampled_from(PATTERNS))
def test_regular_expressions(names: list[bytes], pattern: str) -> None:
    single = re.compile(pattern.encode(), re.IGNORECASE if pattern == pattern.lower() else 0)
    assert found(names, f"/{pattern}/") == sorted({name for name in names if single.search(name)})


@given(NAMES, st.text("abAB:", min_size=1, max_size=3))
def test_letters_in_their_order(names: list[bytes], letters: str) -> None:
    flags = re.IGNORECASE if letters == letters.lower() else 0
    single = re.compile(b".*".join(re.escape(letter.encode()) for letter in letters), flags | re.DOTALL)
    assert found(names, f"~{letters}") == sorted({name for name in names if single.search(name)})


@given(NAMES)
def test_as_shown(names: list[bytes]) -> None:
    assert found(names, r"\x1b") == sorted({name for name in names if r"\x1b" in printable(name)})


@pytest.mark.parametrize("words", ["7", "user:1*", "*9:x", "/9+:/", "/^user:1/", "~u9x", "user", "*"])
def test_many_ranges(words: str) -> None:
    names = [b"user:%d:x" % at for at in range(40_000)]
    index = KeyIndex()
    index.expect(len(names))
    index.add(names)
    matches = find(index, parse_filter(words))
    wanted = {
        "7": [name for name in names if b"7" in name],
        "user:1*": [name for name in names if name.startswith(b"user:1")],
        "*9:x": [name for name in names if name.endswith(b"9:x")],
        "/^user:1/": [name for name in names if name.startswith(b"user:1")],
        "/9+:/": [name for name in names if b"9:" in name],
        "~u9x": [name for name in names if b"9" in name],
    }.get(words, names)
    assert list(matches) == sorted(wanted)


def test_a_wrong_regular_expression_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="not a regular expression: missing"):
        parse_filter("/(/")


def test_it_can_be_stopped() -> None:
    assert len(find(index_of([b"a"]), parse_filter("a"), cancelled=lambda: True)) == 0
