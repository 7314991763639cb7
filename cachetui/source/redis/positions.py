"""Where in a command its first key stands: what decides which node of a cluster gets it."""

from __future__ import annotations

from collections.abc import Sequence

_KEYLESS = frozenset(
    (
        *(b"ACL", b"ASKING", b"AUTH", b"BGREWRITEAOF", b"BGSAVE", b"CLIENT", b"CLUSTER", b"COMMAND", b"COMMANDLOG"),
        *(b"CONFIG", b"DBSIZE", b"DEBUG", b"ECHO", b"FAILOVER", b"FLUSHALL", b"FLUSHDB", b"FUNCTION", b"HELLO"),
        *(b"INFO", b"KEYS", b"LATENCY", b"MODULE", b"MONITOR", b"PING", b"PUBLISH", b"PUBSUB", b"RANDOMKEY"),
        *(b"READONLY", b"READWRITE", b"REPLICAOF", b"ROLE", b"SCAN", b"SCRIPT", b"SELECT", b"SENTINEL"),
        *(b"SHUTDOWN", b"SLAVEOF", b"SLOWLOG", b"SWAPDB", b"TIME", b"WAIT", b"WAITAOF"),
    )
)
"""For the server that was given: their second word, where there is one, is no key."""

_AFTER_NUMBER = {
    **dict.fromkeys((b"EVAL", b"EVALSHA", b"EVAL_RO", b"EVALSHA_RO", b"FCALL", b"FCALL_RO", b"BLMPOP", b"BZMPOP"), 2),
    **dict.fromkeys((b"LMPOP", b"ZMPOP", b"SINTERCARD", b"ZINTERCARD", b"ZINTER", b"ZUNION", b"ZDIFF"), 1),
}
"""Where the number of keys stands; the first key is behind it, if there is one."""

_THIRD = frozenset((b"BITOP", b"MEMORY", b"OBJECT", b"XGROUP", b"XINFO"))
_SECOND = 1


def first_key(command: Sequence[bytes]) -> bytes | None:
    """Return the first key of `command`, None when it has none.

    >>> first_key((b"unlink", b"k")), first_key((b"EVALSHA", b"sha", b"2", b"k", b"l", b"x")), first_key((b"PING",))
    (b'k', b'k', None)
    >>> first_key((b"EVAL", b"return 1", b"0", b"x")), first_key((b"MEMORY", b"DOCTOR"))
    (None, None)
    >>> first_key((b"object", b"ENCODING", b"k")), first_key((b"XREAD", b"COUNT", b"1", b"STREAMS", b"s", b"0"))
    (b'k', b's')
    """
    name = command[0].upper() if command else b""
    at = _position(name, command)
    return command[at] if at is not None and at < len(command) else None


def _position(name: bytes, command: Sequence[bytes]) -> int | None:
    if name in _KEYLESS:
        return None
    number_at = _AFTER_NUMBER.get(name)
    if number_at is not None:
        number = command[number_at] if number_at < len(command) else b""
        return number_at + 1 if number.isdigit() and int(number) > 0 else None
    if name in _THIRD:
        return 2
    if name in (b"XREAD", b"XREADGROUP"):
        words = [word.upper() for word in command]
        return words.index(b"STREAMS") + 1 if b"STREAMS" in words else None
    return 3 if name == b"MIGRATE" else _SECOND
