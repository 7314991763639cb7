"""Take passwords out of what `ps` shows of us."""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
from collections.abc import Sequence
from pathlib import Path

_IN_URL = re.compile(r"://([^@]*)@|[?&](?:sentinel_|ssl_)?password=([^&]*)")
_OPTIONS = ("-a", "--pass")
_ARG_START, _ARG_END = 47, 48
"""Fields of /proc/self/stat, counted from 0."""


def secrets_in(argv: Sequence[str]) -> list[str]:
    """Return the passwords of a command line, as they are written there.

    >>> secrets_in(["-a", "pw", "redis://u:p%40@h?password=q", "--pass=x", "-ay"])
    ['pw', 'p%40', 'q', 'x', 'y']
    """
    found: list[str] = []
    for before, word in zip(("", *argv), argv, strict=False):
        if before in _OPTIONS:
            found.append(word)
        elif word.startswith("--pass="):
            found.append(word.removeprefix("--pass="))
        elif word.startswith("-a") and len(word) > 2 and not word.startswith("--"):
            found.append(word[2:])
        else:
            for userinfo, password in _IN_URL.findall(word):
                found.append(password or userinfo.partition(":")[2] or userinfo)
    return [secret for secret in found if secret]


def conceal(argv: Sequence[str]) -> None:
    """Overwrite the passwords of `argv` in this process's own command line, where the system lets us (Linux)."""
    secrets = secrets_in(argv)
    if not secrets:
        return
    for at, word in enumerate(sys.argv):
        for secret in secrets:
            if secret in word:
                sys.argv[at] = sys.argv[at].replace(secret, "***")
    # Elsewhere, or where /proc is not mounted, the warning has to do.
    with contextlib.suppress(OSError, ValueError, IndexError):
        _overwrite([secret.encode("utf-8", "surrogateescape") for secret in secrets])


def _overwrite(secrets: Sequence[bytes]) -> None:
    # The second field is a name in parentheses and may hold spaces.
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[_ARG_START - 2]), int(fields[_ARG_END - 2])
    shown = Path("/proc/self/cmdline").read_bytes()
    if not 0 < end - start < 1 << 21 or len(shown) != end - start:
        return
    for secret in secrets:
        at = shown.find(secret)
        while at >= 0:
            ctypes.memset(start + at, ord("*"), len(secret))
            at = shown.find(secret, at + len(secret))
