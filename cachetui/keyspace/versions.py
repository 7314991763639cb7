"""Which keys belong to one version of a namespace, told by the name of its version key."""

from __future__ import annotations

import re

from cachetui.errors import BadUsage
from cachetui.model import Selection

PLACE = b"{version}"
"""Stands for the version in a pattern."""

_WORDS = frozenset((b"version", b"ver", b"v", b"gen", b"generation", b"epoch"))
_PARTS = re.compile(rb"[:./|#]")
_BETWEEN = rb"[^0-9A-Za-z]"
_SIGNS = re.compile(rb"([*?\[\]\\^])")


def version_rule(key: bytes, version: int, pattern: bytes | None = None) -> Selection:
    r"""Return the rule for the keys of one version of the namespace whose version key is `key`.

    `pattern` is a glob with `{version}` in it; without one, names are taken that begin with
    the namespace and the version, in either order, with or without a `v` before the number.
    Raises BadUsage for a pattern without `{version}`.

    >>> version_rule(b"shop:version", 7).pattern
    b'*shop*'
    >>> import re
    >>> rule = re.compile(version_rule(b"shop:version", 7).regex)
    >>> [bool(rule.search(name)) for name in (b"shop:7:a", b"shop:v7:a", b"v7:shop:a", b"shop:17:a", b"shop:8:7")]
    [True, True, True, False, False]
    """
    number = b"%d" % version
    if pattern is not None:
        if PLACE not in pattern:
            raise BadUsage("the pattern of a version has {version} in it", "e.g. --version-pattern 'shop:v{version}:*'")
        return Selection(pattern=pattern.replace(PLACE, number))
    space = b":".join(part for part in _PARTS.split(key) if part.lower() not in _WORDS)
    number = b"[vV]?" + re.escape(number)
    if not space:
        return Selection(regex=b"^%b(?:%b|$)" % (number, _BETWEEN))
    # The signs between the parts of the namespace may be any.
    named = _BETWEEN.join(re.escape(part) for part in space.split(b":"))
    either = b"|".join((named + _BETWEEN + number, number + _BETWEEN + named))
    glob = b"*" + b"*".join(_SIGNS.sub(rb"\\\1", part) for part in space.split(b":")) + b"*"
    return Selection(pattern=glob, regex=b"^(?:%b)(?:%b|$)" % (either, _BETWEEN))
