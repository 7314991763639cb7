"""Primaries, replicas and replicas of replicas, to `Topology`: from what each of them says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from cachetui.model import Identity, Node, Replication, Topology
from cachetui.source.redis.info import Info, parse_replicas
from cachetui.source.redis.replies import as_int
from cachetui.source.redis.topology.words import address_of
from cachetui.text import clock, duration, size

SILENT_S = 10
"""A replica acknowledges every second; after so many without it something is wrong."""
NOT_ASKED = "not asked"
MOST_STEPS = 8
"""Chains of replicas are followed this far."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one server of a replication said when it was asked, or why it did not."""

    info: Info = field(default_factory=Info)
    """INFO replication and persistence, and `min-*` settings."""
    run_id: str = ""
    version: str | None = None
    error: str = ""
    gone_at: float | None = None
    """When it stopped to be listed by its primary; None while it is."""
    written_per_s: float | None = None
    """Bytes a second that it sent to its replicas lately."""


def upstream(info: Info) -> str:
    """Return the address of the primary that a server follows; empty for a primary."""
    host, port = info.fields.get("master_host"), info.fields.get("master_port")
    return address_of(host, port) if host and port else ""


def downstream(info: Info) -> list[str]:
    """Return the addresses of the replicas that a server lists."""
    return [
        address_of(parts["ip"], parts["port"]) for parts in parse_replicas(info) if "ip" in parts and "port" in parts
    ]


def reading(info: Info, written_per_s: float | None = None) -> Replication:
    """Return what a server's INFO says of its own part."""
    link = info.fields.get("master_link_status")
    total, percent = info.number("master_sync_total_bytes"), info.decimal("master_sync_perc")
    read = info.number("master_sync_read_bytes")
    # A copy that is streamed has no length: what the server makes of it is no percentage.
    known_length = total is not None and total > 0
    loading = info.flag("loading") or info.flag("async_loading")
    saving = info.flag("rdb_bgsave_in_progress")
    return Replication(
        link_up=None if link is None else link == "up",
        link_down_s=info.age("master_link_down_since_seconds"),
        sync_running=info.flag("master_sync_in_progress"),
        sync_read_bytes=read if read is not None and read >= 0 else None,
        sync_percent=percent if known_length and percent is not None and 0 <= percent <= 100 else None,
        loading_percent=info.decimal("loading_loaded_perc") if loading else None,
        priority=info.number("slave_priority"),
        read_only=info.flag("slave_read_only"),
        min_replicas=_either(info, "min-replicas-to-write", "min-slaves-to-write"),
        min_replicas_lag_s=_either(info, "min-replicas-max-lag", "min-slaves-max-lag"),
        good_replicas=info.number("min_slaves_good_slaves"),
        backlog_bytes=info.number("repl_backlog_size") if info.flag("repl_backlog_active") else None,
        backlog_used_bytes=info.number("repl_backlog_histlen"),
        backlog_first=info.number("repl_backlog_first_byte_offset"),
        written_per_s=written_per_s,
        saved_keys=info.number("current_save_keys_processed") if saving else None,
        saved_of_keys=info.number("current_save_keys_total") if saving else None,
        failover=_failover(info),
    )


def _either(info: Info, *names: str) -> int | None:
    return next((value for name in names if (value := info.number(name)) is not None), None)


def _failover(info: Info) -> str:
    state = info.fields.get("master_failover_state", "")
    return "" if state == "no-failover" else state


def replication(info: Info, server: Identity, taken_at: float, others: Mapping[str, Report] | None = None) -> Topology:
    """Return all that follow one primary, as far as they are known; `others` are those that were asked, by address."""
    tree = _Tree(info, server, others or {}, taken_at)
    nodes = tuple(tree.nodes())
    problems = [words for node in nodes for words in _troubles(node, tree)]
    facts = _facts(info, tree.me)
    return Topology(taken_at, server, nodes, _summary(info, server, nodes, tree), tuple(problems), facts)


class _Tree:
    """Who follows whom: built from the reports of all that answered, with the asked server under its own name."""

    def __init__(self, info: Info, server: Identity, others: Mapping[str, Report], taken_at: float) -> None:
        self.server, self.taken_at = server, taken_at
        mine = Report(info, server.run_id or "", server.version, written_per_s=None)
        known = dict(others)
        own = known.pop(server.address, None)
        mine = replace(mine, written_per_s=own.written_per_s if own else None)
        self._aliases = {
            address: server.address
            for address, report in known.items()
            if report.run_id and report.run_id == server.run_id
        }
        self.reports = {server.address: mine} | {a: report for a, report in known.items() if a not in self._aliases}
        self.me = reading(mine.info, mine.written_per_s)

    def named(self, address: str) -> str:
        """Return what a server is called here."""
        return self._aliases.get(address, address)

    def above(self, address: str) -> str:
        """Return the primary of a server; empty when it has none or that is unknown."""
        report = self.reports.get(address)
        return self.named(upstream(report.info)) if report else ""

    def top(self) -> str:
        """Return the server at the top of the chain that we are in."""
        at = self.server.address
        for _ in range(MOST_STEPS):
            above = self.above(at)
            if not above or above == at:
                break
            at = above
        return at

    def below(self, address: str) -> list[tuple[str, dict[str, str]]]:
        """Return the replicas of a server: those that it lists, and those that say they follow it."""
        report = self.reports.get(address)
        listed = {
            self.named(address_of(parts.get("ip", "?"), parts.get("port", "?"))): parts
            for parts in (parse_replicas(report.info) if report else ())
        }
        claiming: dict[str, dict[str, str]] = {
            other: {} for other in self.reports if self.above(other) == address and other not in listed
        }
        lost: dict[str, dict[str, str]] = {
            other: {}
            for other, gone in self.reports.items()
            if gone.error and gone.gone_at is not None and other not in listed and address == self.top() != other
        }
        return sorted({**listed, **claiming, **lost}.items(), key=lambda entry: _order(entry[0]))

    def nodes(self) -> Iterator[Node]:
        """Yield the top and below each server its replicas; then other primaries that were replicas once."""
        seen: set[str] = set()
        yield from self._down(self.top(), "", {}, seen)
        for address, report in self.reports.items():
            if address not in seen and report.info.fields.get("role") == "master":
                yield from self._down(address, "", {}, seen)

    def _down(self, address: str, primary: str, parts: Mapping[str, str], seen: set[str]) -> Iterator[Node]:
        if address in seen:
            return
        seen.add(address)
        yield self._node(address, primary, parts)
        for other, told in self.below(address):
            yield from self._down(other, address, told, seen)

    def _node(self, address: str, primary: str, parts: Mapping[str, str]) -> Node:
        report = self.reports.get(address, Report(error=NOT_ASKED))
        myself = address == self.server.address
        own = self.me if myself else reading(report.info, report.written_per_s)
        asked = bool(report.info.fields)
        is_top = not primary
        role = (
            self.server.role or "server" if myself else "primary" if is_top and not self.above(address) else "replica"
        )
        offset = as_int(parts.get("offset"))
        end = self._offset(primary) if primary else None
        own_offset = self._offset(address)
        if offset is None:
            offset = own_offset
        lag = max(0, end - offset) if end is not None and offset is not None else None
        lag_s = as_int(parts.get("lag"))
        if lag_s is None and asked and own.link_up is not None:
            lag_s = report.info.age("master_last_io_seconds_ago")
        return Node(
            address,
            role,
            self._state(report, own, parts, asked=asked, myself=myself, is_top=is_top),
            myself=myself,
            primary=primary,
            offset=offset,
            lag_bytes=lag if primary else None,
            lag_s=lag_s if primary else None,
            version=report.version,
            note=self._note(report, asked=asked, myself=myself, is_top=is_top),
            replication=own if asked else None,
        )

    def _offset(self, address: str) -> int | None:
        report = self.reports.get(address)
        if report is None:
            return None
        # A replica's own place, not the one of the stream that it passes on.
        name = "slave_repl_offset" if upstream(report.info) else "master_repl_offset"
        return report.info.number(name)

    def _state(
        self, report: Report, own: Replication, parts: Mapping[str, str], *, asked: bool, myself: bool, is_top: bool
    ) -> str:
        if report.error and is_top and not asked:
            return "online" if self.me.link_up else "unknown" if report.error == NOT_ASKED else "down"
        if report.gone_at is not None and not asked:
            return "down"
        if is_top:
            return "online"
        if asked and own.sync_running:
            return "synchronising"
        if asked and own.loading_percent is not None:
            return "loading"
        if asked and own.link_up is False:
            return "link down"
        return parts.get("state") or ("online" if asked or myself else "unknown")

    def _note(self, report: Report, *, asked: bool, myself: bool, is_top: bool) -> str:
        if myself or asked:
            return ""
        if report.gone_at is not None:
            return f"gone since {clock(report.gone_at, self.taken_at)}"
        seen_by = "as this replica sees it" if is_top else "as its primary sees it"
        return seen_by if report.error in ("", NOT_ASKED) else f"{seen_by}; {report.error}"


def _order(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, as_int(port) or 0


def _summary(info: Info, server: Identity, nodes: tuple[Node, ...], tree: _Tree) -> str:
    if server.role == "replica":
        up = "up" if tree.me.link_up else "down"
        return f"replica of {upstream(info) or '?'}, link {up}"
    if server.role is None:
        return "role unknown"
    number = sum(node.role == "replica" for node in nodes)
    chained = sum(node.role == "replica" and node.primary != server.address for node in nodes)
    more = f", {chained} of them behind another replica" if chained else ""
    return f"primary with {number} replica{'s' * (number != 1)}{more}" if number else "primary without replicas"


def _troubles(node: Node, tree: _Tree) -> Iterator[str]:
    """Yield what is wrong with one server, in words."""
    own, name = node.replication, f"{node.role} {node.address}"
    if node.state == "down":
        report = tree.reports.get(node.address)
        why = report.error.removeprefix("cannot be asked: ").removeprefix(f"{node.address} ") if report else ""
        yield f"{name} is down" + (f": it {why}" if why else "")
    elif node.role == "primary" and not node.primary and node.address != tree.top():
        yield f"{node.address} says that it is a primary too: what is written there will be lost when it follows again"
    elif own is not None and node.primary and own.link_up is False:
        yield from _link_troubles(node, own, tree)
    elif node.primary and node.state != "online":
        yield f"{name} is not online: {_STATES.get(node.state, node.state)}{sync_words(node, _saving(tree, node))}"
    elif node.primary and node.lag_s is not None and node.lag_s > SILENT_S:
        yield f"{name} has not answered for {duration(node.lag_s)}"
    if own is None:
        return
    if node.primary and own.read_only is False:
        yield f"{name} takes writes: they are lost at its next synchronisation (replica-read-only no)"
    if own.failover:
        yield f"{name}: a failover is under way: {own.failover}"
    if own.min_replicas and own.good_replicas is not None and own.good_replicas < own.min_replicas:
        yield (
            f"{name} refuses writes: {own.good_replicas} replicas keep up, min-replicas-to-write is {own.min_replicas}"
        )


def _link_troubles(node: Node, own: Replication, tree: _Tree) -> Iterator[str]:
    whose = "" if node.myself else f"replica {node.address}: "
    since = f" for {duration(own.link_down_s)}" if own.link_down_s is not None else ""
    if own.sync_running:
        words = sync_words(node, _saving(tree, node))
        yield f"{whose}a full synchronisation is running{words}"
        return
    yield f"{whose}the link to the primary {node.primary} is down{since}{_way_back(node, tree)}"


def _saving(tree: _Tree, node: Node) -> Replication | None:
    """Return what the primary of a replica says of the copy it makes."""
    report = tree.reports.get(node.primary)
    return reading(report.info) if report is not None and report.info.fields else None


def sync_words(node: Node, above: Replication | None) -> str:
    """Return how far a full synchronisation is, as the rest of a sentence.

    >>> node = Node("h:1", "replica", replication=Replication(sync_running=True, sync_read_bytes=2048))
    >>> sync_words(node, Replication(saved_keys=50, saved_of_keys=200))
    ': 2.0KB read, 25% of the keys are sent'
    """
    own = node.replication
    told: list[str] = []
    if own is not None and own.loading_percent is not None:
        told.append(f"{own.loading_percent:.0f}% loaded")
    if own is not None and own.sync_running:
        if own.sync_read_bytes:
            told.append(f"{size(own.sync_read_bytes)} read")
        if own.sync_percent is not None:
            told.append(f"{own.sync_percent:.0f}%")
        elif above is not None and above.saved_keys is not None and above.saved_of_keys:
            told.append(f"{100 * above.saved_keys / above.saved_of_keys:.0f}% of the keys are sent")
    return f": {', '.join(told)}" if told else ""


def _way_back(node: Node, tree: _Tree) -> str:
    """Say whether a replica that was cut off can go on from the backlog."""
    report = tree.reports.get(node.primary)
    if report is None or not report.info.fields or node.offset is None:
        return ""
    above, end = reading(report.info), report.info.number("master_repl_offset")
    if above.backlog_first is None or above.backlog_bytes is None or end is None:
        return ""
    if node.offset + 1 < above.backlog_first:
        return "; it needs a full copy: what it missed is no longer in the backlog"
    missed = max(0, end - node.offset)
    return f"; it can go on from the backlog ({size(missed)} of {size(above.backlog_bytes)} used)"


_STATES = {
    "wait_bgsave": "it waits for the primary's snapshot",
    "send_bulk": "it is sent a full copy",
    "send_bulk_and_stream": "it is sent a full copy",
    "bg_transfer": "it is sent a full copy",
    "unknown": "nothing is known of it",
    "loading": "it reads the copy that it was sent",
    "synchronising": "it is sent a full copy",
}


def backlog_words(own: Replication) -> str:
    """Return what the backlog holds and for whom that is enough; empty without one.

    >>> backlog_words(Replication(backlog_bytes=1048576, backlog_used_bytes=1048576, written_per_s=104857.6))
    '1.0MB of 1.0MB: a replica that was away for up to 10s goes on without a full copy'
    """
    if own.backlog_bytes is None:
        return ""
    words = f"{size(own.backlog_used_bytes)} of {size(own.backlog_bytes)}"
    if own.written_per_s:
        away = duration(round(own.backlog_bytes / own.written_per_s))
        words += f": a replica that was away for up to {away} goes on without a full copy"
    return words


def _facts(info: Info, me: Replication) -> tuple[tuple[str, str], ...]:
    facts = _named(info, "master_replid", "second_repl_offset")
    if info.fields.get("role") == "slave" or me.link_up is not None:
        facts += _named(info, "slave_read_only", "slave_priority")
    if words := backlog_words(me):
        facts += (("backlog", words),)
    if me.written_per_s is not None:
        facts += (("written for replicas", f"{size(round(me.written_per_s))}/s"),)
    if me.min_replicas is not None:
        good = "" if me.good_replicas is None else f", {me.good_replicas} keep up"
        facts += (("min-replicas-to-write", f"{me.min_replicas}{good}"),)
    return facts


def _named(info: Info, *names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, info.fields[name]) for name in names if name in info.fields)


def known_addresses(infos: Iterable[Info]) -> list[str]:
    """Return all addresses that these servers name: their primaries and their replicas."""
    found: dict[str, None] = {}
    for info in infos:
        for address in (upstream(info), *downstream(info)):
            if address and not address.startswith(("?", ":")):
                found[address] = None
    return list(found)
