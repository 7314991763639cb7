"""A value in the user's own editor: a private file, and back as bytes."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cachetui.errors import BadUsage
from cachetui.text import clean_utf8, from_printable, printable

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp

EDITED_BYTES = 8 * 1024 * 1024
"""More than this is not read back."""
FALLBACK = "vi"


def to_text(data: bytes) -> tuple[str, bool]:
    r"""Return the text to edit, and whether it is escaped because the bytes are no clean UTF-8.

    >>> to_text(b"a\nb"), to_text(b"\xff")
    (('a\nb', False), ('\\xff', True))
    """
    words = clean_utf8(data.replace(b"\n", b"").replace(b"\t", b""))
    return (data.decode("utf-8"), False) if words is not None else (printable(data), True)


def to_bytes(words: str, before: bytes, *, escaped: bool) -> bytes:
    r"""Return the edited bytes; the newline that editors add at the end does not count.

    >>> to_bytes("b\n", b"a", escaped=False), to_bytes("b\n", b"a\n", escaped=False)
    (b'b', b'b\n')
    """
    if words.endswith("\n") and not before.endswith(b"\n"):
        words = words[:-1]
    return from_printable(words) if escaped else words.encode("utf-8", "surrogateescape")


def edit(app: CachetuiApp, data: bytes, suffix: str) -> bytes | None:
    """Let somebody edit `data` in $VISUAL or $EDITOR; None when it was left as it is. Raises BadUsage."""
    words, escaped = to_text(data)
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or FALLBACK) or [FALLBACK]
    with tempfile.TemporaryDirectory(prefix="cachetui-") as folder:
        # The folder is its owner's only, and gone with what editors leave beside the file.
        path = Path(folder) / f"value{suffix}"
        path.write_bytes(words.encode("utf-8"))
        try:
            with app.suspend():
                code = subprocess.run([*command, str(path)], check=False).returncode
        except OSError as error:
            hint = "set EDITOR to one that is installed"
            raise BadUsage(f"the editor {printable(command[0], 60)} does not start: {error.strerror}", hint) from error
        if code:
            raise BadUsage(f"the editor ended with code {code}: nothing was changed", "")
        if path.stat().st_size > EDITED_BYTES:
            raise BadUsage("the edited value is too long", "set it with a client of your own")
        edited = to_bytes(path.read_bytes().decode("utf-8", "surrogateescape"), data, escaped=escaped)
    return None if edited == data else edited
