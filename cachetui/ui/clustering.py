"""From a press to a plan that moves slots: what is to be balanced is asked, the plan shows before and after."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from cachetui.actions.cluster.balancing import BYS, Wishes, plan_rebalance
from cachetui.actions.cluster.nodes import Nodes
from cachetui.errors import Refused
from cachetui.model import Identity
from cachetui.text import printable
from cachetui.ui.proposal import Proposal
from cachetui.ui.screens.form import Field, Form

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live

_LEAVE, _GIVE = "leave them empty", "give them slots"
_OWN, _CLASSIC = "as the server does best", "key by key"


@asynccontextmanager
async def reached(app: CachetuiApp) -> AsyncIterator[Nodes]:
    """Open what speaks to each node of the cluster by itself."""
    from cachetui.source.connect import make_source

    async with Nodes(app.target, make_source) as nodes:
        yield nodes


async def rebalanced(app: CachetuiApp, live: Live, identity: Identity) -> Proposal | None:
    """Ask what is to be balanced, and plan it."""
    if identity.mode != "cluster":
        raise Refused("this is no cluster: there are no slots to balance", "connect to a node of one")
    fields = [
        Field("by", "balance by", options=BYS),
        Field("weights", "weights", "HOST:PORT=2 HOST:PORT=0; others 1, 0 empties a node", check=_said_of_weights),
        Field("threshold", "from percent", "less is left alone", initial="2", check=_said_of_percent),
        Field("empty", "primaries without slots", options=(_LEAVE, _GIVE)),
        Field("how", "how", options=(_OWN, _CLASSIC)),
    ]
    answers = await app.push_screen_wait(Form(f"rebalance {printable(live.source.name)}", fields))
    return None if answers is None else await _proposed(app, live, identity, answers)


async def _proposed(app: CachetuiApp, live: Live, identity: Identity, answers: Mapping[str, str]) -> Proposal:
    wishes = Wishes(
        by=next(by for by in BYS if by == answers["by"]),
        weights=weights_in(answers["weights"]),
        threshold_percent=float(answers["threshold"] or 2),
        empty=answers["empty"] == _GIVE,
        classic=answers["how"] == _CLASSIC,
    )
    async with reached(app) as nodes:
        plan = await plan_rebalance(nodes, identity, live.source.name, wishes)
    return Proposal(plan, partial(_proposed, app, live, identity, answers))


def weights_in(words: str) -> dict[str, float]:
    """Return weights by node. Raises ValueError with a sentence.

    >>> weights_in("h:7000=2 ab12=0")
    {'h:7000': 2.0, 'ab12': 0.0}
    """
    found: dict[str, float] = {}
    for word in words.replace(",", " ").split():
        node, _, number = word.rpartition("=")
        try:
            found[node] = float(number)
        except ValueError:
            node = ""
        if not node or not 0 <= found[node] <= 1e6:
            raise ValueError(f"a weight is HOST:PORT=NUMBER, not {printable(word, 40)!r}")
    return found


def _said_of_weights(words: str) -> str | None:
    try:
        weights_in(words)
    except ValueError as error:
        return str(error)
    return None


def _said_of_percent(words: str) -> str | None:
    try:
        good = 0 <= float(words or 2) <= 100
    except ValueError:
        good = False
    return None if good else "a number of percent from 0 to 100"
