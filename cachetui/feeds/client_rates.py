"""What each client does a second: differences between two client lists."""

from __future__ import annotations

from dataclasses import replace

from cachetui.model import ClientInfo, ClientList

_Who = tuple[str, int | None, str]
_Totals = tuple[int | None, int | None, int | None]


class ClientRates:
    """Takes in list after list; a client that was not in the one before has no rates yet."""

    def __init__(self) -> None:
        self._before: dict[_Who, _Totals] = {}
        self._at = 0.0
        self._run_id: str | None = None

    def rated(self, clients: ClientList) -> ClientList:
        """Return the list with the rates since the one before."""
        same = clients.server.run_id == self._run_id
        span_s = clients.taken_at - self._at
        before = self._before if same and span_s > 0 else {}
        self._at, self._run_id = clients.taken_at, clients.server.run_id
        self._before = {_who(client): _totals(client) for client in clients.clients}
        if not before:
            return clients
        rated = tuple(_rated(client, before.get(_who(client)), span_s) for client in clients.clients)
        return replace(clients, clients=rated)


def _who(client: ClientInfo) -> _Who:
    return client.node, client.client_id, client.address


def _totals(client: ClientInfo) -> _Totals:
    return client.commands_total, client.net_in_bytes_total, client.net_out_bytes_total


def _rated(client: ClientInfo, before: _Totals | None, span_s: float) -> ClientInfo:
    if before is None:
        return client
    rates = [
        (now - then) / span_s if now is not None and then is not None and now >= then else None
        for now, then in zip(_totals(client), before, strict=True)
    ]
    if rates == [None, None, None]:
        return client
    return replace(client, commands_per_s=rates[0], in_bytes_per_s=rates[1], out_bytes_per_s=rates[2])
