"""Rules about the connection itself: is it up, may we in, does it answer, what may we not see."""

from __future__ import annotations

from cachetui import text
from cachetui.analysis.rules.rule import Priority, Problem
from cachetui.errors import MEANINGS
from cachetui.model import Evidence, Stats, Trouble

NOT_ANSWERING = frozenset(
    {"unreachable", "timed-out", "tls", "not-a-cache", "auth", "busy", "loading", "server-error", "bad-target"}
)
"""Codes of trouble under which every figure on the screen is stale."""

_SINCE_LEAST_S = 2.0
"""Seconds of trouble below which telling its length is noise."""


def away(evidence: Evidence) -> bool:
    """Tell whether the server gives no figures now, so that the last ones are stale."""
    trouble, stats = evidence.trouble, evidence.stats
    if trouble is None or trouble.code not in NOT_ANSWERING:
        return False
    return stats is None or trouble.code != "loading" or stats.taken_at < trouble.since


def unreachable(evidence: Evidence) -> Problem | None:
    return _trouble(
        evidence,
        "unreachable",
        "Look whether the server runs, where it listens, and what lies between (firewall, service name).",
    )


def timed_out(evidence: Evidence) -> Problem | None:
    return _trouble(
        evidence,
        "timed-out",
        "The server is stopped, swapping, stuck in one command, or far away: look at its host.",
    )


def tls(evidence: Evidence) -> Problem | None:
    return _trouble(evidence, "tls", "Check rediss:// or redis://, the CA, the host name and the client certificate.")


def not_a_cache(evidence: Evidence) -> Problem | None:
    return _trouble(evidence, "not-a-cache", "Check host and port: another service listens there.")


def auth(evidence: Evidence) -> Problem | None:
    return _trouble(evidence, "auth", "Give user and password with --user and --askpass, or REDISCLI_AUTH.")


def denied(evidence: Evidence) -> Problem | None:
    return _trouble(evidence, "denied", "Ask for the permission, or connect as another user.", "medium")


def refused(evidence: Evidence) -> Problem | None:
    """The server answers its own error to everything (MASTERDOWN, MISCONF, ...), or something unforeseen."""
    trouble = evidence.trouble
    foreseen = {"unreachable", "timed-out", "tls", "not-a-cache", "auth", "denied", "busy", "loading"}
    if trouble is None or trouble.code in foreseen:
        return None
    word = str(trouble.detail.get("reply", "")).split(" ", 1)[0]
    meaning = MEANINGS.get(word)
    priority: Priority = "high" if trouble.code in NOT_ANSWERING else "medium"
    action = _sentence(meaning.action) if meaning else "Look into the server's own log."
    return _trouble(evidence, trouble.code, action, priority)


def loading(evidence: Evidence) -> Problem | None:
    stats, trouble = evidence.stats, evidence.trouble
    told = trouble is not None and trouble.code == "loading"
    fresh = None if stats is None or away(evidence) else stats
    if not told and not (fresh is not None and fresh.loading):
        return None
    percent, left_s = _progress(fresh, trouble)
    progress = "" if percent is None else f": {text.percent(percent)}"
    ends = "" if left_s is None else f", about {text.duration(left_s)} left"
    return Problem(
        "high",
        f"Loading the data set from disk{progress}{ends}",
        "Wait: it answers when the load ends; clients see LOADING until then.",
        {"loaded_percent": percent, "eta_s": left_s, **_since(evidence)},
    )


def busy(evidence: Evidence) -> Problem | None:
    trouble = evidence.trouble
    if trouble is None or trouble.code != "busy":
        return None
    detail = trouble.detail
    name = text.printable(str(detail.get("name") or ""), 40)
    command = detail.get("command")
    if isinstance(command, (list, tuple)):
        command = " ".join(str(part) for part in command)
    command_text = text.printable(str(command or ""), 60)
    ran, ran_ms = _ran(detail)
    how = str(detail.get("kill") or detail.get("reply") or "").upper()
    commands: tuple[str, ...]
    if name or command_text.upper().startswith("FCALL") or "FUNCTION KILL" in how:
        kind, commands = "function", ("FUNCTION KILL",)
    elif command_text.upper().startswith("EVAL") or "SCRIPT KILL" in how:
        kind, commands = "script", ("SCRIPT KILL",)
    else:
        kind, commands = "script or function", ("SCRIPT KILL", "FUNCTION KILL")
    shown = f" {name}" if name else ""
    called = f" ({command_text})" if command_text else ""
    return Problem(
        "high",
        f"Busy: the {kind}{shown} blocks every client{ran}{called}",
        f"{' or '.join(commands)} ends it if it has not written yet; after a write only waiting or"
        " SHUTDOWN NOSAVE (loses unsaved data) is left.",
        {"name": name or None, "command": command_text or None, "duration_ms": ran_ms} | _since(evidence),
        commands,
    )


def _ran(detail: dict[str, object]) -> tuple[str, float | None]:
    """Return for how long it has been running: as the server says, else at least since we saw it."""
    for name, words in (("duration_ms", " for "), ("seen_ms", " for at least ")):
        value = detail.get(name)
        if isinstance(value, (int, float)) and 0 < value < 2**53:
            return f"{words}{text.duration(value / 1000)}", value
    return "", None


def partly_blind(evidence: Evidence) -> Problem | None:
    stats = evidence.stats
    if stats is None or not stats.denied:
        return None
    names = sorted(stats.denied)
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return Problem(
        "low",
        f"Partly blind: {shown} refused or unknown here, what depends on it is not judged",
        "Allow these commands to the ACL user; a managed service may show the figures elsewhere.",
        {"denied": names},
        ("ACL SETUSER <user> +info +config|get +slowlog|get +client|list",),
    )


def _trouble(evidence: Evidence, code: str, otherwise: str, priority: Priority = "high") -> Problem | None:
    trouble = evidence.trouble
    if trouble is None or trouble.code != code:
        return None
    message = text.printable(trouble.message, 300).rstrip(".") or f"no connection ({code})"
    lasting = max(0.0, evidence.taken_at - trouble.since)
    told = f", for {text.duration(lasting)}" if lasting >= _SINCE_LEAST_S else ""
    stats = evidence.stats
    facts: dict[str, object] = {"code": code, **_since(evidence)}
    if stats is not None:
        facts |= {
            "last_answer_s_ago": round(max(0.0, evidence.taken_at - stats.taken_at), 1),
            "last_used_bytes": stats.used_bytes,
            "last_role": stats.server.role,
            "last_uptime_s": stats.uptime_s,
        }
    hint = text.printable(trouble.hint, 300)
    return Problem(priority, f"{_sentence(message, '')}{told}", _sentence(hint) if hint else otherwise, facts)


def _sentence(words: str, end: str = ".") -> str:
    return words[:1].upper() + words[1:] + (end if not words.endswith((".", "!", "?")) else "")


def _since(evidence: Evidence) -> dict[str, object]:
    if evidence.trouble is None:
        return {}
    return {"since_s": round(max(0.0, evidence.taken_at - evidence.trouble.since), 1)}


def _progress(stats: Stats | None, trouble: Trouble | None) -> tuple[float | None, float | None]:
    """Return percent loaded and seconds left, from the figures or from the refused call's detail."""
    found: list[float | None] = []
    for field, names in (
        ("loading_percent", ("loading_percent", "percent", "loading_loaded_perc")),
        ("loading_eta_s", ("loading_eta_s", "eta_s", "loading_eta_seconds")),
    ):
        value: object = getattr(stats, field) if stats is not None else None
        for name in names:
            if value is None and trouble is not None:
                value = trouble.detail.get(name)
        usable = isinstance(value, (int, float)) and 0 <= value < 2**53
        found.append(float(value) if usable else None)  # type: ignore[arg-type]
    return found[0], found[1]
