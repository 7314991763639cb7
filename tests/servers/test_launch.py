"""The servers the tests rely on do start, answer and stop."""

from collections.abc import Callable

from tests.servers.launch import Server


def test_each_redis_like_server_answers(redis_like: Server) -> None:
    assert redis_like.command("PING") is True


def test_memcached_answers(memcached: Server) -> None:
    assert memcached._answers()


def test_a_server_can_be_killed_and_started_again(new_server: Callable[..., Server]) -> None:
    server = new_server("redis7")
    server.kill()
    assert not server._answers()
    assert server.start().command("PING") is True
