"""Compare and set: WATCH, look, MULTI ... EXEC on one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cachetui.errors import CacheError, Changed, Denied, ServerError, Unreachable, from_reply
from cachetui.source import faults
from cachetui.source.base import Check, Command
from cachetui.source.changes import became_another_type, changed
from cachetui.source.redis.connection import command_name
from cachetui.source.redis.replies import as_score
from cachetui.source.redis.session import Exchange, Session

_LOOKING_SHARE = 0.8
"""Part of the deadline until EXEC must have been sent; the rest is for hearing what became of it."""
_ABORTED = "EXECABORT"
_BECAUSE = "because of: "


async def transact(
    session: Session, watched: Sequence[bytes], checks: Sequence[Check], commands: Sequence[Command]
) -> list[object]:
    """Send `commands` if every check holds and no watched key changes meanwhile; see `Source.transact`.

    Without commands only the checks are made. An error of the connection before anything could
    be done has `sent: False` in its detail; without it nobody knows.
    """
    _raise_remembered(session, watched, checks, commands)
    sent = False
    try:
        async with asyncio.timeout(session.timeout_s * _LOOKING_SHARE) as clock, session.alone("keys") as exchange:
            found: list[object] | Changed | None = await _look(exchange, watched, checks, begin=bool(commands))
            if found is None and commands:
                clock.reschedule(None)
                sent = True
                found = await _write(session, exchange, checks, commands)
    except TimeoutError as error:
        silent = faults.timed_out(session.address, session.timeout_s)
        silent.detail["sent"] = False
        raise silent from error
    except Unreachable as error:
        if not sent:
            error.detail["sent"] = False
        raise
    if isinstance(found, Changed):
        raise found
    return found or []


async def _look(
    exchange: Exchange, watched: Sequence[bytes], checks: Sequence[Check], *, begin: bool
) -> Changed | None:
    """Watch and check. When all is as it should be a transaction has begun, else none is open."""
    head: list[Command] = [(b"WATCH", *watched)] if watched and begin else []
    # MULTI is answered before anything else is sent: were it refused, what follows would be carried out at once.
    tail: list[Command] = [(b"MULTI",)] if begin else []
    replies = await exchange([*head, *(check.command for check in checks), *tail])
    for reply in (*replies[: len(head)], *replies[len(replies) - len(tail) :]):
        if isinstance(reply, CacheError):
            raise _unsafe(reply)
    change = _first_change(checks, replies[len(head) :])
    if change is not None and begin:
        (dropped,) = await exchange([(b"DISCARD",)])
        if isinstance(dropped, CacheError):
            raise change  # leaving in this way closes the connection, and the transaction with it
    return change


async def _write(
    session: Session, exchange: Exchange, checks: Sequence[Check], commands: Sequence[Command]
) -> list[object] | Changed:
    """Queue and carry out; the transaction is closed when this returns."""
    *queued, done = await exchange([*commands, (b"EXEC",)])
    refused = next((reply for reply in queued if isinstance(reply, CacheError)), None)
    if isinstance(done, CacheError):
        raise refused or _aborted(done)
    if done is None:
        looked = await exchange([check.command for check in checks]) if checks else []
        return _first_change(checks, looked) or _touched()
    if not isinstance(done, list) or len(done) != len(commands):
        hint = "a proxy may not support transactions; look whether it was done"
        raise ServerError("EXEC: the reply makes no sense", hint, {"sent": True}, "PROTOCOL")
    return [session.understood(reply, command_name(command)) for reply, command in zip(done, commands, strict=True)]


def _first_change(checks: Sequence[Check], replies: Sequence[object]) -> Changed | None:
    """Return what is not as it should be. Raises the error of a check that could not be made."""
    for check, reply in zip(checks, replies, strict=False):
        if isinstance(reply, ServerError) and reply.word == "WRONGTYPE":
            return became_another_type(check)
        if isinstance(reply, CacheError):
            raise reply
        if not _holds(check.expected, reply):
            return changed(check, reply)
    return None


def _holds(expected: object, reply: object) -> bool:
    if isinstance(expected, float):
        return reply is not None and as_score(reply) == expected
    return type(reply) is type(expected) and reply == expected


def _touched() -> Changed:
    """Return the error for a watched key that was written while all that was checked is as it was."""
    return Changed(
        "the key was written by somebody else at the same moment: nothing was written",
        "what was checked is as it was: try again",
        {"what": "the key", "now": None},
    )


def _aborted(error: CacheError) -> CacheError:
    """Return why EXEC was refused: in the server's words the cause stands behind."""
    reply = str(error.detail.get("reply", ""))
    if not reply.startswith(_ABORTED):
        return _unsafe(error)
    if _BECAUSE not in reply:
        return error
    return _unsafe(from_reply(reply.partition(_BECAUSE)[2], "EXEC"))


def _raise_remembered(
    session: Session, watched: Sequence[bytes], checks: Sequence[Check], commands: Sequence[Command]
) -> None:
    """Raise what is known to be refused, before anything is sent."""
    together: list[Command] = [(b"MULTI",), (b"EXEC",)] if commands else []
    if watched and commands:
        together.append((b"WATCH",))
    for command in together:
        if (error := session.denied.get(command_name(command))) is not None:
            raise _unsafe(error)
    for command in (*(check.command for check in checks), *commands):
        if (error := session.denied.get(command_name(command))) is not None:
            raise error


def _unsafe(error: CacheError) -> CacheError:
    """Put into words what a missing WATCH, MULTI or EXEC means."""
    if not faults.concerns_command(error):
        return error
    return Denied(
        f"{error.message}: without it somebody else's change could be overwritten, so nothing was written",
        "ask for the permissions +watch +multi +exec +discard",
        error.detail,
    )
