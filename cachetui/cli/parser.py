"""Commands and options. `-h` is the host, as redis-cli has it; `--help` helps."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from cachetui import __version__
from cachetui.analysis.sizing import POLICIES
from cachetui.cli.call import Call
from cachetui.cli.values import facts, host_port, seconds, size, span, whole
from cachetui.config import INTERVAL_RANGE_S, Secret
from cachetui.errors import BadUsage
from cachetui.text import printable

HELP_WIDTH = 79

Add = Callable[[argparse.ArgumentParser], None]


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its function has its name and lives in `module`."""

    usage: str
    summary: str
    module: str
    add: Add
    document: str = ""
    """The operation's name in its JSON documents, where an error is a document too."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadUsage(printable(message, 200), f"see {self.prog} --help")

    def print_help(self, file: IO[str] | None = None) -> None:  # type: ignore[override]
        # Straight to stdout: a broken pipe is the entry's business.
        (file or sys.stdout).write(self.format_help())


def _nothing(_: argparse.ArgumentParser) -> None:
    """Add no options."""


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _analyze(parser: argparse.ArgumentParser) -> None:
    _json(parser)
    parser.add_argument(
        "--sample", type=seconds(0.2, 3600), metavar="N", help="rates over the next N seconds, not since the start"
    )
    parser.add_argument(
        "--keys", type=whole(100, 1_000_000), metavar="N", dest="keys_", help="look at N keys too: sizes, TTLs, formats"
    )
    parser.add_argument("--fail-on", choices=("low", "medium", "high"), help="exit 1 at this priority or above")


def _keys(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--match", metavar="GLOB", help="only names that match, as SCAN matches")
    parser.add_argument("--type", metavar="T", dest="type_", help="only this type: string, hash, list, set, zset, ...")
    parser.add_argument("--sort", choices=("name", "size", "ttl"), help="name, largest first, or soonest to expire")
    parser.add_argument("--limit", type=whole(1), metavar="N", help="at most N keys")
    parser.add_argument("--with", dest="with_", type=facts, metavar="FACTS", help="beside the name: type,ttl,size")
    parser.add_argument("--replicas", action="store_true", help="ask replicas instead of primaries where there are any")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--raw", action="store_true", help="the names' bytes, unescaped")


def _get(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--decoder", metavar="NAME", help="read it so: json, gzip, msgpack, hex, ... (the best fit)")
    parser.add_argument("--folded", action="store_true", help="one line for each top-level member of a document")
    parser.add_argument("--field", metavar="F", help="only this field, index, member or entry")
    parser.add_argument("--rows", type=whole(1), default=100, metavar="N", help="at most N elements (100)")
    parser.add_argument("--start", metavar="TOKEN", help="go on where an earlier call stopped")
    parser.add_argument("--order", choices=("descending", "oldest", "geo", "bits"), default="", help="another order")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON document")
    form.add_argument("--raw", action="store_true", help="the bytes themselves, all of them")


def _prefixes(parser: argparse.ArgumentParser) -> None:
    _json(parser)
    parser.add_argument("--depth", type=whole(1, 8), default=2, metavar="N", help="parts of a name in a prefix (2)")
    parser.add_argument("--sample", type=whole(10, 1_000_000), metavar="N", help="look at N keys (2000)")
    parser.add_argument("--exact", action="store_true", help="look at all keys, paced")
    parser.add_argument("--separator", metavar="S", help="what separates the parts: any of these, or the word any (:)")


def _topology(parser: argparse.ArgumentParser) -> None:
    _json(parser)
    parser.add_argument("--check", action="store_true", help="say all that is wrong; exit 1 when something is")


def _policy(parser: argparse.ArgumentParser) -> None:
    _json(parser)
    parser.add_argument("--maxmemory", type=size, metavar="SIZE", help="set the memory limit, e.g. 4gb; 0: none")
    parser.add_argument("--rewrite", action="store_true", help="CONFIG REWRITE: into the server's own file as well")
    parser.add_argument("--this-server", action="store_true", help="not its replicas or the cluster's other nodes")
    parser.add_argument("--yes", action="store_true", help="do it; without, only the plan is shown")
    parser.add_argument("--confirm", metavar="NAME", help="the target's name, on a profile in production")


def _invalidate(parser: argparse.ArgumentParser) -> None:
    parser.conflict_handler = "resolve"  # here a key is a key of the cache
    _which_keys(parser)
    _what_becomes(parser)
    parser.add_argument(
        "--client-key", metavar="FILE", dest="key", help="the client certificate's key (elsewhere --key)"
    )
    parser.add_argument("--yes", action="store_true", help="do it; without, only the plan is shown")
    parser.add_argument("--confirm", metavar="NAME", help="the target's name, where the plan asks for it")
    _json(parser)


def _which_keys(parser: argparse.ArgumentParser) -> None:
    keys = parser.add_argument_group("which keys")
    keys.add_argument("--key", metavar="K", dest="keys_", action="append", help="this key; --key A --key B for several")
    keys.add_argument("--keys-from", metavar="FILE", help="those in a file, one a line as `keys` prints them; -: stdin")
    keys.add_argument("--raw", action="store_true", help="names in the file are bytes, not escaped")
    keys.add_argument("--pattern", metavar="GLOB", help="names that match, as SCAN matches")
    keys.add_argument("--regex", metavar="RE", help="names in which this is found; also with --pattern")
    keys.add_argument("--tag", metavar="T", help="the members of a tag's set (tag_template), and the set")
    keys.add_argument("--version-key", metavar="K", help="raise this number by one: INCR")
    keys.add_argument("--version-pattern", metavar="GLOB", help="names of one version, with {version} in it")
    keys.add_argument(
        "--flush", nargs="?", const=0, type=whole(0, 30 * 86400), metavar="DELAY", help="Memcached: all, in DELAY s"
    )
    keys.add_argument("--resume", metavar="RECEIPT", help="go on with what was stopped")
    keys.add_argument("--type", metavar="T", dest="type_", help="only this type")
    ttl = keys.add_mutually_exclusive_group()
    ttl.add_argument("--with-ttl", dest="ttl", action="store_const", const=True, help="only keys that expire")
    ttl.add_argument("--without-ttl", dest="ttl", action="store_const", const=False, help="only keys that do not")
    keys.add_argument("--idle", type=seconds(0, 10**9), metavar="S", help="only keys nobody has used for S seconds")


def _what_becomes(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("what becomes of them (without: they are deleted)")
    until = how.add_mutually_exclusive_group()
    until.add_argument("--expire", type=seconds(0, 10**9), metavar="S", help="they expire in S seconds")
    until.add_argument("--persist", action="store_true", help="they stay: no TTL any more")
    how.add_argument("--jitter", type=seconds(0, 10**9), metavar="S", help="each up to S seconds later, at random")
    how.add_argument("--rate", type=whole(1), metavar="N", help="at most N keys a second")
    how.add_argument(
        "--p99",
        type=seconds(0.1, 60_000, "milliseconds"),
        metavar="MS",
        help="slower while others wait longer than MS",
    )
    how.add_argument("--del", dest="del_", action="store_true", help="delete with DEL, where UNLINK is denied")
    how.add_argument("--no-undo", action="store_true", help="keep no copies: faster, and no way back")


def _undo(parser: argparse.ArgumentParser) -> None:
    _json(parser)
    parser.add_argument("--list", action="store_true", dest="list_", help="what can be undone, the newest first")
    parser.add_argument("--yes", action="store_true", help="do it; without, only the plan is shown")
    parser.add_argument("--confirm", metavar="NAME", help="the target's name, where the plan asks for it")


def _log(parser: argparse.ArgumentParser) -> None:
    _json(parser)
    parser.add_argument("--limit", type=whole(1), metavar="N", help="the newest N only")
    parser.add_argument(
        "--target", metavar="TEXT", dest="of_target", help="only what was done on targets with this text"
    )
    parser.add_argument("--since", type=span, metavar="SPAN", help="only the last 90s, 15m, 2h, 1d")
    parser.add_argument("--outcome", choices=OUTCOMES, help="only what ended so")
    parser.add_argument("--grep", metavar="TEXT", help="only entries whose title, commands or user hold this text")


def _cluster(parser: argparse.ArgumentParser) -> None:
    moves = parser.add_argument_group("moving slots (rebalance, move, remove)")
    moves.add_argument("--by", choices=("slots", "keys", "memory"), default="slots", help="what is balanced (slots)")
    moves.add_argument(
        "--weight", metavar="NODE=W", action="append", default=[], help="its share beside the others' 1; 0 empties it"
    )
    moves.add_argument(
        "--threshold", type=seconds(0, 100, "percent"), default=2.0, metavar="P", help="less than P %% off is left (2)"
    )
    moves.add_argument("--empty", action="store_true", help="primaries without slots get some too")
    moves.add_argument("--slots", metavar="RANGES", help="move: these, as 0-99,105")
    moves.add_argument("--count", type=whole(1, 16384), metavar="N", help="move: so many, evenly from --from or all")
    moves.add_argument("--from", metavar="NODE", dest="from_", action="append", default=[], help="move: --count of it")
    moves.add_argument("--to", metavar="NODE", help="move: to this primary")
    moves.add_argument("--rate", type=whole(1), metavar="N", help="at most N keys a second, where they go one by one")
    moves.add_argument("--pipeline", type=whole(1, 10_000), default=100, metavar="N", help="keys in a MIGRATE (100)")
    moves.add_argument("--classic", action="store_true", help="key by key, also where the server moves slots itself")
    moves.add_argument("--replace", action="store_true", help="a key on both nodes: the giving node's one counts")
    nodes = parser.add_argument_group("nodes")
    nodes.add_argument("--replicas", type=whole(0, 100), default=0, metavar="N", help="create: so many a primary (0)")
    nodes.add_argument("--replica", action="store_true", help="add: as a replica of who needs one most")
    nodes.add_argument("--replica-of", metavar="NODE", help="add: as a replica of this primary")
    force = nodes.add_mutually_exclusive_group()
    force.add_argument("--force", action="store_true", help="failover: without the primary, by a vote of the others")
    force.add_argument("--takeover", action="store_true", help="failover: without anybody; the last resort")
    nodes.add_argument("--give-up-failed", action="store_true", help="fix: slots of failed primaries; keys are lost")
    parser.add_argument("--yes", action="store_true", help="do it; without, only the plan is shown")
    parser.add_argument("--confirm", metavar="NAME", help="the target's name, where the plan asks for it")
    _json(parser)


def _record(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--duration", type=seconds(0.1, 366 * 86400), metavar="S", help="end after S seconds")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    parser.add_argument("--keys", type=whole(0), default=1000, metavar="N", help="keys to note at the start (1000)")
    parser.add_argument("--values", type=whole(0), default=0, metavar="N", help="values to keep of these keys (0)")


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--memory", type=size, default=4 * 1024**3, metavar="SIZE", help="what one server has (4gb)")
    parser.add_argument("--replicas", type=whole(0, 20), metavar="N", help="of each primary (standalone 0, else 1)")
    parser.add_argument("--shards", type=whole(3, 1000), default=3, metavar="N", help="a cluster's primaries (3)")
    parser.add_argument("--sentinels", type=whole(1, 99), default=3, metavar="N", help="how many there will be (3)")
    parser.add_argument("--quorum", type=whole(1, 99), metavar="N", help="of them must agree (more than half)")
    parser.add_argument("--policy", choices=POLICIES, default="allkeys-lru", help="what goes when memory is full")
    parser.add_argument("--persistence", choices=("none", "snapshot", "aof"), help="what is written to the disk")
    parser.add_argument("--name", default="mymaster", help="what the Sentinels call the group (mymaster)")
    parser.add_argument(
        "--primary", type=host_port, default=("127.0.0.1", 6379), metavar="HOST:PORT", help="for the Sentinels"
    )


def _failover(parser: argparse.ArgumentParser) -> None:
    _json(parser)
    parser.add_argument("--to", metavar="HOST:PORT", help="the replica that takes over (a Sentinel chooses by itself)")
    parser.add_argument("--group", metavar="NAME", help="the Sentinel's group, where it watches several")
    parser.add_argument("--yes", action="store_true", help="do it; without, only the plan is shown")
    parser.add_argument("--confirm", metavar="NAME", help="the target's name, where the plan asks for it")


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--memcached", action="store_true", help="Memcached instead of Valkey")
    parser.add_argument("--cluster", action="store_true", help="a cluster of six nodes")
    parser.add_argument("--sentinel", action="store_true", help="a primary, two replicas and three Sentinels")
    parser.add_argument("--all", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--duration", type=seconds(0.1, 366 * 86400), metavar="S", help="end after S seconds")
    parser.add_argument("--no-ui", action="store_true", help="print the URL and stay, without the dashboard")
    parser.add_argument("--rate", type=whole(1, 100_000), metavar="N", help="commands a second")


def _load(parser: argparse.ArgumentParser) -> None:
    _json(parser)
    parser.add_argument("--pattern", choices=PATTERNS, default="cache-aside", help="what to drive (cache-aside)")
    parser.add_argument("--keys", type=whole(1, 100_000), default=1000, metavar="N", dest="keys_", help="keys (1000)")
    parser.add_argument("--skew", type=seconds(0, 5, "exponents"), default=1.0, metavar="S", help="Zipf exponent (1)")
    parser.add_argument("--rate", type=whole(1, 20_000), default=500, metavar="N", help="calls a second (500)")
    parser.add_argument("--duration", type=seconds(0.1, 3600), default=10.0, metavar="S", help="seconds (10)")
    parser.add_argument(
        "--writes", type=seconds(0, 1, "shares"), default=0.1, metavar="P", help="share of writes (0.1)"
    )
    parser.add_argument("--confirm", metavar="NAME", help="the target's name, where it is not on this machine")


COMMANDS: dict[str, Command] = {
    "dashboard": Command("[TARGET]", "the dashboard (no command is needed)", "screen", _nothing),
    "demo": Command("", "the dashboard over a real server with a live load", "screen", _demo),
    "analyze": Command("[TARGET]", "what is wrong and what to do", "analyze", _analyze),
    "keys": Command("[TARGET]", "the names of all keys, in steps", "keys", _keys),
    "get": Command("[TARGET] KEY", "one value, decoded or raw", "get", _get, "get"),
    "prefixes": Command("[TARGET]", "keys and memory by prefix, with error bars", "prefixes", _prefixes, "prefixes"),
    "slowlog": Command("[TARGET]", "slow commands", "look", _json, "slowlog"),
    "topology": Command("[TARGET]", "who is primary, who follows, how far behind", "topology", _topology, "topology"),
    "invalidate": Command(
        "TARGET", "delete or expire keys: planned, paced, undoable", "invalidate", _invalidate, "invalidate"
    ),
    "policy": Command("TARGET [POLICY]", "show or set eviction policy and memory limit", "policy", _policy, "policy"),
    "config": Command(
        "standalone|redis-cluster|sentinel", "a commented configuration file for a new server", "configure", _config
    ),
    "cluster": Command(
        "create|check|rebalance|move|fix|add|remove|forget|failover TARGET ...",
        "make, check, balance, mend and change a cluster",
        "cluster",
        _cluster,
        "cluster",
    ),
    "failover": Command("TARGET", "make a replica the primary, and wait for it", "failover", _failover, "failover"),
    "undo": Command("[TARGET] [RECEIPT]", "the way back of what was done last, or of a receipt", "undo", _undo, "undo"),
    "log": Command("", "the journal of what was done", "look", _log, "log"),
    "load": Command("TARGET", "drive a caching pattern against a server, bounded", "load", _load, "load"),
    "record": Command("TARGET FILE", "record what the dashboard would see", "record", _record),
    "replay": Command("FILE", "the dashboard over a recording", "screen", _nothing),
}

PATTERNS = ("cache-aside", "read-through", "write-through", "write-behind")
OUTCOMES = ("done", "failed", "stopped", "refused", "interrupted", "running")

EXIT_CODES = (
    "exit codes: 0 done; 1 findings at or above --fail-on, or a check failed; 2 usage; 3 cannot connect or "
    "authenticate; 4 stopped part-way; 5 refused (read-only, denied)"
)
TARGETS = (
    "TARGET: redis:// rediss:// valkey:// valkeys:// unix://path redis+sentinel://h:p,h:p/name redis+cluster://h:p "
    "memcached://h:p,h:p memcached+unix://path, host[:port], or a profile's name. Without one: CACHETUI_URL, "
    "REDIS_URL, 127.0.0.1:6379, 127.0.0.1:11211."
)


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Call | None:
    """Return what was asked for, or None when help or the version was and has been given. Raises BadUsage."""
    command, rest = _split(list(argv))
    parser = _parser(command)
    try:
        options, unknown = parser.parse_known_intermixed_args(rest)
    except SystemExit:
        return None
    if unknown:
        names = " ".join(printable(word.partition("=")[0], 40) for word in unknown)
        raise BadUsage(f"unknown option {names}", f"see {parser.prog} --help")
    if options.uri is not None:
        options.words.insert(0, options.uri)
    return Call(command, options, environ)


def _split(argv: list[str]) -> tuple[str, list[str]]:
    """Take the command out of `argv`: the first word that is neither an option nor an option's value."""
    takes_value = {
        name: action.nargs is None and not isinstance(action, argparse._HelpAction | argparse._VersionAction)
        for action in _common()._actions
        for name in action.option_strings
    }
    at = 0
    while at < len(argv):
        word = argv[at]
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            if word in COMMANDS and word != "dashboard":
                return word, argv[:at] + argv[at + 1 :]
            break
        at += 2 if takes_value.get(word) else 1
    return "dashboard", argv


def _common() -> argparse.ArgumentParser:
    """Return a parser of the options that every command knows."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    where = parser.add_argument_group("where to connect")
    where.add_argument("-h", "--host", metavar="HOST", dest="host")
    where.add_argument("-p", "--port", metavar="PORT", type=whole(1, 65535))
    where.add_argument("-n", "--db", metavar="DB", type=whole(0))
    where.add_argument("-s", "--socket", metavar="PATH")
    where.add_argument("-u", "--uri", metavar="URL", help="the target, as redis-cli takes it")
    where.add_argument("--user", metavar="NAME")
    where.add_argument("-a", "--pass", dest="password", metavar="PASSWORD", type=Secret, help="seen by others")
    where.add_argument("--askpass", action="store_true", help="ask for the password")
    where.add_argument("--no-auth-warning", action="store_true", help=argparse.SUPPRESS)
    where.add_argument("--tls", action="store_true")
    where.add_argument("--cacert", metavar="FILE")
    where.add_argument("--cacertdir", metavar="DIR")
    where.add_argument("--cert", metavar="FILE")
    where.add_argument("--key", metavar="FILE")
    where.add_argument("--sni", metavar="NAME", help="the name the certificate must hold")
    where.add_argument("--insecure", action="store_true", help="TLS without looking at the certificate")
    how = parser.add_argument_group("how to look")
    how.add_argument("--read-only", action="store_true", help="send nothing that changes anything")
    how.add_argument("--interval", type=seconds(*INTERVAL_RANGE_S), metavar="S", help="seconds between two looks (1)")
    how.add_argument("--theme", metavar="NAME|FILE")
    how.add_argument("--slow-link", action="store_true", help="few frames, no animation")
    how.add_argument("--ascii", action="store_true", help="no signs beyond ASCII")
    how.add_argument("--no-color", action="store_true", help="NO_COLOR does the same")
    how.add_argument("--config", metavar="FILE", type=Path)
    how.add_argument("--version", action="version", version=f"cachetui {__version__}", help="the version")
    how.add_argument("--help", action="help", help="this")
    return parser


def _parser(name: str) -> argparse.ArgumentParser:
    command = COMMANDS[name]
    shown = "" if name == "dashboard" else f" {name}"
    usage = f"cachetui{shown} {command.usage} [options]".replace("  ", " ")
    epilog = "\n\n".join(textwrap.fill(text, HELP_WIDTH) for text in (TARGETS, EXIT_CODES))
    if not shown:
        width = max(len(f"{name} {known.usage}") for name, known in COMMANDS.items())
        lines = [
            f"  {f'{name} {known.usage}':<{width}}  {known.summary}"
            for name, known in COMMANDS.items()
            if name != "dashboard"
        ]
        usage = "cachetui [TARGET] [options]\n       cachetui COMMAND [TARGET] [options]"
        epilog = "commands:\n" + "\n".join(lines) + "\n\n" + epilog
    parser = _Parser(
        prog=f"cachetui{shown}",
        usage=usage,
        description=None if not shown else command.summary,
        epilog=epilog,
        parents=[_common()],
        add_help=False,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    command.add(parser)
    return parser
