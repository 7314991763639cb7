"""Which keys are told to belong to a version."""

from __future__ import annotations

import doctest
import re

import pytest

from cachetui.errors import BadUsage
from cachetui.keyspace import versions
from cachetui.keyspace.versions import version_rule
from cachetui.model import Selection
from cachetui.source.globs import compiled


def test_doctests() -> None:
    assert doctest.testmod(versions).failed == 0


@pytest.mark.parametrize(
    ("key", "inside", "outside"),
    [
        (
            b"shop:version",
            (b"shop:7:a", b"shop:v7", b"V7/shop/a", b"shop.7.b"),
            (b"shop:71:a", b"shop:6:7", b"x:shop:7:a"),
        ),
        (b"version:shop:cart", (b"shop:cart:7:a", b"7:shop:cart:x"), (b"shop:7:a", b"shop:cart:8")),
        (b"catalog", (b"catalog:7:a", b"v7-catalog-x"), (b"catalog", b"other:7:a")),
        (b"version", (b"7:a", b"v7"), (b"77:a", b"a:7")),
        (b"a*[b]:ver", (b"a*[b]:7:x",), (b"aXb:7:x",)),
        (b"\xff\n:gen", (b"\xff\n:7:a",), (b"\xfe\n:7:a",)),
    ],
)
def test_names_of_a_version(key: bytes, inside: tuple[bytes, ...], outside: tuple[bytes, ...]) -> None:
    rule = version_rule(key, 7)
    glob, regex = compiled(rule.pattern or b"*"), re.compile(rule.regex)
    assert [name for name in inside if not (glob.fullmatch(name) and regex.search(name))] == []
    assert [name for name in outside if glob.fullmatch(name) and regex.search(name)] == []
    assert not (glob.fullmatch(key) and regex.search(key))


def test_a_pattern_of_ones_own() -> None:
    assert version_rule(b"k", 12, b"shop:v{version}:*") == Selection(pattern=b"shop:v12:*")
    with pytest.raises(BadUsage, match="version"):
        version_rule(b"k", 12, b"shop:*")
