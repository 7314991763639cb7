"""What several Sentinels say, put side by side: who is the primary, who disagrees, and what that means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cachetui.errors import CacheError
from cachetui.model import Opinion, SentinelEvent, SentinelGroup, Watched
from cachetui.source.redis.info import parse_info
from cachetui.source.redis.replies import as_bytes, as_int, as_list, as_map, as_text
from cachetui.source.redis.topology.words import address_of
from cachetui.text import duration

MANY_GROUPS = 20
SETTINGS = ("down-after-milliseconds", "failover-timeout", "parallel-syncs", "notification-script")
ASKED = ("GET-MASTER-ADDR-BY-NAME", "REPLICAS", "SENTINELS", "CKQUORUM")
"""What is asked of each group."""
_SILENT = ("s_down", "o_down", "disconnected")


@dataclass(frozen=True, slots=True)
class GroupView:
    """One group as one Sentinel described it."""

    about: Mapping[str, object]
    """Its entry of SENTINEL MASTERS."""
    named: str
    """Whom GET-MASTER-ADDR-BY-NAME names."""
    replicas: tuple[Mapping[str, object], ...] = ()
    sentinels: tuple[Mapping[str, object], ...] = ()
    usable: bool | None = None
    check: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """All that one Sentinel said."""

    address: str
    sentinel_id: str = ""
    """SENTINEL MYID: one Sentinel may be known by several addresses."""
    version: str | None = None
    tilt: bool | None = None
    groups: Mapping[str, GroupView] = field(default_factory=dict)


def place(host: object, port: object) -> str:
    """Return `host:port`, printable, with brackets for IPv6."""
    return address_of(as_text(host, 200), as_text(port, 8))


def group_names(masters: object) -> list[str]:
    """Return the names of the groups in a SENTINEL MASTERS reply, at most twenty."""
    names = [as_text(as_map(entry).get("name"), 100) for entry in as_list(masters)]
    return [name for name in names if name][:MANY_GROUPS]


def raw_name(entry: object) -> bytes:
    """Return a group's name as the Sentinel knows it."""
    return as_bytes(as_map(entry).get("name"))


def read_group(entry: object, answers: Sequence[object]) -> GroupView:
    """Return a group from its entry in SENTINEL MASTERS and four replies.

    These answer `ASKED`; a CacheError stands for a refusal.
    """
    named, replicas, sentinels, check = answers
    about = as_map(entry)
    parts = as_list(named)
    where = place(parts[0], parts[1]) if len(parts) == 2 else place(about.get("ip"), about.get("port"))
    usable: bool | None = True
    if isinstance(check, CacheError):
        usable = False if str(check.detail.get("reply", "")).startswith("NOQUORUM") else None
        words = as_text(check.detail.get("reply") or check.message, 200).removeprefix("NOQUORUM ")
    else:
        words = as_text(check, 200).removeprefix("OK ")
    return GroupView(about, where, _maps(replicas), _maps(sentinels), usable, words)


def _maps(reply: object) -> tuple[Mapping[str, object], ...]:
    return () if isinstance(reply, CacheError) else tuple(as_map(one) for one in as_list(reply))


def tilt_of(info: object) -> bool | None:
    """Return whether INFO sentinel says that the Sentinel is in TILT mode."""
    return None if isinstance(info, CacheError) else parse_info(info).flag("sentinel_tilt")


def flags_of(about: Mapping[str, object]) -> tuple[str, ...]:
    """Return the flags that tell of trouble or of a failover."""
    wanted = (*_SILENT, "failover_in_progress", "reconf_sent", "reconf_inprog")
    return tuple(flag for flag in as_text(about.get("flags"), 200).split(",") if flag in wanted)


def others_of(views: Iterable[View]) -> dict[str, str]:
    """Return the ids of all Sentinels that these know, by address."""
    found: dict[str, str] = {}
    for view in views:
        for group in view.groups.values():
            for one in group.sentinels:
                found[place(one.get("ip"), one.get("port"))] = as_text(one.get("runid"), 64)
    return found


def gathered(
    views: Sequence[View], silent: Mapping[str, str], *, given: Sequence[str], myself: str = "", only: str = ""
) -> tuple[SentinelGroup, ...]:
    """Return the groups as all of them see them; `silent` holds why others could not be asked, by address.

    `only` leaves out all groups but this one, and asks those that do not know it why.
    """
    names = dict.fromkeys(name for view in views for name in view.groups)
    wanted = [only] if only else list(names)
    return tuple(_group(name, views, silent, given=given, myself=myself) for name in wanted)


def _group(
    name: str, views: Sequence[View], silent: Mapping[str, str], *, given: Sequence[str], myself: str
) -> SentinelGroup:
    opinions = [_opinion(view, name) for view in views]
    opinions += [Opinion(address, why) for address, why in silent.items()]
    opinions = [replace(one, given=one.sentinel in given, myself=one.sentinel == myself) for one in opinions]
    opinions.sort(key=lambda one: (not one.myself, one.sentinel))
    known = [view.groups[name] for view in views if name in view.groups]
    votes = Counter(group.named for group in known)
    primary = votes.most_common(1)[0][0] if votes else ""
    settings = {setting: Counter(as_text(group.about.get(setting), 200) for group in known) for setting in SETTINGS}
    group = SentinelGroup(
        name=name,
        primary=primary,
        quorum=_most_said(one.quorum for one in opinions),
        opinions=tuple(opinions),
        members=_members(primary, known),
        settings=tuple((setting, _setting(setting, found)) for setting, found in settings.items() if known),
    )
    drift = tuple(setting for setting, found in settings.items() if len(found) > 1)
    return replace(group, problems=tuple(_problems(group, drift)))


def _most_said(numbers: Iterable[int | None]) -> int | None:
    counted = Counter(number for number in numbers if number is not None)
    return counted.most_common(1)[0][0] if counted else None


def _opinion(view: View, name: str) -> Opinion:
    group = view.groups.get(name)
    if group is None:
        return Opinion(view.address, "does not know this group", version=view.version, tilt=view.tilt)
    others = as_int(group.about.get("num-other-sentinels"))
    return Opinion(
        view.address,
        primary=group.named,
        flags=flags_of(_about_primary(group)) or (() if _about_primary(group) else ("failover_in_progress",)),
        tilt=view.tilt,
        quorum=as_int(group.about.get("quorum")),
        sentinels=None if others is None else others + 1,
        replicas=as_int(group.about.get("num-slaves")),
        epoch=as_int(group.about.get("config-epoch")),
        usable=group.usable,
        check=group.check,
        version=view.version,
    )


def _about_primary(group: GroupView) -> Mapping[str, object]:
    """Return what is said of the primary; nothing while a replica is named already and the entry is the old one's."""
    return group.about if place(group.about.get("ip"), group.about.get("port")) == group.named else {}


def _setting(name: str, found: Counter[str]) -> str:
    value = found.most_common(1)[0][0] or "none"
    if name in ("down-after-milliseconds", "failover-timeout") and value.isdigit():
        return duration(int(value) / 1000)
    return value


def _members(primary: str, known: Sequence[GroupView]) -> tuple[Watched, ...]:
    """Return the primary and its replicas with what any of the Sentinels that follow it holds of them."""
    following = [group for group in known if group.named == primary]
    seen: dict[str, list[Mapping[str, object]]] = {}
    if primary:
        seen[primary] = [_about_primary(group) for group in following]
    for group in following:
        for one in group.replicas:
            seen.setdefault(place(one.get("ip"), one.get("port")), []).append(one)
    return tuple(_member(address, entries, is_primary=address == primary) for address, entries in seen.items())


def _member(address: str, entries: Sequence[Mapping[str, object]], *, is_primary: bool) -> Watched:
    held = Counter(flag for entry in entries for flag in flags_of(entry))
    link = as_text(next((entry.get("master-link-status") for entry in entries), None), 20)
    return Watched(
        address,
        "primary" if is_primary else "replica",
        tuple(held),
        max(held.values(), default=0),
        priority=None if is_primary else as_int(entries[0].get("slave-priority")),
        offset=None if is_primary else as_int(entries[0].get("slave-repl-offset")),
        link_up=None if is_primary or not link else link == "ok",
        run_id=as_text(entries[0].get("runid"), 64),
    )


def _problems(group: SentinelGroup, drift: Sequence[str]) -> Iterable[str]:
    """Yield what is wrong with a group, worst first, each in a sentence that says what to do."""
    head = f"group {group.name}"
    answered = group.answered
    if not answered:
        yield f"{head}: no Sentinel answers: nobody would fail over, and clients cannot find the primary"
    if group.members and any("o_down" in one.flags for one in group.members if one.role == "primary"):
        yield f"{head}: the primary {group.primary} is o_down: the Sentinels agree that it is down, a failover is due"
    elif group.members and any("s_down" in one.flags for one in group.members if one.role == "primary"):
        said = next(one.said_by for one in group.members if one.role == "primary")
        yield f"{head}: the primary {group.primary} is s_down: {said} of {len(answered)} Sentinels cannot reach it"
    for one in answered:
        if one.primary != group.primary:
            yield (
                f"{head}: Sentinel {one.sentinel} names {one.primary} as the primary, {_most(group)} {group.primary}: "
                "it is cut off, or watches something else (SENTINEL REMOVE and MONITOR there)"
            )
    yield from _votes(group, head)
    for one in group.opinions:
        if one.problem:
            yield f"{head}: Sentinel {one.sentinel}: {one.problem}"
        elif one.tilt:
            yield f"{head}: Sentinel {one.sentinel} is in TILT: its clock jumped, and it does not act for a while"
    for member in group.members:
        if member.role == "replica" and any(flag in _SILENT for flag in member.flags):
            yield f"{head}: replica {member.address} is {', '.join(member.flags)}, say {member.said_by} Sentinels"
    if drift:
        yield f"{head}: the Sentinels differ in {', '.join(drift)}: SENTINEL SET on each"


def _most(group: SentinelGroup) -> str:
    number = sum(one.primary == group.primary for one in group.answered)
    return "the other names" if number == 1 else f"the other {number} name"


def _votes(group: SentinelGroup, head: str) -> Iterable[str]:
    """Yield what is wrong with the quorum."""
    answered = group.answered
    unable = [one for one in answered if one.usable is False]
    if unable:
        yield f"{head}: no failover is possible now, says {unable[0].sentinel}: {unable[0].check}"
    known = max((one.sentinels or 0 for one in answered), default=0)
    quorums = {one.quorum for one in answered if one.quorum is not None}
    if len(quorums) > 1:
        yield f"{head}: the Sentinels have different quorums: {', '.join(map(str, sorted(quorums)))}"
    if group.quorum is not None and known and known < group.quorum:
        yield f"{head}: a quorum of {group.quorum} cannot be reached by {known} Sentinels"
    elif known and known < 3 and group.quorum is not None and group.quorum > known // 2:
        short = "one Sentinel: it" if known == 1 else "two Sentinels: both"
        yield f"{head}: only {short} must live for a failover; three on different hosts bear the loss of one"
    replicas = max((one.replicas or 0 for one in answered), default=0)
    if answered and not replicas:
        yield f"{head}: the primary has no replica: there is nothing to fail over to"


# Events

_WORDS = {
    "+switch-master": "the primary changed",
    "+sdown": "cannot be reached",
    "-sdown": "it is reached again",
    "+odown": "enough Sentinels agree that it is down",
    "-odown": "they agree no longer that it is down",
    "+tilt": "its clock jumped: it does not act for a while",
    "-tilt": "it acts again",
    "+try-failover": "a failover begins, if it is voted for",
    "+elected-leader": "it was elected and leads the failover",
    "+failover-state-select-slave": "it chooses a replica",
    "+selected-slave": "this replica is to be the primary",
    "+failover-state-send-slaveof-noone": "the chosen replica is told to be a primary",
    "+promoted-slave": "the replica says that it is a primary",
    "+failover-state-reconf-slaves": "the other replicas are told",
    "+slave-reconf-sent": "told to follow the new primary",
    "+slave-reconf-inprog": "follows the new primary, not synchronised yet",
    "+slave-reconf-done": "follows the new primary",
    "+failover-end": "the failover has ended",
    "+failover-end-for-timeout": "the failover ended: some replicas were too slow",
    "-failover-abort-no-good-slave": "failover given up: no replica is good enough",
    "-failover-abort-not-elected": "failover given up: no majority voted for it",
    "-failover-abort-slave-timeout": "failover given up: the chosen replica did not answer",
    "+slave": "a replica was found",
    "+sentinel": "another Sentinel was found",
    "-dup-sentinel": "a Sentinel known twice was removed",
    "+monitor": "watched from now on",
    "-monitor": "watched no longer",
    "+reset-master": "what was known of the group was forgotten",
    "+reboot": "it was restarted",
    "-role-change": "its role is not what was expected",
    "+role-change": "its role is as expected again",
    "+convert-to-slave": "an old primary came back: it is told to be a replica",
    "+fix-slave-config": "it follows the wrong primary: it is told which",
    "+new-epoch": "a new epoch began",
    "+vote-for-leader": "it voted",
    "+config-update-from": "it learnt of a newer configuration",
}
QUIET = frozenset(
    {"+new-epoch", "+vote-for-leader", "+sentinel-address-switch", "+fix-slave-config", "+role-change", "-role-change"}
)
"""Events that say little to people."""


def read_event(channel: object, payload: object, sentinel: str, at: float) -> SentinelEvent:
    """Return an event with words.

    >>> read_event(b"+switch-master", b"m 10.0.0.1 6379 10.0.0.2 6379", "s:1", 1.0).words
    'the primary changed: 10.0.0.1:6379 -> 10.0.0.2:6379'
    >>> read_event(b"+sdown", b"slave 10.0.0.3:6379 10.0.0.3 6379 @ m 10.0.0.1 6379", "s:1", 1.0).words
    'replica 10.0.0.3:6379: cannot be reached'
    """
    name, parts = as_text(channel, 60), as_text(payload, 300).split(" ")
    words = _WORDS.get(name, "")
    group = ""
    if name == "+switch-master" and len(parts) == 5:
        group, words = parts[0], f"{words}: {place(parts[1], parts[2])} -> {place(parts[3], parts[4])}"
    elif len(parts) >= 4 and parts[0] in ("master", "slave", "sentinel"):
        group = parts[1] if parts[0] == "master" else parts[5] if len(parts) >= 8 else ""
        role = {"master": "primary", "slave": "replica"}.get(parts[0], "Sentinel")
        words = f"{role} {place(parts[2], parts[3])}" + (f": {words}" if words else "")
    else:
        words = ": ".join(filter(None, (words, " ".join(parts))))
    return SentinelEvent(at, name, words, group, (sentinel,))


def switched(channel: object, payload: object) -> tuple[str, str, str] | None:
    """Return the group, the old and the new address of a +switch-master; None for anything else."""
    parts = as_text(payload, 300).split(" ")
    if as_text(channel, 60) != "+switch-master" or len(parts) != 5:
        return None
    return parts[0], place(parts[1], parts[2]), place(parts[3], parts[4])
