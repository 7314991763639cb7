"""Take passwords out of what is about to be written to a file."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cachetui.model import SlowLog

HIDDEN = b"(redacted)"
"""What stands in a password's place, as the servers themselves write it."""

_SECRET_FIELD = re.compile(r"pass\b|passw|masterauth|requirepass|auth-pass|secret", re.IGNORECASE)
_KEPT = frozenset({"server", "commands", "errors", "type", "role", "policy", "columns", "code", "mode", "kind"})
"""Fields of fixed words: a password that happens to be `redis` must not change what they mean."""

_LEAST_LENGTH = 4
"""Shorter secrets are hidden where they stand alone: inside other text they prove nothing."""


def redacted(log: SlowLog) -> SlowLog:
    """Return `log` without the passwords that its commands carried."""
    return replace(log, entries=tuple(replace(entry, args=redact(entry.args)) for entry in log.entries))


def redact(args: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return a command with its passwords hidden.

    >>> redact((b"AUTH", b"me", b"pw")), redact((b"config", b"SET", b"maxmemory", b"1", b"requirepass", b"pw"))[4:]
    ((b'AUTH', b'(redacted)', b'(redacted)'), (b'requirepass', b'(redacted)'))
    """
    words = [arg.upper() for arg in args[:2]]
    if not words:
        return tuple(args)
    name, sub = words[0], words[1] if len(words) > 1 else b""
    if name == b"AUTH":
        return _hidden_from(args, 1)
    if name == b"HELLO":
        return _hidden_after(args, {b"AUTH": 2})
    if name == b"MIGRATE":
        return _hidden_after(args, {b"AUTH": 1, b"AUTH2": 2})
    if name == b"ACL" and sub == b"SETUSER":
        return _hidden_from(args, 3)
    if name in (b"CONFIG", b"SENTINEL"):
        return _hidden_values(args)
    return tuple(args)


def _hidden_from(args: Sequence[bytes], first: int) -> tuple[bytes, ...]:
    return (*args[:first], *(HIDDEN for _ in args[first:]))


def _hidden_after(args: Sequence[bytes], words: dict[bytes, int]) -> tuple[bytes, ...]:
    out = list(args)
    for at, arg in enumerate(args):
        if at > 0:
            reach = words.get(arg.upper(), 0)
            out[at + 1 : at + 1 + reach] = [HIDDEN] * len(out[at + 1 : at + 1 + reach])
    return tuple(out)


def _hidden_values(args: Sequence[bytes]) -> tuple[bytes, ...]:
    out = list(args)
    for at in range(1, len(args)):
        if _SECRET_FIELD.search(args[at - 1].decode("latin-1")) and args[at - 1].upper() not in (
            b"CONFIG",
            b"SENTINEL",
        ):
            out[at] = HIDDEN
    return tuple(out)


def scrubbed(value: Any, secrets: Sequence[str]) -> Any:
    """Return JSON values (of `codec.to_plain`) in which none of `secrets` occurs, nor a field named like a password.

    >>> scrubbed({"name": "x-hunter2", "extra": {"requirepass": "other"}}, ["hunter2"])
    {'name': 'x-(redacted)', 'extra': {'requirepass': '(redacted)'}}
    """
    if isinstance(value, str):
        return _text(value, secrets)
    if isinstance(value, list):
        if len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], str) and _is_secret(value[0]):
            return [value[0], HIDDEN.decode()]
        return [scrubbed(item, secrets) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"b64"}:
            return {"b64": _encoded(value["b64"], secrets)}
        return {name: _field(name, item, secrets) for name, item in value.items()}
    return value


def _field(name: str, item: Any, secrets: Sequence[str]) -> Any:
    if isinstance(item, str) and _is_secret(name):
        return HIDDEN.decode()
    return item if name in _KEPT else scrubbed(item, secrets)


def _is_secret(name: str) -> bool:
    return _SECRET_FIELD.search(name) is not None


def _text(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        if text == secret:
            return HIDDEN.decode()
        if len(secret) >= _LEAST_LENGTH:
            text = text.replace(secret, HIDDEN.decode())
    return text


def _encoded(b64: str, secrets: Sequence[str]) -> str:
    if not secrets:
        return b64
    data = base64.b64decode(b64)
    for secret in secrets:
        raw = secret.encode("utf-8", "surrogateescape")
        data = HIDDEN if data == raw else data.replace(raw, HIDDEN) if len(raw) >= _LEAST_LENGTH else data
    return base64.b64encode(data).decode()
