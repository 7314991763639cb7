"""Error replies and exceptions in our own words."""

from __future__ import annotations

import pytest

from cachetui.config import Address
from cachetui.errors import CacheError, Denied, ServerError
from cachetui.source import faults

WHERE = Address("10.0.0.1", 6379)


@pytest.mark.parametrize(
    "reply",
    [
        "NOPERM this user has no permissions to run the 'info' command or its subcommand",
        "NOPERM User ann has no permissions to run the 'config|get' command",
        "ERR Command is not available: 'INFO'",
        "ERR command is not allowed",
        "ERR unknown command 'INFO', with args beginning with: ",
    ],
)
def test_a_command_that_is_refused_as_such_is_worth_remembering(reply: str) -> None:
    assert faults.concerns_command(faults.reply_error(reply, "INFO"))


@pytest.mark.parametrize(
    "reply",
    [
        "NOPERM this user has no permissions to access one of the keys used as arguments",
        "NOPERM No permissions to access a key",
        "NOPERM No permissions to access a channel",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "LOADING Redis is loading the dataset in memory",
        "ERR CONFIG SET failed (possibly related to argument 'x') - can't set immutable config",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "MOVED 12182 127.0.0.1:7001",
    ],
)
def test_what_may_be_otherwise_next_time_is_not_remembered(reply: str) -> None:
    assert not faults.concerns_command(faults.reply_error(reply, "GET"))


def test_the_words_of_a_command_inside_a_script_count() -> None:
    place = "ERR Error running script (call to f_68f71574e01e): @user_script:8: @user_script: 8: "
    error = faults.reply_error(f"{place}-READONLY You can't write against a read only replica. ", "EVALSHA")
    assert isinstance(error, ServerError) and error.word == "READONLY"
    error = faults.reply_error(
        f"{place}-MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk. "
        "Commands that may modify the data set are disabled",
        "EVALSHA",
    )
    assert isinstance(error, ServerError) and error.word == "MISCONF" and not faults.concerns_command(error)


def test_a_provider_that_refuses_in_its_own_words_denies() -> None:
    error = faults.reply_error("ERR Command is not available: 'INFO'\x1b[2J", "INFO")
    assert isinstance(error, Denied) and "\x1b" not in error.line()


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"HTTP/1.0 400", "HTTP"),
        (b"\x15\x03\x03\x00", "TLS"),
        (b"ERROR\r\n", "Memcached"),
        (b"SSH-2.0", "SSH"),
        (b"\x1b]0;owned\x07", "not a cache"),
        (b"", "not a cache"),
    ],
)
def test_strangers_are_named(head: bytes, word: str) -> None:
    line = faults.not_a_cache(WHERE, head).line()
    assert word in line and line.isprintable()


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ConnectionRefusedError(111, "x"), "refused the connection"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] ..."), "refused"),
        (OSError(113, "No route to host"), "no route"),
        (PermissionError(13, "x"), "no permission"),
        (TimeoutError(), "did not answer"),
        (ConnectionResetError(104, "x"), "cut the connection"),
        (EOFError(), "closed the connection"),
        (faults.ReplyTooLong(), "too large"),
    ],
)
def test_exceptions_become_one_line(error: BaseException, word: str) -> None:
    outer = RuntimeError("a driver's words")
    outer.__cause__ = error
    for seen in (faults.from_exception(error, WHERE, 2), faults.from_exception(outer, WHERE, 2)):
        assert isinstance(seen, CacheError) and word in seen.message and seen.hint and "10.0.0.1" in seen.message
        assert "driver" not in seen.line()
