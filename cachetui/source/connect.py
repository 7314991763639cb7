"""From a target to its driver. Drivers are imported only when they are needed."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from cachetui.config import Address, Target
from cachetui.errors import BadTarget, CacheError, Unreachable
from cachetui.model import Identity, KeyFactsList, ScanStep, SettingsByNode, Value
from cachetui.source import faults, probe
from cachetui.source.base import (
    VALUE_BYTES,
    VALUE_ROWS,
    Capability,
    Check,
    Command,
    Enumeration,
    KeySink,
    Kind,
    Polled,
    Source,
)
from cachetui.source.tls import tls_context

_TLS_SHARE = 0.7
"""Part of the deadline for asking over TLS; the rest finds out whether TLS is spoken at all."""


def make_source(target: Target) -> Source:
    """Return the source for `target`; nothing is sent. An `auto` target's finds out in `open`."""
    if target.kind in ("redis", "sentinel", "cluster"):
        from cachetui.source.redis.shards import RoutedSource

        return RoutedSource(target)
    if target.kind == "memcached":
        from cachetui.source.memcached import MemcachedSource

        return MemcachedSource(target)
    if target.kind == "replay":
        from cachetui.source.replay import ReplaySource

        return ReplaySource(target.path)
    return AutoSource(target)


async def open_source(target: Target) -> Source:
    """Return an opened source of the right driver. Raises CacheError, and then nothing stays open."""
    source = make_source(target)
    try:
        await source.open()
    except BaseException:
        await source.close()
        raise
    return source.driver if isinstance(source, AutoSource) else source


class AutoSource:
    """A target that did not say what it is: asks the server, then passes everything on to the driver."""

    def __init__(self, target: Target) -> None:
        self.name = target.name
        self._target = target
        self._driver: Source | None = None
        self._asking = asyncio.Lock()
        self._nothing: Counter[str] = Counter()

    @property
    def driver(self) -> Source:
        """The driver that was found. Raises Unreachable before `open` has succeeded."""
        if self._driver is None:
            raise Unreachable(f"not connected to {self.name} yet", "")
        return self._driver

    async def _found(self) -> Source:
        async with self._asking:
            if self._driver is None:
                self._driver = make_source(await recognise(self._target))
        return self._driver

    @property
    def identity(self) -> Identity | None:
        return self._driver.identity if self._driver else None

    @property
    def sent(self) -> Counter[str]:
        return self._driver.sent if self._driver else self._nothing

    @property
    def denied(self) -> Mapping[str, CacheError]:
        return self._driver.denied if self._driver else {}

    def now(self) -> float:
        return self._driver.now() if self._driver else time.time()

    async def open(self) -> Identity:
        return await (await self._found()).open()

    async def close(self) -> None:
        if self._driver is not None:
            await self._driver.close()

    async def poll(self, kind: Kind) -> Polled:
        return await (await self._found()).poll(kind)

    async def scan(
        self, cursor: bytes | None = None, *, match: bytes | None = None, type_: str | None = None, count: int = 500
    ) -> ScanStep:
        return await (await self._found()).scan(cursor, match=match, type_=type_, count=count)

    def enumeration(
        self, sink: KeySink, *, match: bytes | None = None, type_: str | None = None, replicas: bool = False
    ) -> Enumeration:
        return self.driver.enumeration(sink, match=match, type_=type_, replicas=replicas)

    async def facts(self, keys: Sequence[bytes], *, size: bool = True) -> KeyFactsList:
        return await (await self._found()).facts(keys, size=size)

    async def value(
        self,
        key: bytes,
        *,
        rows: int = VALUE_ROWS,
        max_bytes: int = VALUE_BYTES,
        start: bytes | None = None,
        order: str = "",
    ) -> Value:
        return await (await self._found()).value(key, rows=rows, max_bytes=max_bytes, start=start, order=order)

    async def policies(self) -> tuple[str, ...]:
        return await (await self._found()).policies()

    async def config(self, pattern: str) -> dict[str, str]:
        return await (await self._found()).config(pattern)

    async def settings(self, pattern: str = "*") -> SettingsByNode:
        return await (await self._found()).settings(pattern)

    async def flags(self, names: Sequence[str]) -> dict[str, frozenset[str] | None]:
        return await (await self._found()).flags(names)

    async def execute(self, commands: Sequence[Command]) -> list[object]:
        return await (await self._found()).execute(commands)

    async def execute_on(self, address: str, commands: Sequence[Command]) -> list[object]:
        return await (await self._found()).execute_on(address, commands)

    async def transact(
        self, watched: Sequence[bytes], checks: Sequence[Check], commands: Sequence[Command]
    ) -> list[object]:
        return await (await self._found()).transact(watched, checks, commands)

    async def latency_us(self) -> float | None:
        return await (await self._found()).latency_us()

    def node(self, address: str) -> Source:
        return self.driver.node(address)

    def why_not(self, capability: Capability) -> str | None:
        return self._driver.why_not(capability) if self._driver else f"not connected to {self.name} yet"


async def recognise(target: Target) -> Target:
    """Return `target` as what answers there: `redis` or `memcached`. Raises CacheError.

    Of several addresses the first that answers decides.
    """
    if not target.addresses:
        raise BadTarget("the target has no address", "write host:port")
    first: CacheError | None = None
    for address in target.addresses:
        try:
            kind = await _kind_at(address, target)
        except CacheError as error:
            first = first or error
        else:
            return dataclasses.replace(target, kind=kind, addresses=(address,))
    assert first is not None
    raise first


async def _kind_at(address: Address, target: Target) -> Literal["redis", "memcached"]:
    tls = target.tls
    context = tls_context(tls) if tls else None
    limit_s = target.timeout_s * (_TLS_SHARE if tls else 1)
    try:
        async with asyncio.timeout(limit_s):
            answer = await probe.ask(address, b"PING\r\n", context, tls.server_name if tls else None)
        if not answer:
            raise faults.ClosedEarly
    except (OSError, EOFError, faults.ClosedEarly) as error:
        raise await probe.diagnosed(error, address, tls, target.timeout_s) from error
    if answer.startswith((b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR")):
        return "memcached"
    if answer[:1] in (b"+", b"-"):
        return "redis"
    raise faults.not_a_cache(address, answer)
