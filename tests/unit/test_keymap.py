"""A person's presses over the command table's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.ui.commands import COMMANDS, CommandRow
from cachetui.ui.keymap import ALWAYS_HARMLESS, normal_press, resolve_keymap

ROWS = (
    CommandRow("filter", "slash", "filter", "show some"),
    CommandRow("down", "down,j", "down", "next row"),
    CommandRow("sort", "s", "sort", "sort"),
    CommandRow("delete", "d", "delete", "delete keys", "high", where=("keys",)),
    CommandRow("kill", "x", "kill", "close a connection", "medium", where=("clients",)),
)


def test_an_override_replaces_the_presses_under_textuals_names() -> None:
    keymap, problems = resolve_keymap(ROWS, {"filter": "Ctrl+F, ?", "delete": "D"})
    assert keymap == {"filter": "ctrl+f,question_mark", "delete": "D"}
    assert problems == ()


def test_signs_are_presses_too() -> None:
    assert resolve_keymap(ROWS, {"sort": "+,-,."}) == ({"sort": "plus,minus,full_stop"}, ())


def test_no_overrides_change_nothing() -> None:
    assert resolve_keymap(COMMANDS, {}) == ({}, ())


def test_two_commands_may_swap() -> None:
    keymap, problems = resolve_keymap(ROWS, {"delete": "x", "kill": "d"})
    assert keymap == {"delete": "x", "kill": "d"}
    assert problems == ()


def test_an_unknown_command_is_named_with_the_known_ones() -> None:
    keymap, problems = resolve_keymap(ROWS, {"explode": "e", "sort": "e"})
    assert keymap == {"sort": "e"}
    assert len(problems) == 1
    assert problems[0].startswith("keymap: explode = 'e'") and "filter, down, sort, delete, kill" in problems[0]


@pytest.mark.parametrize("press", ["", " ", "d,", "hyperspace", "ctrl+", "++", "<any>", "ctl+d", "d d", "\x1b", "null"])
def test_what_is_no_press_is_refused_in_one_printable_line(press: str) -> None:
    keymap, problems = resolve_keymap(ROWS, {"sort": press})
    assert keymap == {}
    assert len(problems) == 1 and problems[0].isprintable()


def test_a_press_that_is_taken_is_refused_and_stays_with_its_owner() -> None:
    keymap, problems = resolve_keymap(ROWS, {"sort": "/"})
    assert keymap == {}
    assert problems == ("keymap: sort = 'slash': slash is the press of filter already",)


def test_of_two_overrides_for_one_press_the_first_holds() -> None:
    keymap, problems = resolve_keymap(ROWS, {"sort": "o", "filter": "o"})
    assert keymap == {"sort": "o"}
    assert problems == ("keymap: filter = 'o': o is the press of sort already",)


def test_refusing_one_override_refuses_what_leaned_on_it() -> None:
    # sort would take filter's press, but filter keeps it: its new one is taken by down.
    keymap, problems = resolve_keymap(ROWS, {"filter": "j", "sort": "slash"})
    assert keymap == {}
    assert [line.split(":")[1].strip() for line in problems] == ["filter = 'j'", "sort = 'slash'"]


@pytest.mark.parametrize("press", ["s", "j", "slash", "/", "enter", "ctrl+m", "ctrl+i", "Space", "7", "q", "?", "pgdn"])
@pytest.mark.parametrize("command_id", ["delete", "kill"])
def test_what_changes_a_server_never_gets_a_harmless_press(command_id: str, press: str) -> None:
    # Not even when the harmless command moves away: the hands do not.
    keymap, problems = resolve_keymap(ROWS, {"sort": "o", command_id: press})
    assert keymap == {"sort": "o"}
    assert len(problems) == 1 and command_id in problems[0]


def test_a_harmless_command_may_have_several_presses_and_keep_its_own() -> None:
    keymap, problems = resolve_keymap(ROWS, {"down": "down,j,n,j"})
    assert keymap == {"down": "down,j,n"}
    assert problems == ()


def test_the_command_table_itself_has_no_clash_and_only_real_presses() -> None:
    taken: dict[str, str] = {}
    for row in COMMANDS:
        for press in row.press.split(","):
            assert normal_press(press) == press, f"{row.id}: {press}"
            assert press not in taken, f"{row.id} and {taken.get(press)} share {press}"
            taken[press] = row.id
            assert row.risk == "none" or press not in ALWAYS_HARMLESS, f"{row.id} is on {press}"


@given(st.dictionaries(st.sampled_from([row.id for row in COMMANDS]), st.text(max_size=12), max_size=6))
def test_any_text_gives_a_keymap_without_clashes(overrides: dict[str, str]) -> None:
    keymap, problems = resolve_keymap(COMMANDS, overrides)
    assert len(keymap) + len(problems) == len(overrides)
    assert all(line.isprintable() for line in problems)
    effective = [press for row in COMMANDS for press in keymap.get(row.id, row.press).split(",")]
    assert len(effective) == len(set(effective))


@given(st.permutations([row.id for row in ROWS]), st.permutations([row.press for row in ROWS]))
def test_any_exchange_of_presses_leaves_risky_commands_off_harmless_ones(ids: list[str], presses: list[str]) -> None:
    keymap, _ = resolve_keymap(ROWS, dict(zip(ids, presses, strict=True)))
    for row in ROWS:
        if row.risk != "none":
            assert keymap.get(row.id, row.press) in ("d", "x")
    effective = [press for row in ROWS for press in keymap.get(row.id, row.press).split(",")]
    assert len(effective) == len(set(effective))
