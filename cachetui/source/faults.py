"""Every exception of a connection as one clear line with a hint. No password gets here: no text of ours holds one."""

from __future__ import annotations

import errno
import re
import socket
import ssl

from cachetui.config import Address
from cachetui.errors import AuthFailed, CacheError, Denied, NotACache, TimedOut, TlsFailed, Unreachable, from_reply
from cachetui.text import duration, printable

_REFUSED_BY_PROVIDER = re.compile(
    r"command.{0,60}?(?:not (?:allowed|permitted|available|support)|disabled)", re.IGNORECASE
)
_WITHIN_SCRIPT = re.compile(r"ERR Error running script \(call to \w+\): .{0,60}?: -([A-Z]{2,} .*)", re.DOTALL)
"""How servers before 7.0 word the refusal of a command inside a script."""
_KEY_OF_ACL = re.compile(r"\b(?:access|keys?|channels?)\b", re.IGNORECASE)

_EXPIRED, _NOT_YET_VALID, _WRONG_HOST, _WRONG_IP = 10, 9, 62, 64
_UNKNOWN_CA = (2, 18, 19, 20, 21)


class ReplyTooLong(Exception):
    """One reply is larger than we are willing to hold."""


class Garbage(Exception):
    """What came is not the protocol; `head` is how it began."""

    def __init__(self, head: bytes) -> None:
        super().__init__("not a reply")
        self.head = head


class ClosedEarly(Exception):
    """The server closed the connection before it had answered anything."""


def causes(error: BaseException) -> list[BaseException]:
    """Return `error` and what it was raised from, outermost first."""
    found: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in found:
        found.append(at)
        at = at.__cause__ or at.__context__
    return found


def reply_error(reply: str, command: str = "") -> CacheError:
    """Return the error for an error reply; what a provider words as "not allowed" counts as denied."""
    inside = _WITHIN_SCRIPT.match(reply)
    reply = inside[1] if inside else reply
    error = from_reply(reply, command)
    if error.code == "server-error" and reply.startswith("ERR") and _REFUSED_BY_PROVIDER.search(reply):
        text = printable(reply, 200)
        prefix = f"{command}: " if command else ""
        return Denied(f"{prefix}refused by the server: {text}", "a provider may have switched it off", {"reply": text})
    return error


def concerns_command(error: CacheError) -> bool:
    """Tell whether a refusal is about the command itself, and so will be the same next time.

    An ACL may also refuse a command for one key only: that is not remembered.
    """
    if error.code == "unsupported":
        return True
    if error.code != "denied":
        return False
    reply = str(error.detail.get("reply", ""))
    return "to run" in reply or not _KEY_OF_ACL.search(reply)


def timed_out(address: Address, timeout_s: float, doing: str = "") -> TimedOut:
    """Return the error for a server that let the deadline pass."""
    what = f" to {doing}" if doing else ""
    return TimedOut(
        f"{printable(str(address))} did not answer{what} within {duration(timeout_s)}",
        "it is stopped, overloaded or far away, or no cache at all",
    )


def needs_tls(address: Address) -> TlsFailed:
    """Return the error for a TLS port that was addressed in plain."""
    return TlsFailed(f"{printable(str(address))} speaks TLS only", "connect with rediss:// or --tls")


def speaks_plain(address: Address) -> TlsFailed:
    """Return the error for a plain port that was addressed with TLS."""
    return TlsFailed(f"{printable(str(address))} does not speak TLS", "connect with redis://, without --tls")


def not_a_cache(address: Address, head: bytes) -> CacheError:
    """Return what answered instead, judged by the first bytes it sent."""
    where = printable(str(address))
    if head[:2] == b"\x15\x03":
        return needs_tls(address)
    if head.startswith(b"HTTP/"):
        return NotACache(f"{where} is not a cache: an HTTP server answers", "check host and port")
    if head.startswith((b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR", b"VERSION ")):
        return NotACache(f"{where} is not Redis: Memcached answers", f"connect with memcached://{where}")
    if head.startswith(b"SSH-"):
        return NotACache(f"{where} is not a cache: an SSH server answers", "check host and port")
    shown = f", it said {printable(head[:40])!r}" if head else ""
    return NotACache(f"{where} is not a cache{shown}", "check host and port")


def from_exception(error: BaseException, address: Address, timeout_s: float) -> CacheError:
    """Return the error a person is shown for any exception of connecting, writing or reading."""
    where = printable(str(address))
    for cause in causes(error):
        if isinstance(cause, CacheError):
            return cause
        if isinstance(cause, Garbage):
            return not_a_cache(address, cause.head)
        if isinstance(cause, ReplyTooLong):
            hint = "the connection was dropped and will be made again"
            return Unreachable(f"{where} sent a reply too large to hold", hint, {"too_large": True})
        if isinstance(cause, ClosedEarly):
            return Unreachable(
                f"{where} closed the connection without an answer",
                "it may want TLS, refuse our address, or have no room for more clients",
            )
        if isinstance(cause, ssl.SSLError):
            return tls_error(cause, address)
        if isinstance(cause, OSError):
            return _os_error(cause, address, timeout_s)
    if any(isinstance(cause, TimeoutError) or type(cause).__name__ == "TimeoutError" for cause in causes(error)):
        return timed_out(address, timeout_s)
    return Unreachable(f"{where} closed the connection", "it restarted, was stopped, or closes idle clients")


def _os_error(error: OSError, address: Address, timeout_s: float) -> CacheError:
    where = printable(str(address))
    if isinstance(error, TimeoutError):
        return timed_out(address, timeout_s)
    if isinstance(error, socket.gaierror):
        return Unreachable(f"unknown host {printable(address.host)}", "check the name, or the resolver of this machine")
    if address.path and error.errno == errno.ENOENT:
        return Unreachable(f"no such socket: {where}", "check the path; the server may not run")
    if address.path and error.errno == errno.ENOTSOCK:
        return Unreachable(f"not a socket: {where}", "check the path")
    number = error.errno or _first_errno(str(error))
    if number in (errno.EACCES, errno.EPERM):
        return Unreachable(f"no permission to connect to {where}", "check the socket's mode or the firewall")
    if number == errno.ECONNREFUSED:
        return Unreachable(f"{where} refused the connection", "nothing listens there: is the server running?")
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return Unreachable(f"no route to {where}", "check network, VPN and firewall")
    if isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        return Unreachable(f"{where} cut the connection", "it was stopped, killed us, or a firewall cut in")
    reason = printable(error.strerror or str(error), 120)
    return Unreachable(f"cannot connect to {where}: {reason}", "check address and network")


def _first_errno(text: str) -> int | None:
    """Return the error number of the first address tried: asyncio only words it when a name has several."""
    match = re.search(r"\[Errno (\d+)\]", text)
    return int(match[1]) if match else None


def tls_error(error: ssl.SSLError, address: Address) -> TlsFailed:
    """Return why TLS failed, with the certificate's reason."""
    where = printable(str(address))
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_error(error, where)
    reason = (error.reason or str(error)).upper()
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return TlsFailed(f"{where} asks for a client certificate", "give one with --cert and --key")
    if "UNKNOWN_CA" in reason or "BAD_CERTIFICATE" in reason or "CERTIFICATE_UNKNOWN" in reason:
        return TlsFailed(f"{where} refused our client certificate", "its CA must be one the server trusts")
    if "CERTIFICATE_EXPIRED" in reason:
        return TlsFailed(f"{where} refused our client certificate: it has expired", "renew it")
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER" in reason or "UNEXPECTED_MESSAGE" in reason:
        return speaks_plain(address)
    if "PROTOCOL_VERSION" in reason or "UNSUPPORTED_PROTOCOL" in reason:
        return TlsFailed(f"{where} and we have no TLS version in common", "the server offers only old versions")
    return TlsFailed(f"TLS with {where} failed: {printable(reason.replace('_', ' ').lower(), 80)}", "")


def _certificate_error(error: ssl.SSLCertVerificationError, where: str) -> TlsFailed:
    if error.verify_code == _EXPIRED:
        return TlsFailed(f"the certificate of {where} has expired", "renew it; --insecure connects without any check")
    if error.verify_code == _NOT_YET_VALID:
        return TlsFailed(f"the certificate of {where} is not valid yet", "compare the clocks of both machines")
    if error.verify_code in (_WRONG_HOST, _WRONG_IP) or "match" in error.verify_message:
        return TlsFailed(f"the certificate of {where} is for another host", "connect by a name that it holds")
    if error.verify_code in _UNKNOWN_CA:
        return TlsFailed(f"the certificate of {where} is signed by an unknown CA", "give the CA with --cacert")
    reason = printable(error.verify_message, 80)
    return TlsFailed(f"the certificate of {where} was refused: {reason}", "--insecure connects without any check")


def no_password(command: str = "") -> AuthFailed:
    """Return the error for a server that asks for a password we do not have."""
    error = from_reply("NOAUTH", command)
    assert isinstance(error, AuthFailed)
    return error
