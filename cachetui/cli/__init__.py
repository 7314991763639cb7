"""The command line: finds the command, runs it, and leaves failures to the entry."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence

from cachetui.cli.parser import COMMANDS, parse
from cachetui.errors import CacheError

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code. Raises CacheError; stdout gets data only."""
    from cachetui.cli.conceal import conceal

    call = parse(argv, os.environ)
    if call is None:
        return 0
    conceal(argv)
    if call.options.password is not None and not call.options.no_auth_warning:
        call.tell("warning: a password on the command line can be seen by others; use --askpass or REDISCLI_AUTH")
    module = importlib.import_module(f"cachetui.cli.{COMMANDS[call.command].module}")
    try:
        code = getattr(module, call.command)(call)
    except CacheError as error:
        if call.json and COMMANDS[call.command].document:
            from cachetui.cli.output import error_document

            error_document(COMMANDS[call.command].document, error)
        raise
    assert isinstance(code, int)
    return code
