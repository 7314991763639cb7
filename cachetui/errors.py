"""What can go wrong, each with what it means and what to do.

Every error a person meets is a `CacheError`: one clear line (`str(error)`), a `hint`,
a stable `code` and the process's `exit_code`. `from_reply` turns a server's own error
reply into one of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from cachetui.text import printable


class CacheError(Exception):
    """Base of all errors shown to a person.

    `message` says what happened, `hint` what to do; both have passed `text.printable`.
    `detail` holds facts for evidence (plain JSON values).
    """

    code = "error"
    exit_code = 3

    def __init__(self, message: str, hint: str = "", detail: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail or {}

    def line(self) -> str:
        """Return the one line for a terminal: what happened, then what to do."""
        return f"{self.message}; {self.hint}" if self.hint else self.message


class BadUsage(CacheError):
    """The command line asks for something that does not exist or does not fit together."""

    code, exit_code = "usage", 2


class BadTarget(BadUsage):
    """A target's address cannot be understood."""

    code = "bad-target"


class BadConfig(BadUsage):
    """A configuration, theme or keymap file is wrong; the message names file and line."""

    code = "bad-config"


class Unreachable(CacheError):
    """No connection: refused, unknown host, no route, no such socket, or cut off."""

    code = "unreachable"


class TimedOut(Unreachable):
    """The server did not answer in time: stopped, stalled or far away."""

    code = "timed-out"


class TlsFailed(Unreachable):
    """TLS is needed and was not spoken, was spoken and is not, or a certificate was refused."""

    code = "tls"


class NotACache(Unreachable):
    """Something answers there, but it is neither Redis nor Memcached."""

    code = "not-a-cache"


class AuthFailed(CacheError):
    """A password is missing or wrong."""

    code = "auth"


class Denied(CacheError):
    """The server's ACL, or the provider, does not allow this command or key."""

    code, exit_code = "denied", 5


class Refused(CacheError):
    """We or the server will not do this now: read-only, not confirmed, plan expired."""

    code, exit_code = "refused", 5


class Changed(Refused):
    """Somebody else changed it in between: nothing was written. `detail`: what (the check), now (what is there)."""

    code = "changed"


class Unsupported(CacheError):
    """This server or this kind of target has no such command or feature."""

    code, exit_code = "unsupported", 5


class Busy(CacheError):
    """A script or function blocks the server. `detail`: name, command, duration_ms where known."""

    code = "busy"


class Loading(CacheError):
    """The server is still reading its data set from disk."""

    code = "loading"


class StoppedPartWay(CacheError):
    """A write stopped before its end; the message says what was done and what was not."""

    code, exit_code = "stopped", 4


class ServerError(CacheError):
    """The server answered with an error; `word` is its first word (OOM, MOVED, ...)."""

    code = "server-error"

    def __init__(
        self, message: str, hint: str = "", detail: dict[str, object] | None = None, word: str = "ERR"
    ) -> None:
        super().__init__(message, hint, detail)
        self.word = word


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error word means: its cause and what to do about it."""

    cause: str
    action: str


MEANINGS: dict[str, Meaning] = {
    "OOM": Meaning(
        "used memory is over maxmemory and the policy may not evict anything",
        "raise maxmemory, choose an allkeys-* policy, or delete data; reads still work",
    ),
    "CLUSTERDOWN": Meaning(
        "some hash slots are not served, or the node has lost the majority",
        "look at the topology (press 4): bring the failed primary back or promote its replica",
    ),
    "MOVED": Meaning(
        "the key's slot lives on another node of the cluster",
        "connect with redis+cluster:// so that the client follows",
    ),
    "ASK": Meaning(
        "the key's slot is being moved to another node",
        "connect with redis+cluster://; it ends when the migration does",
    ),
    "TRYAGAIN": Meaning(
        "a multi-key command met a slot that is being moved",
        "repeat it when the migration has ended, or go key by key",
    ),
    "CROSSSLOT": Meaning("the keys of one command live in different slots", "send one command for each slot"),
    "READONLY": Meaning(
        "this server is a replica and takes no writes",
        "connect to the primary; after a failover the role may have changed",
    ),
    "MASTERDOWN": Meaning(
        "this replica has lost its primary and replica-serve-stale-data is no",
        "bring the primary or the link back, or fail over",
    ),
    "NOREPLICAS": Meaning(
        "fewer good replicas are connected than min-replicas-to-write asks for",
        "bring replicas back, or lower min-replicas-to-write",
    ),
    "MISCONF": Meaning(
        "the last save to disk failed and stop-writes-on-bgsave-error is on",
        "make room on disk or mend its permissions, then BGSAVE; reads still work",
    ),
    "NOPERM": Meaning(
        "the ACL user may not run this command or touch this key",
        "ask for the permission, or connect as another user",
    ),
    "NOAUTH": Meaning("the server asks for a password", "give it with --askpass or REDISCLI_AUTH"),
    "WRONGPASS": Meaning("user name or password is wrong, or the user is off", "check both; ACL LIST shows the users"),
    "BUSY": Meaning(
        "a script or function has been running too long and blocks every client",
        "SCRIPT KILL or FUNCTION KILL ends it, if it has not written yet",
    ),
    "UNKILLABLE": Meaning(
        "the running script has already written; killing it would leave half of its work",
        "wait for it; the last resort is SHUTDOWN NOSAVE, which loses what was not saved",
    ),
    "LOADING": Meaning("the server is reading its data set from disk", "wait: progress is in INFO persistence"),
    "NOSCRIPT": Meaning("the server does not know that script any more", "load it again with SCRIPT LOAD"),
    "WRONGTYPE": Meaning(
        "the key holds another type of value than the command is for", "refresh the list and open it again"
    ),
    "EXECABORT": Meaning(
        "a command inside the transaction was refused, so nothing was done",
        "look at the first error of the transaction",
    ),
    "NOTBUSY": Meaning("no script is running", "nothing to kill: it has ended by itself"),
    "NOGOODSLAVE": Meaning("no replica is fit to be promoted", "look at the replicas' link and priority"),
    "NOQUORUM": Meaning(
        "not enough Sentinels agree or are reachable for a failover", "bring Sentinels back up to the quorum"
    ),
    "BUSYKEY": Meaning("the key exists already", "nothing was overwritten; delete or rename it first"),
    "BUSYGROUP": Meaning("the consumer group exists already", "nothing to do"),
    "NOPROTO": Meaning("the server does not speak this protocol version", "connect with RESP2"),
}
"""Cause and remedy for the error words of Redis, Valkey and Sentinel."""


_PHRASES = (
    ("without a config file", "it was started without one: put the settings where it is started, or give it a file"),
    ("immutable config", "it is fixed when the server starts: change it there and start it again"),
    ("protected config", "enable-protected-configs, which is fixed at start, must allow it"),
)
"""What some plain errors ask for."""


def from_reply(reply: str, command: str = "") -> CacheError:
    """Return the error for a server's error reply (with or without the leading `-`).

    >>> error = from_reply("NOPERM this user has no permissions", "INFO")
    >>> type(error).__name__, error.message
    ('Denied', 'INFO: not permitted: the ACL user may not run this command or touch this key')
    """
    text = printable(reply.lstrip("-").strip(), 300)
    word = text.split(" ", 1)[0]
    prefix = f"{command}: " if command else ""
    meaning = MEANINGS.get(word)
    lowered = text.lower()
    if word == "NOPERM":
        assert meaning is not None
        return Denied(f"{prefix}not permitted: {meaning.cause}", meaning.action, {"reply": text})
    if word in ("NOAUTH", "WRONGPASS") or "invalid password" in lowered or "without any password configured" in lowered:
        cause = meaning.cause if meaning else "the server refused the password"
        return AuthFailed(f"{prefix}{cause}", meaning.action if meaning else "check user and password", {"reply": text})
    if word == "BUSY" and meaning:
        return Busy(f"{prefix}{meaning.cause}", meaning.action, {"reply": text})
    if word == "LOADING" and meaning:
        return Loading(f"{prefix}{meaning.cause}", meaning.action, {"reply": text})
    if "unknown command" in lowered or "unknown subcommand" in lowered or "unknown sub-command" in lowered:
        return Unsupported(
            f"{prefix}this server does not know the command",
            "a provider may have removed or renamed it",
            {"reply": text},
        )
    if "max number of clients reached" in lowered:
        return Unreachable(
            f"{prefix}the server has reached maxclients and takes no more connections",
            "close idle clients or raise maxclients",
            {"reply": text},
        )
    if "protected mode" in lowered:
        return Denied(
            f"{prefix}the server is in protected mode and refuses outside connections",
            "set a password or bind address on the server",
            {"reply": text},
        )
    if meaning:
        return ServerError(f"{prefix}{word}: {meaning.cause}", meaning.action, {"reply": text}, word)
    hint = next((hint for phrase, hint in _PHRASES if phrase in lowered), "")
    return ServerError(f"{prefix}{text}", hint, {"reply": text}, word)
