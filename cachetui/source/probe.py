"""A few bytes to find out what answers at an address: before any driver is chosen, and when one failed."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cachetui.config import Address, Tls
from cachetui.errors import CacheError
from cachetui.source import faults
from cachetui.source.tls import tls_context

PROBE_S = 0.5
_ANSWER_BYTES = 256


async def speaks_tls(address: Address, timeout_s: float = PROBE_S) -> bool:
    """Tell whether a TLS handshake gets anywhere there. The certificate is of no interest."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(timeout_s), _connected(address, context):
            return True
    except ssl.SSLError as error:
        # An alert (a client certificate is asked for, no common cipher) is TLS as well.
        return "ALERT" in (error.reason or "")
    except (OSError, TimeoutError, EOFError):
        return False


async def speaks_plain(address: Address, timeout_s: float = PROBE_S) -> bool:
    """Tell whether the server answers a plain PING as Redis or Memcached would."""
    try:
        async with asyncio.timeout(timeout_s):
            answer = await ask(address, b"PING\r\n")
    except (OSError, TimeoutError, EOFError):
        return False
    return answer[:1] in (b"+", b"-") or answer.startswith((b"ERROR", b"CLIENT_ERROR"))


async def tls_alert(address: Address, tls: Tls, timeout_s: float = PROBE_S) -> ssl.SSLError | None:
    """Return the alert that the server sends after a handshake, if it sends one.

    A client certificate is refused only then, and a server that resets the connection at once
    destroys its own alert where we had already written.
    """
    try:
        async with asyncio.timeout(timeout_s), _connected(address, tls_context(tls), tls.server_name) as (reader, _):
            await reader.read(1)
    except ssl.SSLError as error:
        return error
    except (OSError, TimeoutError, EOFError, CacheError):
        return None
    return None


async def diagnosed(error: BaseException, address: Address, tls: Tls | None, timeout_s: float) -> CacheError:
    """Return what is wrong with a connection that could not be made: where TLS may be the cause, look."""
    seen = faults.from_exception(error, address, timeout_s)
    if isinstance(error, CacheError) or address.path or seen.code not in ("unreachable", "timed-out"):
        return seen
    causes = faults.causes(error)
    cut = any(isinstance(cause, faults.ClosedEarly | ConnectionResetError | BrokenPipeError) for cause in causes)
    if tls is None:
        return faults.needs_tls(address) if cut and await speaks_tls(address) else seen
    if cut and (alert := await tls_alert(address, tls)):
        return faults.tls_error(alert, address)
    refused = any(isinstance(cause, ConnectionRefusedError) for cause in causes)
    if not refused and await speaks_plain(address):
        return faults.speaks_plain(address)
    return seen


async def ask(
    address: Address, question: bytes, context: ssl.SSLContext | None = None, host: str | None = None
) -> bytes:
    """Send `question` and return the first line that comes (cut at 256 bytes), b"" when it is closed instead.

    The caller sets the deadline. Raises OSError.
    """
    async with _connected(address, context, host) as (reader, writer):
        writer.write(question)
        await writer.drain()
        answer = b""
        while b"\n" not in answer and len(answer) < _ANSWER_BYTES:
            more = await reader.read(_ANSWER_BYTES)
            if not more:
                break
            answer += more
            if answer[:2] == b"\x15\x03":
                break
        return answer[:_ANSWER_BYTES]


@asynccontextmanager
async def _connected(
    address: Address, context: ssl.SSLContext | None = None, host: str | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    if address.path:
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        server_hostname = (host or address.host) if context else None
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=context, server_hostname=server_hostname
        )
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # the other end may have gone first
            transport = writer.transport
            transport.abort()


async def accepts(address: Address, timeout_s: float = PROBE_S) -> bool:
    """Tell whether something takes a connection there."""
    try:
        async with asyncio.timeout(timeout_s), _connected(address):
            return True
    except (OSError, TimeoutError):
        return False
