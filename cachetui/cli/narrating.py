"""Progress on stderr: in place on a terminal, else a line now and then."""

from __future__ import annotations

import contextlib
import sys
import time

from cachetui.cli.call import Call

SHOWN_S, SAID_S = 0.2, 5.0
"""Seconds between two lines, on a terminal and elsewhere."""


class Narrator:
    """Shows the line of the moment; as a context manager it clears it at the end."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._terminal = sys.stderr.isatty()
        self._shown_at = time.monotonic() - (SHOWN_S if self._terminal else 0.0)
        self._stands = False

    def __enter__(self) -> Narrator:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, line: str) -> None:
        """Show how far it is, unless that was just done."""
        now = time.monotonic()
        if now - self._shown_at < (SHOWN_S if self._terminal else SAID_S):
            return
        self._shown_at = now
        if not self._terminal:
            self._call.tell(line)
            return
        self._stands = True
        self._write(f"\r{line}\x1b[K")

    def tell(self, line: str) -> None:
        """Say something that stays."""
        self.clear()
        self._call.tell(line)

    def clear(self) -> None:
        if self._stands:
            self._stands = False
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            sys.stderr.write(text)
            sys.stderr.flush()
