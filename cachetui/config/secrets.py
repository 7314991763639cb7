"""Where passwords come from beside the URL: a command, the terminal. None of them shows in a message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cachetui.config.target import Secret, Tls
from cachetui.errors import AuthFailed, BadUsage
from cachetui.text import printable

COMMAND_TIMEOUT_S = 10.0

Ask = Callable[[str], str]
"""Asks a person for a secret, without echo."""


def from_command(command: str, what: str) -> Secret:
    """Return the first line that `command` prints; no shell is involved. `what` names it in errors.

    Raises AuthFailed. Neither the command's arguments nor anything it printed is repeated.
    """
    import shlex
    import subprocess

    words = shlex.split(command)
    program = printable(words[0], 80)
    try:
        # Its stdin stays the terminal, for a password manager that asks; its stderr may hold secrets.
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise AuthFailed(f"{what}: {program} gave no answer in {COMMAND_TIMEOUT_S:g} s", "run it by hand") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it cannot be run"
        raise AuthFailed(f"{what}: {program}: {reason}", "check the profile") from None
    if done.returncode:
        raise AuthFailed(f"{what}: {program} ended with {done.returncode}", "run it by hand to see why")
    line = done.stdout.split(b"\n", 1)[0].removesuffix(b"\r")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise AuthFailed(f"{what}: {program} printed something that is not UTF-8 text", "run it by hand") from None
    if not text:
        raise AuthFailed(f"{what}: {program} printed nothing", "the password is the first line it prints")
    return Secret(text)


def ask_on_terminal(prompt: str) -> str:
    """Ask on the terminal itself, without echo, whatever stdin and stdout are. Raises BadUsage without a terminal."""
    import getpass

    try:
        with Path("/dev/tty").open("r+b", buffering=0):
            pass
    except OSError:
        raise BadUsage(f"no terminal to ask on ({prompt})", "use REDISCLI_AUTH or a password_command") from None
    try:
        return getpass.getpass(f"{prompt}: ")
    except EOFError:
        raise BadUsage(f"nothing was typed ({prompt})", "") from None


def ready_tls(tls: Tls, ask: Ask) -> Tls:
    """Return `tls` with its files checked, and the passphrase of an encrypted key asked for.

    Raises BadUsage for a file that cannot be used.
    """
    for path in filter(None, (tls.ca_file, tls.ca_dir, tls.cert_file, tls.key_file)):
        if not Path(path).exists():
            raise BadUsage(f"no such file: {printable(path)}", "check the TLS options")
    if tls.key_file and not tls.cert_file:
        raise BadUsage("a key without its certificate", "give the certificate with --cert")
    if tls.key_file and tls.key_password is None and _is_encrypted(tls.key_file):
        tls = replace(tls, key_password=Secret(ask(f"Passphrase of {printable(tls.key_file)}")))
    _load(tls)
    return tls


def _is_encrypted(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return b"ENCRYPTED" in file.read(64 * 1024)
    except OSError as error:
        raise BadUsage(f"{printable(path)}: {error.strerror}", "check the TLS options") from None


def _load(tls: Tls) -> None:
    """Try the files now: later the reason would be lost among the reasons of a handshake."""
    if not (tls.ca_file or tls.cert_file):
        return
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if tls.ca_file:
            context.load_verify_locations(tls.ca_file)
    except (ssl.SSLError, OSError):
        raise BadUsage(f"not a file of CA certificates: {printable(tls.ca_file or '')}", "it holds PEM text") from None
    try:
        if tls.cert_file:
            # Without a password OpenSSL would ask on the terminal by itself.
            context.load_cert_chain(tls.cert_file, tls.key_file, lambda: tls.key_password or "")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise BadUsage(*_why(tls, error)) from None


def _why(tls: Tls, error: Exception) -> tuple[str, str]:
    where = printable(tls.key_file or tls.cert_file or "")
    reason = getattr(error, "reason", None) or ""
    if reason == "KEY_VALUES_MISMATCH":
        return f"the key does not belong to the certificate: {where}", "check --cert and --key"
    if tls.key_password is not None and isinstance(error, OSError):
        return f"the passphrase does not open the key: {where}", "give the right one"
    if isinstance(error, PermissionError):
        return f"{where}: {error.strerror}", "check its permissions"
    return f"not a certificate and key that can be used: {where}", "both are PEM text; check --cert and --key"
