"""Names: those that stand beside a key in the same slot of a cluster, and the conventions others can rely on.

| name | what it is |
|---|---|
| `lock:{KEY}` | who may fill KEY: `r:...` a reader that loads, `w:...` a writer (a KEY with a hash tag keeps its own) |
| `tag:NAME` | the set of the keys with a tag; `expiry:{tag:NAME}` says until when each belongs to it |
| `NAMESPACE:version` | the number that the keys `NAMESPACE:NUMBER:...` carry |
| `behind:{QUEUE:0}` | a write-behind stream; `...:values` its latest values, `...:dead` its dead letters |
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from functools import lru_cache
from typing import Literal, NamedTuple

SLOTS = 16384
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


def slot(key: bytes) -> int:
    """Return the cluster slot of a key.

    >>> slot(b"foo"), slot(b"{foo}bar") == slot(b"foo")
    (12182, True)
    """
    return crc_hqx(_tag(key) or key, 0) % SLOTS


def _tag(key: bytes) -> bytes:
    begin = key.find(b"{")
    end = key.find(b"}", begin + 1) if begin >= 0 else -1
    return key[begin + 1 : end] if end > 0 else b""


def beside(word: bytes, key: bytes) -> bytes:
    """Return `word:` and the key, as a name in the key's own slot.

    >>> beside(b"lock", b"a"), beside(b"lock", b"{user:1}:cart"), slot(beside(b"lock", b"a}b")) == slot(b"a}b")
    (b'lock:{a}', b'lock:{user:1}:cart', True)
    """
    if _tag(key):
        return word + b":" + key
    if key and b"}" not in key:
        return word + b":{" + key + b"}"
    return b"%b:{%d}:%b" % (word, _number_in(slot(key)), key)


@lru_cache(4096)
def _number_in(wanted: int) -> int:
    return next(number for number in range(SLOTS * 100) if slot(b"%d" % number) == wanted)


def lock_of(key: bytes) -> bytes:
    """Return the name of a key's lock."""
    return beside(b"lock", key)


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
