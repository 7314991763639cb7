"""Globs as Redis reads them."""

import time

import pytest

from cachetui.source.globs import compiled
from tests.servers.launch import Server

GLOBS = [
    b"*",
    b"a*",
    b"*a",
    b"a*b*c",
    b"?",
    b"a?c",
    b"[ab]c",
    b"[^ab]c",
    b"[a-c]x",
    b"[c-a]x",
    b"\\*",
    b"a\\",
    b"[a",
    b"",
    b"[]a",
]
NAMES = [b"", b"a", b"ab", b"abc", b"aXbXc", b"bc", b"zc", b"cx", b"*", b"a\\", b"[a", b"\n", b"a\nc", b"\xff"]


def test_the_same_as_a_real_server_says(redis7: Server) -> None:
    with redis7.client() as client:
        client.mset(dict.fromkeys(NAMES, b"1"))
        for glob in GLOBS:
            wanted = sorted(client.scan_iter(match=glob, count=1000))
            assert sorted(name for name in NAMES if compiled(glob).fullmatch(name)) == wanted, glob


@pytest.mark.parametrize("glob", [b"*a" * 60 + b"*b", b"*" * 200 + b"b", b"*?" * 60 + b"b"])
def test_no_pattern_takes_for_ever(glob: bytes) -> None:
    begun = time.process_time()
    assert compiled(glob).fullmatch(b"a" * 5000) is None
    assert time.process_time() - begun < 5
