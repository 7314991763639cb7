"""The prefix tree: every key is there once, whatever its name."""

from hypothesis import given
from hypothesis import strategies as st

from cachetui.keyspace.tree import DEPTH, Branch, PrefixTree

HOSTILE = [
    b"",
    b":",
    b"::",
    b":a",
    b"a",
    b"a:",
    b"a::b",
    b"a:b",
    b"a:b:",
    b"\xff\xfe:\x00",
    b"a:\n\x1b[2J",
    "é:ü".encode(),
    b":" * 300,
    b"x" * 5000 + b":y",
]

names = st.lists(st.binary(max_size=12) | st.text(":ab", max_size=12).map(str.encode))


def reachable(tree: PrefixTree, prefix: bytes = b"") -> list[bytes]:
    found: list[bytes] = []
    for branch in tree.children(prefix):
        found += [branch.name] if branch.is_key else reachable(tree, branch.name)
    return found


def test_hostile_names_are_each_reachable_exactly_once() -> None:
    tree = PrefixTree()
    tree.add(HOSTILE)
    assert sorted(reachable(tree)) == sorted(HOSTILE)
    assert tree.total == len(HOSTILE)


@given(names)
def test_any_names_are_each_reachable_exactly_once(keys: list[bytes]) -> None:
    tree = PrefixTree()
    tree.add(keys)
    tree.add(keys)
    assert sorted(reachable(tree)) == sorted(set(keys)) == sorted(tree.keys())
    assert tree.total == len(set(keys))


@given(names, st.binary(max_size=3) | st.text(":ab", max_size=4).map(str.encode))
def test_count_and_keys_take_any_prefix(keys: list[bytes], prefix: bytes) -> None:
    tree = PrefixTree()
    tree.add(keys)
    wanted = {key for key in keys if key.startswith(prefix)}
    assert set(tree.keys(prefix)) == wanted
    assert len(tree.keys(prefix)) == tree.count(prefix) == len(wanted)


@given(names, names)
def test_discarding_leaves_what_a_new_tree_would_hold(keys: list[bytes], gone: list[bytes]) -> None:
    tree, fresh = PrefixTree(), PrefixTree()
    tree.add(keys)
    tree.discard([*gone, *gone])
    fresh.add(set(keys) - set(gone))
    assert tree.total == fresh.total
    assert list(tree.children(b"")) == list(fresh.children(b""))
    assert sorted(reachable(tree)) == sorted(reachable(fresh))


def test_children_are_sorted_by_count_then_name() -> None:
    tree = PrefixTree()
    tree.add([b"b:1", b"a:1", b"z:1", b"z:2", b"solo", b"a"])
    assert list(tree.children(b"")) == [
        Branch(b"z:", b"z:", False, 2),
        Branch(b"a:", b"a:", False, 1),
        Branch(b"b:", b"b:", False, 1),
        Branch(b"a", b"a", True, 1),
        Branch(b"solo", b"solo", True, 1),
    ]
    assert [branch.label for branch in tree.children(b"z:")] == [b"1", b"2"]


def test_keys_that_come_later_are_sorted_in() -> None:
    tree = PrefixTree()
    tree.add([b"c", b"a"])
    assert [branch.name for branch in tree.children(b"")] == [b"a", b"c"]
    tree.add([b"d", b"b"])
    assert [branch.name for branch in tree.children(b"")] == [b"a", b"b", b"c", b"d"]
    tree.discard([b"c"])
    assert [branch.name for branch in tree.children(b"")] == [b"a", b"b", b"d"]


def test_depth_is_bounded() -> None:
    tree = PrefixTree()
    tree.add([b":" * 10_000])
    prefix, depth = b"", 0
    while not tree.children(prefix)[0].is_key:
        prefix, depth = tree.children(prefix)[0].name, depth + 1
    assert depth == DEPTH
    assert tree.children(prefix)[0].name == b":" * 10_000


def test_a_full_tree_says_that_it_is_not_complete() -> None:
    tree = PrefixTree(limit=3)
    tree.add([b"a", b"b", b"c", b"a"])
    assert tree.complete
    tree.add([b"d"])
    assert not tree.complete
    assert tree.total == 3
    tree.clear()
    assert tree.complete and tree.total == 0 and len(tree.children(b"")) == 0


def test_other_separators() -> None:
    tree = PrefixTree("::")
    tree.add([b"a::b", b"a:b"])
    assert [branch.name for branch in tree.children(b"")] == [b"a::", b"a:b"]
    flat = PrefixTree("")
    flat.add([b"a:b"])
    assert [branch.name for branch in flat.children(b"")] == [b"a:b"]


def test_filter_by_part_glob_and_shown_escape() -> None:
    tree = PrefixTree()
    tree.add([b"User:1", b"user:2", b"order:\x1b", b"x[1]"])
    assert tree.matches("user") == [b"User:1", b"user:2"]
    assert tree.matches("User") == [b"User:1"]
    assert sorted(tree.matches("*er:?")) == [b"User:1", b"order:\x1b", b"user:2"]
    assert tree.matches("\\x1b") == [b"order:\x1b"]
    assert tree.matches(b"nothing") == []
