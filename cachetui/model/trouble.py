"""Errors as plain data and back: what a feed shows and a recording keeps of a failed poll."""

from __future__ import annotations

from cachetui.errors import CacheError, ServerError
from cachetui.model.findings import Trouble
from cachetui.text import printable

MESSAGE_LENGTH = 300

LINK_CODES = frozenset({"unreachable", "timed-out", "tls", "not-a-cache", "auth", "loading", "busy"})
"""Troubles of the whole connection or server: every other poll would meet the same one."""

REFUSAL_CODES = frozenset({"denied", "unsupported"})
"""Troubles that asking again does not mend."""


def trouble_of(error: BaseException, since: float) -> Trouble:
    """Return the plain data of `error`; anything but a `CacheError` is a defect and gets the code `error`.

    >>> trouble_of(ValueError("bad\\x1b[2J"), 5.0).message
    'internal error: ValueError: bad\\\\x1b[2J'
    """
    if not isinstance(error, CacheError):
        text = f"internal error: {type(error).__name__}: {error}"
        return Trouble("error", printable(text, MESSAGE_LENGTH), "please report it; asked again by itself", since)
    detail = dict(error.detail)
    if isinstance(error, ServerError):
        detail.setdefault("word", error.word)
    return Trouble(error.code, error.message, error.hint, since, detail)


def error_of(trouble: Trouble) -> CacheError:
    """Return the error that `trouble` was made of: the class belongs to its code.

    >>> type(error_of(Trouble("timed-out", "no answer", "", 1.0))).__name__
    'TimedOut'
    """
    cls = _classes().get(trouble.code, CacheError)
    error = cls(trouble.message, trouble.hint, dict(trouble.detail))
    if isinstance(error, ServerError):
        error.word = str(trouble.detail.get("word", "ERR"))
    return error


def _classes() -> dict[str, type[CacheError]]:
    found: dict[str, type[CacheError]] = {}
    pending: list[type[CacheError]] = [CacheError]
    while pending:
        cls = pending.pop()
        found.setdefault(cls.code, cls)
        pending.extend(cls.__subclasses__())
    return found
