"""A failover under way: asked for, watched to its end, and looked at again. OK is not success."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from cachetui.actions.cluster.nodes import Nodes
from cachetui.actions.nodes import at_node
from cachetui.actions.plan import Plan
from cachetui.actions.plan.base import Failover
from cachetui.actions.plan.commands import Command
from cachetui.actions.tally import Progress, Tally
from cachetui.config import Target
from cachetui.errors import CacheError, ServerError, TimedOut, Unreachable
from cachetui.model import ClientList
from cachetui.source.base import Source
from cachetui.text import printable

POLL_S = 0.2
LIMIT_S = 60.0
"""So long a failover may take; a Sentinel gives up by itself before (failover-timeout)."""
FOLLOW_S = 20.0
"""So long the old primary is waited for to follow: a Sentinel tells it some ten seconds later."""


def sentinel_target(target: Target) -> Target:
    """Return the target for its Sentinels: with the user, password and TLS that are theirs."""
    if target.kind != "sentinel":
        return target
    return replace(
        target,
        kind="redis",
        user=target.sentinel_user,
        password=target.sentinel_password,
        tls=target.tls_of_sentinels,
        service=None,
    )


SENTINEL_CLIENT = "sentinel-"
"""How the connections of a Sentinel are named."""


async def watched_by_sentinel(source: Source) -> bool:
    """Tell whether a Sentinel is connected to this server. What may not be looked at is not warned of."""
    try:
        clients = await source.poll("clients")
    except CacheError:
        return False
    return isinstance(clients, ClientList) and any(one.name.startswith(SENTINEL_CLIENT) for one in clients.clients)


class FailingOver:
    """One failover: `run` does it, `verify` looks at the servers afterwards. Close it at the end."""

    def __init__(
        self,
        plan: Plan,
        servers: Nodes,
        tally: Tally,
        *,
        progress: Callable[[Progress], None] | None,
        cancel: asyncio.Event | None,
    ) -> None:
        assert plan.failover is not None
        self._what: Failover = plan.failover
        self._servers = servers
        self._sentinels = servers.like(sentinel_target(servers.target))
        self._tally, self._progress, self._cancel = tally, progress, cancel
        self._told = ""
        self.new = ""
        """Who took over; empty while nobody has."""

    @property
    def asked(self) -> Source:
        """Who gets the command."""
        nodes = self._sentinels if self._what.kind == "sentinel" else self._servers
        return nodes.at(self._what.ask)

    async def close(self) -> None:
        """Close the connections to the Sentinels; those to the servers stay their owner's."""
        await self._sentinels.close()

    async def run(self) -> None:
        """Ask for it and wait until a new primary says that it is one. Raises CacheError."""
        if not await self._send(self._sentinels if self._what.kind == "sentinel" else self._servers, self._what):
            return
        watch = self._watch_sentinels if self._what.kind == "sentinel" else self._watch_servers
        end = time.monotonic() + LIMIT_S
        while not self.new:
            await watch()
            if self.new or self._tally.failed:
                break
            if time.monotonic() > end:
                self._fail(TimedOut(f"no new primary within {LIMIT_S:.0f} s: {self._told}", "see the topology"))
                return
            if self._cancel is not None and self._cancel.is_set():
                self._tally.reason = "no longer watched: what was asked for goes on by itself"
                return
            await asyncio.sleep(POLL_S)
        if not self.new:
            return
        self._tally.in_flight -= 1
        self._tally.done += 1
        self._tell(f"{self.new} is the primary")
        for address in self._what.followers:
            await self._follow(address)
        self._tally.reason = self._tally.errors[0].error.line() if self._tally.errors else ""

    def _tell(self, words: str) -> None:
        self._told = words
        if self._progress is not None:
            self._progress(self._tally.progress(note=words))

    def _fail(self, error: CacheError) -> None:
        self._tally.in_flight -= 1
        self._tally.refused(self._what.command, error)
        self._tally.reason = error.line()

    async def _send(self, nodes: Nodes, what: Failover) -> bool:
        """Send the command that begins it; tell whether it was taken."""
        tally = self._tally
        tally.left -= 1
        tally.in_flight += 1
        try:
            reply = await _asked(nodes, what.ask, what.command)
        except CacheError as error:
            named = at_node(error, what.ask)
            if isinstance(error, Unreachable) and error.detail.get("sent", True):
                raise named from error
            self._fail(named)
            return False
        if reply not in (b"OK", "OK"):
            self._fail(ServerError(f"{what.ask}: unexpected reply: {printable(str(reply), 80)}"))
            return False
        self._tell(f"{what.ask} has begun")
        return True

    # Sentinel

    async def _watch_sentinels(self) -> None:
        """Ask the Sentinels whom they name by now; whoever most of them name must say that it is a primary."""
        what = self._what
        command: Command = (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", what.group.encode())
        named = Counter(filter(None, await asyncio.gather(*(self._named_by(a, command) for a in what.sentinels))))
        others = [(address, votes) for address, votes in named.most_common() if address != what.old]
        total = len(what.sentinels)
        if not others:
            self._tell(f"{await self._stage()}; {named[what.old]} of {total} Sentinels name {what.old} still")
            return
        address, votes = others[0]
        role = await self._role(address)
        self._tell(f"{votes} of {total} Sentinels name {address}, it says it is {role or 'silent'}")
        if role in ("primary", None) and 2 * votes > len([*named.elements()]) and (role or votes == total):
            self.new = address

    async def _named_by(self, address: str, command: Command) -> str:
        try:
            parts = await _asked(self._sentinels, address, command)
        except CacheError:
            return ""  # one that does not answer has no vote
        if not isinstance(parts, list) or len(parts) != 2:
            return ""
        host, port = (part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in parts)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def _stage(self) -> str:
        """Return how far the Sentinel says that it is; notice when it has given up."""
        what = self._what
        try:
            reply = await _asked(self._sentinels, what.ask, (b"SENTINEL", b"MASTER", what.group.encode()))
        except CacheError as error:
            return error.message
        about = _pairs(reply)
        if "failover_in_progress" not in about.get("flags", ""):
            return "the Sentinel is not failing over" if self._told else "it begins"
        return _STAGES.get(about.get("failover-state", ""), "the failover is under way")

    # FAILOVER

    async def _watch_servers(self) -> None:
        """Ask both servers what they are; notice when the primary has given up."""
        what = self._what
        info = await self._info(what.old)
        state = info.get("master_failover_state", "")
        role = await self._role(what.new)
        if role == "primary":
            self.new = what.new
        elif state == "no-failover" and info.get("role") == "master":
            gone = "the replica did not catch up in time, or was lost"
            self._fail(ServerError(f"{what.old} has given it up: {gone}; it is the primary still", "nothing changed"))
        else:
            self._tell(_STATES.get(state, f"{what.new} says it is {role or 'silent'}"))

    async def _follow(self, address: str) -> None:
        """Tell another replica whom to follow; its refusal does not undo the failover."""
        tally, what = self._tally, self._what
        tally.left -= 1
        try:
            reply = await _asked(self._servers, address, what.follow)
        except CacheError as error:
            tally.refused(what.follow, at_node(error, address))
            return
        tally.count([what.follow], [reply])

    # Looking

    async def _role(self, address: str) -> str | None:
        """Return what a server says that it is; None when it does not answer."""
        try:
            reply = await _asked(self._servers, address, (b"ROLE",))
        except CacheError:
            return None
        word = reply[0] if isinstance(reply, list) and reply else reply
        text = word.decode("ascii", "replace") if isinstance(word, bytes) else str(word)
        return {"master": "primary", "slave": "a replica"}.get(text, printable(text, 20))

    async def _info(self, address: str) -> dict[str, str]:
        """Return INFO replication; empty when it does not answer."""
        try:
            reply = await _asked(self._servers, address, (b"INFO", b"replication"))
        except CacheError:
            return {}
        text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else ""
        parts = (line.partition(":") for line in text.splitlines())
        return {name: value.strip() for name, colon, value in parts if colon}

    async def verify(self) -> tuple[bool | None, tuple[str, ...]]:
        """Look again: the new primary says that it is one, and the old one follows it. Returns the answer in words."""
        if not self.new:
            return None, ()
        if await self._role(self.new) != "primary":
            return None, (f"{self.new} does not answer as a primary from here: it could not be checked",)
        lines = [f"{self.new} says that it is the primary"]
        end = time.monotonic() + FOLLOW_S
        while True:
            info = await self._info(self._what.old)
            host, port = info.get("master_host", ""), info.get("master_port", "")
            follows = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            if info.get("role") == "slave" and follows == self.new and info.get("master_link_status") == "up":
                return True, (*lines, f"{self._what.old} follows it")
            waits = time.monotonic() < end and not (self._cancel is not None and self._cancel.is_set())
            if not waits or not info:
                break
            self._tell(f"waiting until {self._what.old} follows {self.new}")
            await asyncio.sleep(POLL_S)
        why = "does not answer" if not info else "does not follow it yet"
        return True if self._what.kind == "sentinel" else None, (*lines, f"{self._what.old} {why}")


async def _asked(nodes: Nodes, address: str, command: Command) -> object:
    """Send one command to one server and return its reply. Raises CacheError, also for a refusal."""
    (reply,) = await nodes.ask_all(address, [command])
    if isinstance(reply, CacheError):
        raise reply
    return reply


def _pairs(reply: object) -> dict[str, str]:
    """Return a map or a flat list as text."""
    flat: Sequence[object] = reply if isinstance(reply, list) else ()
    pairs = list(reply.items()) if isinstance(reply, dict) else list(zip(flat[::2], flat[1::2], strict=False))
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: object) -> str:
    return printable(value, 200) if isinstance(value, bytes) else printable(str(value), 200)


_STAGES = {
    "wait_start": "it waits to begin",
    "select_slave": "it chooses a replica",
    "send_slaveof_noone": "it tells the chosen replica",
    "wait_promotion": "it waits until the replica is a primary",
    "reconf_slaves": "it tells the other replicas",
    "update_config": "it makes it known",
}
_STATES = {
    "waiting-for-sync": "writes wait, the replica catches up",
    "failover-in-progress": "the replica is asked to take over",
}
