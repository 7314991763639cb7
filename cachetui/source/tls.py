"""How we speak TLS: one context from what the target says, and never a prompt."""

from __future__ import annotations

import ssl
from pathlib import Path

from cachetui.config import Tls
from cachetui.errors import TlsFailed
from cachetui.text import printable


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return the context for `tls`. Raises TlsFailed for files that cannot be used.

    Blocks for some milliseconds while the system's certificates are read.
    """
    for name in (tls.ca_file, tls.cert_file, tls.key_file):
        if name:
            _check_readable(name)
    try:
        context = ssl.create_default_context(cafile=tls.ca_file, capath=tls.ca_dir)
    except ssl.SSLError as error:
        raise TlsFailed(f"not a CA file: {printable(tls.ca_file or '')}", "it must be PEM") from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file:
        _load_certificate(context, tls)
    return context


def _check_readable(name: str) -> None:
    try:
        with Path(name).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise TlsFailed(f"cannot read {printable(name)}: {error.strerror}", "check the path") from error


def _load_certificate(context: ssl.SSLContext, tls: Tls) -> None:
    asked = False

    def key_password() -> str:
        # Without a callback OpenSSL would prompt on the terminal.
        nonlocal asked
        asked = True
        return str.__str__(tls.key_password) if tls.key_password else ""

    try:
        context.load_cert_chain(str(tls.cert_file), tls.key_file, key_password)
    except ssl.SSLError as error:
        if asked:
            state = "is wrong" if tls.key_password else "is needed"
            raise TlsFailed(f"the client key is encrypted and its password {state}", "give the right one") from error
        name = printable(str(tls.cert_file))
        raise TlsFailed(f"client certificate and key do not work: {name}", "both must be PEM and fit") from error
