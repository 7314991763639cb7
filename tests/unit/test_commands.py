"""The command table is the only list of presses there is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from cachetui.ui.app import _JUMPS, _LEAVING, _MOVES
from cachetui.ui.commands import BY_ID, COMMANDS, VIEWS, with_table
from cachetui.ui.panes import keys
from cachetui.ui.presses import ANSWERS, DIALOGS
from cachetui.ui.views import MAKERS

README = Path(__file__).parents[2] / "README.md"


def test_ids_and_presses_are_unique() -> None:
    assert len(BY_ID) == len(COMMANDS)
    presses = Counter(press for row in COMMANDS for press in row.press.split(","))
    assert [press for press, number in presses.items() if number > 1] == []


def test_every_view_in_the_table_can_be_made_and_no_other() -> None:
    assert [row.id for row in VIEWS] == list(MAKERS)


def test_every_command_does_something() -> None:
    panes = {"group", *keys._ANSWERS}
    moves = {*_MOVES, *_JUMPS, "page-down", "page-up"}
    views = {row.id for row in VIEWS}
    risky = {row.id for row in COMMANDS if row.risk != "none"}
    answered = {*panes, *moves, *views, *risky, *ANSWERS, *DIALOGS, *_LEAVING}
    assert answered == set(BY_ID)


def test_every_command_that_changes_the_server_has_a_plan_and_a_need() -> None:
    from cachetui.ui.acting import _PLANS

    risky = {row.id for row in COMMANDS if row.risk != "none"}
    assert risky == set(_PLANS)
    assert all(BY_ID[command_id].needs for command_id in risky)


def test_the_readme_holds_the_table() -> None:
    document = README.read_text()
    assert with_table(document) == document, "run `make readme`"
