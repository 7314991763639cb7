"""What a key's name says by the conventions of `cachetui.patterns`."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

TAG_TEMPLATE = "tag:{tag}"
VERSION_ENDING = b":version"

Kind = Literal["lock", "tag", "tag-expiry", "version", "stream", "values", "dead-letters"]

_BEHIND = re.compile(rb"behind:\{(.*:\d+)\}(|:values|:dead)$", re.DOTALL)
_BEHIND_KINDS: dict[bytes, Kind] = {b"": "stream", b":values": "values", b":dead": "dead-letters"}


class Convention(NamedTuple):
    """What a key's name says of it."""

    kind: Kind
    of: bytes
    """The locked key, the tag, the namespace, or the queue with its partition."""


def recognise(key: bytes, tag_template: str = TAG_TEMPLATE) -> Convention | None:
    """Return what a name says by convention, None where it says nothing.

    >>> recognise(b"lock:{page:1}"), recognise(b"tag:new"), recognise(b"shop:version"), recognise(b"user:1")
    (Convention(kind='lock', of=b'page:1'), Convention(kind='tag', of=b'new'), Convention(kind='version', of=b'shop'), None)
    """  # noqa: E501 - one line of output
    if key.startswith(b"lock:"):
        rest = key[5:]
        whole = rest.startswith(b"{") and rest.endswith(b"}") and rest.find(b"}") == len(rest) - 1
        return Convention("lock", rest[1:-1] if whole else rest)
    if found := _BEHIND.match(key):
        return Convention(_BEHIND_KINDS[found[2]], found[1])
    head, _, tail = tag_template.encode().partition(b"{tag}")
    for kind, name in (("tag-expiry", key[8:-1] if key.startswith(b"expiry:{") else b""), ("tag", key)):
        inside = name[len(head) : len(name) - len(tail)]
        if inside and name.startswith(head) and name.endswith(tail):
            return Convention("tag-expiry" if kind == "tag-expiry" else "tag", inside)
    if key.endswith(VERSION_ENDING) and len(key) > len(VERSION_ENDING):
        return Convention("version", key[: -len(VERSION_ENDING)])
    return None


def may_say(key: bytes) -> bool:
    """Tell quickly whether `recognise` could find something in a name, with the usual template.

    >>> may_say(b"tag:new"), may_say(b"user:1")
    (True, False)
    """
    return key.startswith(_BEGINNINGS) or key.endswith(VERSION_ENDING)


_BEGINNINGS = (b"lock:", b"behind:", b"tag:", b"expiry:{")
