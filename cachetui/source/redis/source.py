"""The `Source` for Redis and what speaks like it: Valkey, KeyDB; alone, in a cluster, or a Sentinel."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

from cachetui.config import Address, Target
from cachetui.errors import CacheError, Denied, Loading, ServerError, Unreachable, Unsupported
from cachetui.model import (
    KeyFacts,
    KeyFactsList,
    ScanStep,
    SettingsByNode,
    Value,
)
from cachetui.model.burst import Burst, Limits, Measured, Room
from cachetui.model.hot import HotKeyReport
from cachetui.model.memory import MemoryReport
from cachetui.source import faults
from cachetui.source.base import (
    VALUE_BYTES,
    VALUE_ROWS,
    CallSink,
    Capability,
    Check,
    Command,
    Enumeration,
    KeySink,
    UseSink,
)
from cachetui.source.redis import topology
from cachetui.source.redis.bulk import Bulk
from cachetui.source.redis.connection import Argument, Credentials
from cachetui.source.redis.features import read_flags
from cachetui.source.redis.info import parse_info
from cachetui.source.redis.keys import first_questions, length_question, to_facts
from cachetui.source.redis.nodes import read_own, readable_settings
from cachetui.source.redis.policies import IMPOSSIBLE, parse_policies
from cachetui.source.redis.polls import PolledServer
from cachetui.source.redis.replies import as_bytes, as_int, as_list
from cachetui.source.redis.scanner import Place, Places, Question, RedisEnumeration, cluster_places, replica_places
from cachetui.source.redis.values import Abilities, SearchIndexes, Window, read_value

SHORT = 32
"""A pipeline of more words goes to a line of its own."""
SCAN_COUNT = 1000
"""More would hold up the server's other clients."""


class RedisSource(PolledServer):
    """One Redis-like server (see `cachetui.source.base.Source` for the contract).

    `protocol` 2 asks for RESP2; otherwise RESP3, and RESP2 where HELLO is missing or denied.
    """

    def __init__(self, target: Target, *, protocol: int = 3) -> None:
        super().__init__(target, protocol=protocol)
        self._bulk = Bulk(self._session)
        self._policies: tuple[str, ...] | None = None
        self._indexes = SearchIndexes()

    async def close(self) -> None:
        """Close every connection."""
        self._bulk.close()
        await super().close()

    def _replaced(self) -> None:
        self._policies = None

    # Keys

    async def scan(
        self, cursor: bytes | None = None, *, match: bytes | None = None, type_: str | None = None, count: int = 500
    ) -> ScanStep:
        """Return the next step of SCAN. A cursor of another run of the server raises ServerError."""
        async with self._session.deadline():
            await self._server("keys")
            at = self._scan_position(cursor)
            command: list[Argument] = ["SCAN", at, "COUNT", max(1, min(count, SCAN_COUNT))]
            if match is not None:
                command += ["MATCH", match]
            if type_ is not None:
                command += ["TYPE", type_]
            commands: list[Sequence[Argument]] = [command]
            if cursor is None:
                commands.append(("DBSIZE",))
            reply, *size = await self._session.ask_all("keys", commands)
            if isinstance(reply, CacheError):
                raise self._why_no_scan(reply)
            parts = as_list(reply)
            if len(parts) != 2:
                raise ServerError("SCAN: the reply makes no sense", "a proxy may not support it")
            following = as_bytes(parts[0])
            keys = tuple(as_bytes(key) for key in as_list(parts[1]))
            total = as_int(size[0]) if size else None
            return ScanStep(time.time(), keys, None if following == b"0" else self._cursor(following), total)

    def _run(self) -> bytes:
        """Name this run of the server: a cursor is worthless in any other."""
        if self.identity is not None and self.identity.run_id:
            return self.identity.run_id.encode()
        return b"epoch-%d" % self._session.epoch

    def _cursor(self, position: bytes) -> bytes:
        return self._run() + b":" + position

    def _scan_position(self, cursor: bytes | None) -> bytes:
        if cursor is None:
            return b"0"
        run, _, position = cursor.rpartition(b":")
        if run != self._run():
            raise ServerError(
                "SCAN: the server was restarted or replaced in the middle", "the old cursor is worthless: begin again"
            )
        return position

    def _why_no_scan(self, error: CacheError) -> CacheError:
        if isinstance(error, Denied):
            return Denied(
                "SCAN: not permitted, so keys cannot be listed (KEYS would block the server)",
                "ask for the permission +scan; a key can still be opened by its exact name",
                error.detail,
            )
        return error

    def enumeration(
        self, sink: KeySink, *, match: bytes | None = None, type_: str | None = None, replicas: bool = False
    ) -> Enumeration:
        """Return a pass over all keys, in threads of its own; in a cluster over all shards side by side."""

        async def places() -> Places:
            return await self._places(replicas=replicas)

        who = Credentials.of(self._target)
        question = Question(match, type_)
        return RedisEnumeration(places, who, question, sink, explain=self._not_scanned, count=self._session.sent.update)

    async def _places(self, *, replicas: bool) -> Places:
        """Return the servers that hold the keys."""
        async with self._session.deadline():
            server = await self._server("lists")
            if server.mode == "sentinel":
                raise Unsupported("a Sentinel holds no keys", "connect to one of the servers it watches")
            here = self._session.address
            if server.mode != "cluster":
                if not replicas:
                    return Places([Place((here,))])
                (reply,) = await self._session.ask_all("lists", [("INFO", "replication")])
                seen = None if isinstance(reply, CacheError) else parse_info(reply)
                return replica_places(topology.replication(seen, server, time.time()).nodes if seen else (), here)
            (reply,) = await self._session.ask_all("lists", [("CLUSTER", "NODES")])
            if isinstance(reply, CacheError):
                return Places([Place((here,), ())], note="CLUSTER NODES is denied: the keys of this node only")
            nodes = topology.cluster(reply, None, server, time.time()).nodes
            return cluster_places(nodes, here, replicas=replicas)

    def _not_scanned(self, error: CacheError) -> CacheError:
        if faults.concerns_command(error):
            self._session.denied["SCAN"] = error
        return self._why_no_scan(error)

    async def facts(self, keys: Sequence[bytes], *, size: bool = True) -> KeyFactsList:
        """Return type, TTL and (with `size`) memory, encoding and length of `keys` in two round trips."""
        async with self._session.deadline():
            return KeyFactsList(time.time(), tuple(await self._facts(keys, size=size)))

    async def _facts(self, keys: Sequence[bytes], *, size: bool) -> list[KeyFacts]:
        if not keys:
            return []
        questions = [first_questions(key, size=size, policy=self._policy) for key in keys]
        replies = await self._session.ask_all("keys", [command for group in questions for command in group])
        found, at = [], 0
        for key, group in zip(keys, questions, strict=True):
            answers = replies[at : at + len(group)]
            at += len(group)
            failed = [answer for answer in answers if isinstance(answer, CacheError)]
            if len(failed) == len(answers) and failed[0].code not in ("denied", "unsupported"):
                raise failed[0]
            found.append(to_facts(key, answers, self._policy))
        return await self._with_lengths(found) if size else found

    async def _with_lengths(self, found: list[KeyFacts]) -> list[KeyFacts]:
        asked = [(at, command) for at, facts in enumerate(found) if (command := length_question(facts.key, facts))]
        replies = await self._session.ask_all("keys", [command for _, command in asked]) if asked else []
        for (at, _), reply in zip(asked, replies, strict=True):
            found[at] = _with_length(found[at], as_int(reply))
        return found

    async def value(
        self,
        key: bytes,
        *,
        rows: int = VALUE_ROWS,
        max_bytes: int = VALUE_BYTES,
        start: bytes | None = None,
        order: str = "",
    ) -> Value:
        """Return a window on the value: at most `rows` elements, `max_bytes` of each."""
        async with self._session.deadline():
            (facts,) = await self._facts([key], size=True)
            features = self._session.features
            field_ttl = features is not None and features.knows("httl", unsure=False)

            async def ask(commands: Sequence[Sequence[Argument]]) -> list[object]:
                return await self._session.ask_all("keys", commands)

            window = Window(max(1, rows), max(1, max_bytes), start, order)
            searches = features is not None and features.knows("ft._list", unsure=False)
            abilities = Abilities(field_ttl, self._indexes if searches else None, self._session.epoch)
            return await read_value(ask, facts, window, abilities, taken_at=time.time())

    # Settings and acting

    async def policies(self) -> tuple[str, ...]:
        """Return the allowed eviction policies: the server's refusal of an impossible one lists them."""
        if self._policies is None:
            async with self._session.deadline():
                (reply,) = await self._session.ask_all("keys", [("CONFIG", "SET", "maxmemory-policy", IMPOSSIBLE)])
            if isinstance(reply, Loading):
                raise reply
            text = str(reply.detail.get("reply", "")) if isinstance(reply, CacheError) else ""
            self._policies = parse_policies(text)
        return self._policies

    async def config(self, pattern: str) -> dict[str, str]:
        """Return the settings that match the glob; passwords come as `***`."""
        async with self._session.deadline():
            reply = await self._session.ask("keys", "CONFIG", "GET", pattern)
        return readable_settings(reply)

    async def settings(self, pattern: str = "*") -> SettingsByNode:
        """Return the settings of this one server."""
        if self.identity is None:
            await self.open()
        node = await read_own(self._session, pattern)
        assert self.identity is not None
        here = self.identity
        node = dataclasses.replace(node, address=here.address, role=here.role or "server", myself=True)
        return SettingsByNode(time.time(), here, (node,))

    async def flags(self, names: Sequence[str]) -> dict[str, frozenset[str] | None]:
        """Return flags and ACL categories by COMMAND INFO; names as `del`, `CONFIG SET` or `config|set`."""
        asked = [name.lower().replace(" ", "|") for name in names]
        wanted = list(dict.fromkeys([*asked, *(name.split("|")[0] for name in asked)]))
        async with self._session.deadline():
            reply = await self._session.ask("keys", "COMMAND", "INFO", *wanted)
        found = dict(read_flags(wanted, reply))
        subcommands = self._several_sections()
        result: dict[str, frozenset[str] | None] = {}
        for name, at in zip(names, asked, strict=True):
            parent = None if subcommands else found[at.split("|")[0]]
            result[name] = found[at] if found[at] is not None else parent
        return result

    async def execute(self, commands: Sequence[Command]) -> list[object]:
        """Send one pipeline, each command exactly once; a CacheError stands for each that was refused.

        Up to `BULK_LINES` long ones are under way at the same time. An error of the connection
        before anything was sent has `sent: False` in its detail.
        """
        self._listen_before_writing()
        if sum(map(len, commands)) > SHORT:
            replies = await self._bulk.execute(commands)
        else:
            replies = await self._execute_few(commands) if commands else []
        if self._target.kind == "sentinel" and any(map(_is_read_only, replies)):
            self._session.renew()  # it was failed over: ask the Sentinels again
        return replies

    async def execute_on(self, address: str, commands: Sequence[Command]) -> list[object]:
        """Like `execute`, on this one server if it has that address."""
        if self.identity is None or address != self.identity.address:
            raise Unreachable(f"no node {address} is known here", "read the settings again", {"sent": False})
        return await self.execute(commands)

    async def _execute_few(self, commands: Sequence[Command]) -> list[object]:
        sent = False
        try:
            async with self._session.deadline(to_the_end=True):
                await self._session.ask_all("keys", [])
                sent = True
                return await self._session.ask_all("keys", commands)
        except Unreachable as error:
            if not sent:
                error.detail["sent"] = False
            raise

    async def latency_us(self) -> float | None:
        """Return one round trip in microseconds, measured apart from all other traffic of ours."""
        return await self._bulk.latency_us()

    async def _watched(self) -> tuple[Address, Credentials]:
        """Return where the server is now, once it is known that it answers."""
        async with self._session.deadline():
            await self._server("keys")
            return self._session.address, self._session.credentials

    async def burst(self, sink: UseSink | CallSink, limits: Limits, begun: Callable[[], None] | None = None) -> Burst:
        """Watch all commands by MONITOR for a moment; of a cluster this node's alone."""
        from cachetui.source.redis.stream import burst

        address, who = await self._watched()
        return await burst(address, who, sink, limits, begun=begun, sent=self._session.sent)

    async def measured(self, keys: Sequence[tuple[int, bytes]], *, lfu: bool, ttl: bool) -> list[Measured]:
        """Return size, idle time (or frequency) and TTL of `keys`, as far as some seconds suffice."""
        from cachetui.source.redis.measuring import measured

        address, who = await self._watched()
        return await measured(address, who, keys, lfu=lfu, ttl=ttl, sent=self._session.sent)

    async def room(self) -> Room:
        """Return what takes this server's memory, and its rules of eviction."""
        from cachetui.source.redis.measuring import read_room

        async with self._session.deadline():
            return await read_room(self._session)

    async def hot_keys(self, seconds: float, most: int) -> HotKeyReport:
        """Let this server look for the keys that cost most (HOTKEYS)."""
        from cachetui.source.redis.hotkeys import hot_keys

        async with self._session.deadline():
            await self._server("keys")
        return await hot_keys(self._session, seconds, most)

    async def memory(self) -> MemoryReport:
        """Return this server's account of its memory. Raises CacheError where it may not be asked."""
        from cachetui.source.redis.memory import read_memory

        async with self._session.deadline():
            await self._server("lists")
            return await read_memory(self._session)

    async def transact(
        self, watched: Sequence[bytes], checks: Sequence[Check], commands: Sequence[Command]
    ) -> list[object]:
        """Send MULTI ... EXEC under WATCH, if the checks hold."""
        from cachetui.source.redis.transaction import transact

        async with self._session.deadline(to_the_end=True):
            return await transact(self._session, watched, checks, commands)

    def node(self, address: str) -> RedisSource:
        """Return a source for another server of this one's replication or cluster. Raises BadTarget."""
        from cachetui.source.redis.narrowed import NodeSource, target_of

        return NodeSource(target_of(self._target, address))

    def why_not(self, capability: Capability) -> str | None:
        """Return why `capability` cannot be used here, None when it can as far as is known."""
        mode = self.identity.mode if self.identity else ""
        role = self.identity.role if self.identity else None
        if mode == "sentinel" and capability not in ("clients", "kill", "failover"):
            return "a Sentinel watches servers and holds no keys: connect to one of them"
        if role == "replica" and capability in ("delete", "ttl", "edit"):
            return "this server is a replica and takes no writes: connect to the primary"
        if capability == "cluster" and mode not in ("", "cluster"):
            return "this is no cluster: there are no slots to move"
        for name in _NEEDS[capability]:
            error = self.denied.get(name)
            if error is not None:
                return error.line()
        features = self._session.features
        if features is not None and capability == "delete" and not (features.knows("unlink") or features.knows("del")):
            return "this server knows neither UNLINK nor DEL"
        return None


_NEEDS: dict[Capability, tuple[str, ...]] = {
    "scan": ("SCAN",),
    "value": ("TYPE",),
    "slowlog": ("SLOWLOG",),
    "clients": ("CLIENT LIST",),
    "delete": ("UNLINK", "DEL"),
    "ttl": ("EXPIRE", "PERSIST"),
    "edit": ("WATCH", "MULTI", "EXEC"),
    "policy": ("CONFIG SET",),
    "maxmemory": ("CONFIG SET",),
    "kill": ("CLIENT KILL",),
    "settings": ("CONFIG SET",),
    "rewrite": ("CONFIG REWRITE",),
    "failover": (),
    "cluster": ("CLUSTER SETSLOT", "CLUSTER MIGRATESLOTS"),
}


def _is_read_only(reply: object) -> bool:
    return isinstance(reply, ServerError) and reply.word == "READONLY"


def _with_length(facts: KeyFacts, length: int | None) -> KeyFacts:
    return dataclasses.replace(facts, length=length)
