"""Commands are rendered exactly, visibly and in a form that can be read back."""

from __future__ import annotations

import codecs
import doctest
import re

from hypothesis import given
from hypothesis import strategies as st

from cachetui.actions.plan import commands, keys
from cachetui.actions.plan.commands import PerKey, digest, preview, render

WORDS = st.lists(st.binary(max_size=40), min_size=1, max_size=5).map(tuple)


def test_doctests() -> None:
    for module in (commands, keys):
        assert doctest.testmod(module).failed == 0


def read_back(line: str) -> tuple[bytes, ...]:
    """Split a rendered line as redis-cli does."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line)
    return tuple(codecs.escape_decode(quoted.encode())[0] if not plain else plain.encode() for quoted, plain in words)


@given(WORDS)
def test_rendered_commands_read_back_byte_for_byte(command: tuple[bytes, ...]) -> None:
    line = render(command)
    assert line.isprintable()
    assert read_back(line) == command


@given(WORDS, WORDS)
def test_two_commands_never_look_alike(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> None:
    assert (render(one) == render(other)) == (one == other)
    assert (digest([one]) == digest([other])) == (one == other)


def test_digest_knows_where_words_and_commands_end() -> None:
    assert (
        len({digest([(b"a", b"b")]), digest([(b"ab",)]), digest([(b"a",), (b"b",)]), digest([(b"a", b"", b"b")])}) == 4
    )


def test_a_long_argument_is_cut_and_its_length_named() -> None:
    line = render((b"UNLINK", b"k" * 1_000_000))
    assert line.endswith("...(1,000,000 bytes)")
    assert len(line) < 600


def test_preview_counts_the_rest() -> None:
    steps = PerKey((b"UNLINK",), tuple(b"k%d" % n for n in range(12_347)))
    lines = preview(steps, 2)
    assert lines == ["UNLINK k0", "UNLINK k1", "... and 12,345 more"]
    assert preview(steps[:2], 2) == ["UNLINK k0", "UNLINK k1"]


def test_per_key_is_a_sequence_of_commands() -> None:
    steps = PerKey((b"EXPIRE",), (b"a", b"b", b"c"), (b"60",))
    assert list(steps) == [(b"EXPIRE", b"a", b"60"), (b"EXPIRE", b"b", b"60"), (b"EXPIRE", b"c", b"60")]
    assert list(steps[1:]) == list(steps)[1:]
    assert steps[-1] == (b"EXPIRE", b"c", b"60")
    assert len(steps) == 3
