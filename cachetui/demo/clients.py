"""Clients for the patterns, of whatever a target names. The client's library is loaded when it is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cachetui.config import Address, Target
from cachetui.source.tls import tls_context

CONNECTIONS = 32


@asynccontextmanager
async def client_of(target: Target, *, clustered: bool) -> AsyncIterator[Any]:
    """Open a client of a target that is known to be redis, sentinel, cluster or memcached."""
    if target.kind == "memcached":
        client = _memcached(target)
        try:
            yield client
        finally:
            client.close()
        return
    client = _redis(target, clustered)
    try:
        if clustered:
            await client.initialize()
        yield client
    finally:
        await client.aclose()


def _memcached(target: Target) -> Any:
    from pymemcache.client.base import PooledClient
    from pymemcache.client.hash import HashClient

    options: dict[str, Any] = {"connect_timeout": target.timeout_s, "timeout": target.timeout_s, "no_delay": True}
    options |= {"max_pool_size": CONNECTIONS, "default_noreply": False}
    if target.tls is not None:
        options["tls_context"] = tls_context(target.tls)
    places = [_place(address) for address in target.addresses]
    return PooledClient(places[0], **options) if len(places) == 1 else HashClient(places, use_pooling=True, **options)


def _place(address: Address) -> str | tuple[str, int]:
    return f"unix:{address.path}" if address.path else (address.host, address.port)


def _redis(target: Target, clustered: bool) -> Any:
    from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
    from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection
    from redis.asyncio.sentinel import Sentinel

    first, options = target.addresses[0], _options(target)
    if target.kind == "sentinel":
        who = {"username": target.sentinel_user, "password": target.sentinel_password}
        sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
            [(address.host, address.port) for address in target.addresses],
            sentinel_kwargs={**options, **who},
            **options,
        )
        return sentinels.master_for(target.service, db=target.db, max_connections=CONNECTIONS)
    if clustered:
        return RedisCluster(host=first.host, port=first.port, max_connections=CONNECTIONS, **options)
    if first.path:
        options |= {"connection_class": UnixDomainSocketConnection, "path": first.path}
    else:
        options |= {"host": first.host, "port": first.port}
    if options.pop("ssl", False):
        options["connection_class"] = SSLConnection
    pool = BlockingConnectionPool(max_connections=CONNECTIONS, timeout=target.timeout_s, db=target.db, **options)
    return Redis.from_pool(pool)


def _options(target: Target) -> dict[str, Any]:
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    options: dict[str, Any] = {
        "username": target.user,
        "password": target.password,
        "client_name": "cachetui-load",
        "socket_timeout": target.timeout_s,
        "socket_connect_timeout": target.timeout_s,
        # No write is sent twice behind the pattern's back.
        "retry": Retry(NoBackoff(), 0),
    }
    if (tls := target.tls) is not None:
        options |= {"ssl": True, "ssl_ca_certs": tls.ca_file, "ssl_ca_path": tls.ca_dir, "ssl_certfile": tls.cert_file}
        options |= {"ssl_keyfile": tls.key_file, "ssl_password": tls.key_password, "ssl_check_hostname": tls.verify}
        options["ssl_cert_reqs"] = "required" if tls.verify else "none"
    return options
