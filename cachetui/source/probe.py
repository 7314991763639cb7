"""A few bytes to find out what answers at an address, before any driver is chosen."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cachetui.config import Address

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
