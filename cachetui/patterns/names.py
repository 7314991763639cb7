"""Names: those that stand beside a key in the same slot of a cluster, and the conventions others can rely on.

| name | what it is |
|---|---|
| `lock:{KEY}` | who may fill KEY: `r:...` a reader that loads, `w:...` a writer (a KEY with a hash tag keeps its own) |
| `tag:NAME` | the set of the keys with a tag; `expiry:{tag:NAME}` says until when each belongs to it |
| `NAMESPACE:version` | the number that the keys `NAMESPACE:NUMBER:...` carry |
| `behind:{QUEUE:0}` | a write-behind stream; `...:values` its latest values, `...:dead` its dead letters |
"""

from __future__ import annotations

from binascii import crc_hqx
from functools import lru_cache

from cachetui.model.conventions import TAG_TEMPLATE, VERSION_ENDING, Convention, recognise

__all__ = ["SLOTS", "TAG_TEMPLATE", "VERSION_ENDING", "Convention", "beside", "lock_of", "recognise", "slot"]

SLOTS = 16384


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
