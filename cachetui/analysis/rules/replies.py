"""Rules about error replies: logins and permissions refused, and every other word that rises."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.growth import Growth, Reader, error_growth, growth, number, over_same_span, window_growth
from cachetui.analysis.rules.rule import Priority, Problem
from cachetui.errors import MEANINGS
from cachetui.model import Evidence, Stats

LEAST_ERRORS = 10
"""Error replies in the window below which somebody has mistyped."""

ERRORS_PER_S, ERRORS_MANY_PER_S = 1.0, 10.0
"""Error replies a second: a program does that; and a busy one does."""

ERROR_SHARE_PERCENT = 10.0
"""Percent of all commands answered with an error: an outage for somebody."""

REFUSALS_PER_S = 1.0
"""Refused logins or commands a second (and at least `LEAST_ERRORS`): a client in a loop, or somebody who guesses."""

_TOLD_ELSEWHERE = frozenset(
    [
        "OOM",
        "MISCONF",
        "READONLY",
        "MASTERDOWN",
        "CLUSTERDOWN",
        "NOREPLICAS",
        "NOAUTH",
        "WRONGPASS",
        "NOPERM",
        "BUSY",
        "LOADING",
    ]
)
_ORDINARY = frozenset(["MOVED", "ASK", "NOSCRIPT", "BUSYGROUP", "BUSYKEY", "EXECABORT"])
"""Part of the ordinary dialogue with a cluster, a script cache, a stream, a RESTORE, a transaction."""


def errors_rising(evidence: Evidence) -> Problem | None:
    words = _risen(evidence)
    if words:
        word, worst = max(words.items(), key=lambda pair: pair[1].amount)
    else:
        total = window_growth(evidence, "error_replies_total")
        known = evidence.stats is not None and bool(evidence.stats.errors)
        if known or total is None:
            return None
        word, worst = "", total
    if worst.amount < LEAST_ERRORS:
        return None
    commands = over_same_span(evidence, worst, "commands_total")
    share = 100 * worst.amount / commands if commands else None
    priority: Priority = "low"
    if worst.per_s >= ERRORS_PER_S:
        outage = share is not None and share >= ERROR_SHARE_PERCENT and worst.per_s >= ERRORS_MANY_PER_S
        priority = "high" if outage else "medium"
    meaning = MEANINGS.get(word)
    named = f"{word} errors" if word else "Error replies"
    told = "" if share is None else f", {text.percent(min(share, 100.0))} of all commands"
    return Problem(
        priority,
        f"{named} rise: {text.count(worst.amount)} {worst.words}, {text.rate(worst.per_s)}{told}",
        f"{meaning.cause[:1].upper()}{meaning.cause[1:]}: {meaning.action}."
        if meaning
        else "Ask the application's log which command fails, and compare with the last deploy.",
        {
            "word": word or None,
            "errors": int(worst.amount),
            "errors_per_s": round(worst.per_s, 3),
            "commands_share_percent": None if share is None else round(share, 3),
            "words": {name: int(grown.amount) for name, grown in words.items()},
            **worst.facts(),
        },
    )


def logins_refused(evidence: Evidence) -> Problem | None:
    grown = [error_growth(evidence, word) for word in ("WRONGPASS", "NOAUTH")]
    grown.append(growth(evidence, _counted("acl_access_denied_auth")))
    return _refusals(
        [g for g in grown if g is not None and g.amount > 0],
        "Logins refused",
        "A client has an old password, or somebody guesses: ACL LOG names user and address.",
        "refused_logins",
    )


def permissions_refused(evidence: Evidence) -> Problem | None:
    grown = [error_growth(evidence, "NOPERM")]
    grown += [growth(evidence, _counted(f"acl_access_denied_{what}")) for what in ("cmd", "key", "channel")]
    return _refusals(
        [g for g in grown if g is not None and g.amount > 0],
        "Commands or keys denied by ACL",
        "ACL LOG names user, command and key: allow it, or mend the client.",
        "denied_commands",
    )


def _refusals(grown: list[Growth], issue: str, action: str, name: str) -> Problem | None:
    if not grown:
        return None
    worst = max(grown, key=lambda g: (not g.since_start, g.amount))
    often = not worst.since_start and worst.amount >= LEAST_ERRORS and worst.per_s >= REFUSALS_PER_S
    return Problem(
        "medium" if often else "low",
        f"{issue}: {text.count(worst.amount)} {worst.words}",
        action,
        {name: int(worst.amount), f"{name}_per_s": round(worst.per_s, 3), **worst.facts()},
        ("ACL LOG 10",),
    )


def _risen(evidence: Evidence) -> dict[str, Growth]:
    """Return the growth in the window of every error word that no other rule tells."""
    if evidence.stats is None:
        return {}
    names = {error.word for error in evidence.stats.errors} - _TOLD_ELSEWHERE - _ORDINARY
    grown = {word: error_growth(evidence, word) for word in sorted(names)}
    return {word: g for word, g in grown.items() if g is not None and g.amount > 0 and not g.since_start}


def _counted(name: str) -> Reader:
    def read(stats: Stats) -> float | None:
        return number(stats, name)

    return read
