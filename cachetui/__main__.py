"""The entry: runs one command and turns every failure into one line and an exit code."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import warnings

INTERRUPTED = 130
INTERNAL = 70


def main(argv: list[str] | None = None) -> int:
    """Run cachetui and return the process's exit code: 0 to 5 as documented, 130 after Ctrl+C, 70 for a defect."""
    # Importing makes many objects and no garbage: fewer collections, a sooner first paint.
    gc.set_threshold(100_000)
    from cachetui.errors import CacheError

    try:
        from cachetui import cli

        code = cli.run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except CacheError as error:
        _say(error.line())
        code = error.exit_code
    except KeyboardInterrupt:
        # A half-made event loop would complain while it is thrown away.
        sys.unraisablehook = lambda _: None
        warnings.simplefilter("ignore")
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough. Python would complain once more while it ends.
        _forget_stdout()
        code = 0
    except OSError as error:
        _forget_stdout()
        _say(f"cannot write the output: {error.strerror or type(error).__name__}")
        code = 4
    except ImportError as error:
        _say(f"the installation is incomplete: {error}")
        code = INTERNAL
    except Exception as error:
        code = _defect(error)
    return code


def _forget_stdout() -> None:
    with contextlib.suppress(OSError, ValueError):  # it may be closed already
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(line: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr may be closed: then nobody listens
        print(f"cachetui: {line}", file=sys.stderr, flush=True)


def _defect(error: Exception) -> int:
    """Tell a defect in one line; the details go to a file, without local variables (they may hold secrets)."""
    import traceback

    from cachetui.config import state_dir
    from cachetui.text import printable

    line = f"internal error: {type(error).__name__}"
    where = state_dir() / "crash.txt"
    try:
        where.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        where.touch(mode=0o600)
        where.write_text("".join(traceback.format_exception(error)))
        line += f"; the details are in {printable(str(where))}"
    except OSError as failed:
        line += f": {printable(str(error), 200)} (and no file for the details: {failed.strerror})"
    _say(line)
    return INTERNAL


if __name__ == "__main__":
    sys.exit(main())
