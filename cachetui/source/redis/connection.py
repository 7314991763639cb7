"""One connection: bounded reading, the greeting, and pipelines. Nothing is ever sent twice."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio.connection import Connection, DefaultParser, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from cachetui.config import Address, Secret, Target, Tls
from cachetui.errors import AuthFailed, BadTarget, Busy, CacheError
from cachetui.source import faults
from cachetui.source.redis.replies import as_int, as_map, as_text
from cachetui.source.tls import tls_context

CLIENT_NAME = "cachetui"

REPLY_BYTES = 64 * 1024 * 1024
"""The largest reply we hold: CLIENT LIST of 100,000 clients is half of it."""
LINE_BYTES = 64 * 1024
ELEMENTS = 8_000_000
"""The largest element count a reply may announce: memory is set aside for it at once."""
_READ_BYTES = 64 * 1024
_HEAD_BYTES = 64

Argument = bytes | str | int


class RefusedReply(ResponseError):
    """An error reply with its words as they came."""


class BoundedParser(DefaultParser):  # type: ignore[misc, valid-type]
    """redis-py's parser with a limit on each reply, and error replies kept whole."""

    def __init__(self, socket_read_size: int) -> None:
        super().__init__(socket_read_size=socket_read_size)
        self.head = b""
        """The first bytes of the connection: what to judge a stranger by."""
        self._received = 0
        self._opening = b""

    @classmethod
    def parse_error(cls, response: str) -> Exception:
        return RefusedReply(response)

    async def read_response(self, disable_decoding: bool = False, push_request: bool = False) -> Any:
        # What is left of the read before may hold this reply's first line already.
        self._received, self._opening = 0, b"\n" if self._reader and self._reader.has_data() else b""
        try:
            return await super().read_response(disable_decoding, push_request)
        except (InvalidResponse, TypeError) as error:
            raise faults.Garbage(self.head) from error

    async def read_from_socket(self) -> bool:
        data: bytes = await self._stream.read(self._read_size)
        if not data:
            raise (ConnectionResetError("closed by the server") if self.head else faults.ClosedEarly())
        if len(self.head) < _HEAD_BYTES:
            self.head += data[: _HEAD_BYTES - len(self.head)]
        self._received += len(data)
        if self._received > REPLY_BYTES:
            raise faults.ReplyTooLong
        self._check_opening(data)
        self._reader.feed(data)
        return True

    def _check_opening(self, data: bytes) -> None:
        """Refuse an endless first line and an impossible length before the parser believes in it."""
        if b"\n" in self._opening:
            return
        self._opening += data
        line, newline, _ = self._opening.partition(b"\n")
        if len(line) > LINE_BYTES:
            raise faults.Garbage(self.head)
        if newline:
            self._opening = line[:32] + newline
            if line[:1] in b"*%~>" and (as_int(line[1:].strip()) or 0) > ELEMENTS:
                raise faults.Garbage(self.head)


class TcpLink(Connection):
    """A TCP connection, with TLS when a context is given."""

    def __init__(self, *, tls_context: ssl.SSLContext | None, server_name: str | None, **options: Any) -> None:
        self._tls_context, self._server_name = tls_context, server_name
        super().__init__(**options)

    def _connection_arguments(self) -> dict[str, Any]:
        arguments = dict(super()._connection_arguments())
        if self._tls_context is not None:
            arguments |= {"ssl": self._tls_context, "server_hostname": self._server_name or self.host}
        return arguments


class UnixLink(UnixDomainSocketConnection):
    """A unix socket; the greeting is ours alone."""

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(path=self.path)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to one server."""

    user: str | None = None
    password: Secret | None = None
    db: int = 0
    tls: Tls | None = None
    timeout_s: float = 2.0
    protocol: int = 3

    @classmethod
    def of(cls, target: Target, protocol: int = 3) -> Credentials:
        return cls(target.user, target.password, target.db, target.tls, target.timeout_s, protocol)


@dataclass
class Link:
    """An open connection that was greeted. Not safe for concurrent use: see `Lane`."""

    address: Address
    credentials: Credentials
    count: Any
    """Called with each command's arguments as it is sent."""
    hello: dict[str, object] = field(default_factory=dict)
    """The reply to HELLO; empty where the server has or allows none."""
    client_id: int | None = None
    database_due: bool = False
    """SELECT is still to come: the server was busy."""
    closed: bool = False
    """We closed it ourselves."""
    _connection: Any = field(default=None, repr=False)

    async def open(self) -> None:
        """Connect and greet. Raises CacheError or whatever the network raises (see `faults`)."""
        who = self.credentials
        options: dict[str, Any] = {
            "parser_class": BoundedParser,
            "socket_read_size": _READ_BYTES,
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "retry": Retry(NoBackoff(), 0),
            "redis_connect_func": _prepare_parser,
            "driver_info": None,
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
            "protocol": who.protocol,
            "decode_responses": False,
        }
        if self.address.path:
            self._connection = UnixLink(path=self.address.path, **options)
        else:
            tls = who.tls
            self._connection = TcpLink(
                host=self.address.host,
                port=self.address.port,
                tls_context=tls_context(tls) if tls else None,
                server_name=tls.server_name if tls else None,
                **options,
            )
        try:
            await self._connection.connect()
            await self._greet()
        except BaseException:
            await self.close()
            raise

    @property
    def usable(self) -> bool:
        """False when the server has closed it, or sent something that nobody asked for."""
        reader = getattr(self._connection, "_reader", None)
        return reader is not None and not reader.at_eof() and not self._connection._parser._reader.has_data()

    async def close(self) -> None:
        self.closed = True
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)

    async def exchange(self, commands: Sequence[Sequence[Argument]]) -> list[object]:
        """Send `commands` at once and return the replies, a RefusedReply in the place of a refused one."""
        for command in commands:
            self.count(command)
        await self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
        replies: list[object] = []
        for _ in commands:
            try:
                replies.append(await self._connection.read_response(disconnect_on_error=False))
            except RefusedReply as error:
                replies.append(error)
        return replies

    async def receive(self) -> object:
        """Return the next message of a subscription; it waits for ever, so bound it."""
        return await self._connection.read_response(disconnect_on_error=False)

    async def post(self, command: Sequence[Argument]) -> None:
        """Send `command` on a subscribed connection: its answer comes as a message."""
        self.count(command)
        await self._connection.send_packed_command(self._connection.pack_commands([command]), check_health=False)

    async def _greet(self) -> None:
        who = self.credentials
        hello: list[Argument] = ["HELLO", who.protocol]
        if who.password is not None:
            hello += ["AUTH", who.user or "default", who.password]
        (reply,) = await self.exchange([[*hello, "SETNAME", CLIENT_NAME]])
        if isinstance(reply, RefusedReply):
            error = faults.reply_error(str(reply))
            if isinstance(error, AuthFailed) or error.code == "unreachable" or str(reply).startswith("DENIED"):
                raise _first_refusal(error)
            await self._greet_without_hello()
        else:
            self.hello = as_map(reply)
            self.client_id = as_int(self.hello.get("id"))
        self.database_due = who.db != 0
        if self.database_due:
            with contextlib.suppress(Busy):  # a stuck script can only be ended by somebody who is connected
                await self.select()

    async def select(self) -> None:
        """Select the database. Raises CacheError."""
        db = self.credentials.db
        (reply,) = await self.exchange([["SELECT", db]])
        if isinstance(reply, RefusedReply):
            raise no_database(str(reply), db)
        self.database_due = False

    async def _greet_without_hello(self) -> None:
        who = self.credentials
        self._connection.protocol = 2
        if who.password is not None:
            names: list[Argument] = [who.user] if who.user else []
            (reply,) = await self.exchange([["AUTH", *names, who.password]])
            if isinstance(reply, RefusedReply):
                raise _first_refusal(faults.reply_error(str(reply)))
        # A refused name is no reason to give up; a missing id only means that CLIENT LIST cannot mark us.
        named, number = await self.exchange([["CLIENT", "SETNAME", CLIENT_NAME], ["CLIENT", "ID"]])
        if isinstance(named, RefusedReply) and str(named).startswith("NOAUTH"):
            raise _first_refusal(faults.no_password())
        self.client_id = as_int(number)


def no_database(reply: str, db: int) -> CacheError:
    """Return the error for a refused SELECT."""
    if "out of range" in reply:
        return BadTarget(f"there is no database {db} on this server", "CONFIG GET databases says how many there are")
    if "cluster mode" in reply:
        return BadTarget(f"a cluster node has no database {db}", "connect without a database number")
    return faults.reply_error(reply, f"SELECT {db}")


def _first_refusal(error: CacheError) -> CacheError:
    error.detail.pop("reply", None)
    return error


async def _prepare_parser(connection: Any) -> None:
    connection._parser.on_connect(connection)


def command_name(command: Sequence[Argument]) -> str:
    """Return what a command is called in `denied` and in messages: `INFO`, `CONFIG GET`, `SLOWLOG`.

    >>> command_name(["config", b"get", "x"]), command_name([b"GET", b"k"]), command_name(["SLOWLOG", "GET", 128])
    ('CONFIG GET', 'GET', 'SLOWLOG')
    """
    name = as_text(command[0], 40).upper()
    if name in _CONTAINERS and len(command) > 1:
        sub = as_text(command[1], 40).upper()
        return name if (name, sub) == ("SLOWLOG", "GET") else f"{name} {sub}"
    return name


_CONTAINERS = {
    *("ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DEBUG", "FUNCTION"),
    *("LATENCY", "MEMORY", "OBJECT", "SCRIPT", "SENTINEL", "SLOWLOG", "XINFO"),
}
