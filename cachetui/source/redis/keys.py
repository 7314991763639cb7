"""What is known of keys without reading their values: two pipelines, whatever the number of keys."""

from __future__ import annotations

from collections.abc import Sequence

from cachetui.errors import CacheError
from cachetui.model import KeyFacts
from cachetui.source.redis.connection import Argument
from cachetui.source.redis.replies import as_int, as_text

LENGTH_COMMANDS = {
    "string": "STRLEN",
    "hash": "HLEN",
    "list": "LLEN",
    "set": "SCARD",
    "zset": "ZCARD",
    "stream": "XLEN",
    "vectorset": "VCARD",
    "array": "ARCOUNT",
}
"""How long a value is, by its TYPE. All are O(1)."""

MISSING = "none"
"""TYPE of a key that is not there."""


def first_questions(key: bytes, *, size: bool, policy: str | None) -> list[Sequence[Argument]]:
    """Return the first pipeline's commands for one key; none of them counts as a use of the key."""
    commands: list[Sequence[Argument]] = [("TYPE", key), ("PTTL", key)]
    if size:
        commands += [("OBJECT", "ENCODING", key), ("MEMORY", "USAGE", key, "SAMPLES", 5)]
        if policy is not None:
            commands.append(("OBJECT", "FREQ" if "lfu" in policy else "IDLETIME", key))
    return commands


def length_question(key: bytes, facts: KeyFacts) -> Sequence[Argument] | None:
    """Return the command that tells the length of a key of this type, None for a type without one."""
    name = LENGTH_COMMANDS.get(facts.type or "")
    return (name, key) if name and facts.exists else None


def to_facts(key: bytes, replies: Sequence[object], policy: str | None) -> KeyFacts:
    """Return the facts that the replies to `first_questions` tell; refusals become a note."""
    type_, ttl, encoding, memory, use = [*replies, None, None, None][:5]
    notes = dict.fromkeys(_note(reply) for reply in replies if isinstance(reply, CacheError) and not _gone(reply))
    kind = None if isinstance(type_, CacheError) else as_text(type_, 60)
    ttl_ms = as_int(ttl)
    exists = kind != MISSING and not (kind is None and ttl_ms == -2)
    if not exists:
        return KeyFacts(key, exists=False, note="gone")
    lfu = policy is not None and "lfu" in policy
    return KeyFacts(
        key,
        type=kind,
        ttl_s=ttl_ms / 1000 if ttl_ms is not None and ttl_ms >= 0 else None,
        has_ttl=None if ttl_ms is None or ttl_ms == -2 else ttl_ms >= 0,
        size_bytes=as_int(memory),
        encoding=as_text(encoding, 60) if isinstance(encoding, bytes) else None,
        idle_s=as_int(use) if not lfu else None,
        frequency=as_int(use) if lfu else None,
        note=", ".join(notes),
    )


def _note(error: CacheError) -> str:
    command = error.message.split(":", 1)[0]
    return f"{command} {'denied' if error.code == 'denied' else 'unknown' if error.code == 'unsupported' else 'failed'}"


def _gone(error: CacheError) -> bool:
    """A key that went between two commands, or a counter the policy does not keep: no news."""
    reply = str(error.detail.get("reply", "")).lower()
    return "no such key" in reply or "maxmemory policy" in reply
