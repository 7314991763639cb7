"""A Sentinel group of real servers, shared by the session: a primary, two replicas, three Sentinels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

from tests.contract.redis_targets import until
from tests.servers import launch
from tests.servers.launch import SERVERS, Server

NAME = "mymaster"
PASSWORD, SENTINEL_PASSWORD = "pw", "spw"
LONG_S = 40.0
"""A failover on a busy machine."""
Get = Callable[[str, Callable[[], Server]], Server]


@dataclass
class SentinelGroup:
    """Its servers; any may be primary by now."""

    kind: str
    servers: list[Server]
    watchers: list[Server]

    @property
    def url(self) -> str:
        places = ",".join(watcher.address for watcher in self.watchers)
        return f"redis+sentinel://:{PASSWORD}@{places}/{NAME}?sentinel_password={SENTINEL_PASSWORD}"

    def named(self, watcher: Server) -> str:
        """Return the address that a Sentinel names."""
        host, port = self.ask(watcher, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        return f"{host.decode()}:{port.decode()}"

    def ask(self, watcher: Server, *words: str) -> Any:
        with watcher.client(password=SENTINEL_PASSWORD) as client:
            return client.execute_command(*words)

    def primary(self) -> Server:
        """Return the server that the Sentinels name."""
        alive = [one for one in self.watchers if not one.paused and one.process and one.process.poll() is None]
        address = self.named(alive[0])
        return next(server for server in self.servers if server.address == address)

    def role(self, server: Server) -> dict[str, Any]:
        """Return INFO replication; empty when it does not answer."""
        try:
            with server.client(password=PASSWORD, socket_timeout=1) as client:
                found: dict[str, Any] = client.info("replication")
        except redis.RedisError:
            return {}
        return found

    def is_whole(self) -> bool:
        """Tell whether all servers and Sentinels are up, agree and follow one primary."""
        try:
            if len({self.named(watcher) for watcher in self.watchers}) != 1:
                return False
            primary = self.primary()
            behind = [self.role(server) for server in self.servers if server is not primary]
            if any((one.get("master_port"), one.get("master_link_status")) != (primary.port, "up") for one in behind):
                return False
            for watcher in self.watchers:
                with watcher.client(password=SENTINEL_PASSWORD) as client:
                    about, seen = client.sentinel_master(NAME), client.sentinel_slaves(NAME)
                good = [one for one in seen if one["flags"] == "slave"]
                if about["flags"] != "master" or about["num-other-sentinels"] != 2 or len(good) != 2:
                    return False
        except redis.RedisError:
            return False
        return True

    async def heal(self) -> None:
        """Start what was killed, wake what was stopped, and wait until the group is whole."""
        for server in (*self.servers, *self.watchers):
            if server.paused:
                server.resume()
                if server in self.watchers:
                    server.kill()  # woken, it would not act for 30 s (TILT)
            if server.process is not None and server.process.poll() is not None:
                server.start()
        await until(lambda: len({self.named(watcher) for watcher in self.watchers}) == 1, LONG_S)
        primary = self.primary()
        for server in self.servers:
            # A Sentinel does it too, some ten seconds later.
            if server is not primary and self.role(server).get("master_port") != primary.port:
                with server.client(password=PASSWORD) as client:
                    client.execute_command("REPLICAOF", "127.0.0.1", primary.port)
        await until(self.is_whole, LONG_S)


def sentinel_group(kind: str, get: Get) -> SentinelGroup:
    """Return the session's group of one kind of server; `get` is the fixture `_shared`."""
    binary = SERVERS[kind]()
    own = ("--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0")
    own += ("--enable-debug-command", "yes")
    primary = get(f"group-{kind}-0", lambda: launch.redis_server(binary, *own))
    behind = ("--replicaof", "127.0.0.1", str(primary.port))
    replicas = [get(f"group-{kind}-{n}", lambda: launch.redis_server(binary, *own, *behind)) for n in (1, 2)]
    options = (
        f"sentinel auth-pass {NAME} {PASSWORD}",
        f"sentinel down-after-milliseconds {NAME} 500",
        f"sentinel failover-timeout {NAME} 4000",
        f"requirepass {SENTINEL_PASSWORD}",
        f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
    )
    watchers = [
        get(
            f"watcher-{kind}-{n}",
            lambda: launch.sentinel_server(binary, primary, group=NAME, quorum=2, options=options),
        )
        for n in range(3)
    ]
    return SentinelGroup(kind, [primary, *replicas], watchers)
