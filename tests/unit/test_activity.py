"""Rates of commands and of clients, and what clients have in common."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cachetui.analysis.activity import By, activity, client_groups
from cachetui.feeds.client_rates import ClientRates
from cachetui.model import ClientInfo, ClientList, CommandStat, ErrorStat, Evidence, Identity, Stats

SERVER = Identity("redis", run_id="a")


def stats(at: float, *commands: CommandStat, errors: tuple[ErrorStat, ...] = ()) -> Stats:
    return Stats(at, SERVER, uptime_s=int(at), commands=commands, errors=errors)


def evidence(*snapshots: Stats) -> Evidence:
    return Evidence(snapshots[-1].taken_at, "t", stats=snapshots[-1], window=snapshots[:-1])


def test_rates_are_of_the_last_ten_seconds() -> None:
    found = activity(
        evidence(
            stats(100, CommandStat("get", 0, 0)),
            stats(185, CommandStat("get", 1000, 5000), CommandStat("set", 10, 10)),
            stats(189, CommandStat("get", 1200, 6000)),
            stats(
                195,
                CommandStat("get", 2000, 105_000, 1, 30),
                CommandStat("set", 10, 10),
                CommandStat("new", 5, 50),
                errors=(ErrorStat("WRONGTYPE", 30),),
            ),
        )
    )
    assert found is not None and found.span_s == 10
    assert [rate.name for rate in found.commands] == ["get", "new"]
    get = found.commands[0]
    assert (get.calls_per_s, get.busy_percent, get.usec_per_call) == (100, 1.0, 100)
    assert (get.failed_per_s, get.rejected_per_s) == (3, 0.1)
    assert found.errors == (("WRONGTYPE", 3.0),)


def test_one_look_a_restart_and_a_reset_give_no_rates() -> None:
    now = stats(100, CommandStat("get", 10, 10))
    assert activity(evidence(now)) is None
    assert activity(Evidence(1.0, "t")) is None
    other = replace(stats(90, CommandStat("get", 1, 1)), server=Identity("redis", run_id="b"))
    assert activity(evidence(other, now)) is None
    reset = activity(evidence(stats(90, CommandStat("get", 100, 100)), now))
    assert reset is not None and reset.commands == ()


def clients(at: float, *infos: ClientInfo, run_id: str = "a") -> ClientList:
    return ClientList(at, Identity("redis", run_id=run_id), infos, len(infos))


def info(number: int, total: int | None, address: str = "10.0.0.1:5", **fields: str) -> ClientInfo:
    return ClientInfo(
        number,
        address,
        commands_total=total,
        net_in_bytes_total=total and 10 * total,
        memory_bytes=100,
        idle_s=number,
        **fields,
    )  # type: ignore[arg-type]


def test_a_client_has_rates_from_its_second_list_on() -> None:
    rates = ClientRates()
    first = rates.rated(clients(10.0, info(1, 100), info(2, 5)))
    assert [client.commands_per_s for client in first.clients] == [None, None]
    second = rates.rated(clients(12.0, info(1, 300), info(2, 4), info(3, 50), info(4, None)))
    assert [client.commands_per_s for client in second.clients] == [100, None, None, None]
    assert second.clients[0].in_bytes_per_s == 1000 and second.clients[0].out_bytes_per_s is None
    assert rates.rated(clients(13.0, info(1, 900), run_id="b")).clients[0].commands_per_s is None


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("name", ["web", "(none)"]),
        ("library", ["redis-py 5", "jedis"]),
        ("host", ["10.0.0.1", "::1"]),
        ("user", ["default"]),
        ("command", ["get"]),
    ],
)
def test_clients_by_what_they_share(by: By, names: list[str]) -> None:
    rates = ClientRates()
    shared = {"command": "get", "user": "default"}
    who = [
        info(1, 0, name="web", library="redis-py 5", **shared),
        info(2, 0, name="web", library="redis-py 5", **shared),
        info(3, 0, "::1:7", library="jedis", **shared),
    ]
    rates.rated(clients(10.0, *who))
    then = rates.rated(clients(11.0, *(replace(one, commands_total=number) for number, one in enumerate(who, 5))))
    groups = client_groups(then.clients, by)
    assert [group.name for group in groups] == names
    assert sum(group.clients for group in groups) == 3
    assert sum(group.commands_per_s or 0 for group in groups) == 5 + 6 + 7
    assert groups[0].memory_bytes == 100 * groups[0].clients
    assert groups[0].idle_s == 1
