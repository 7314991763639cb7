"""Every form of a target, and every way to get one wrong, without a password in any message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.config import Address, Target, parse_target
from cachetui.config.url import shown
from cachetui.errors import BadTarget


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("redis://cache", "redis", "redis://cache:6379/0"),
        ("redis://cache:7000/3", "redis", "redis://cache:7000/3"),
        ("redis://cache:7000/", "redis", "redis://cache:7000/0"),
        ("redis://", "redis", "redis://127.0.0.1:6379/0"),
        ("redis://cache?db=4", "redis", "redis://cache:6379/4"),
        ("REDIS://cache", "redis", "redis://cache:6379/0"),
        ("valkey://cache", "redis", "redis://cache:6379/0"),
        ("rediss://cache", "redis", "rediss://cache:6379/0"),
        ("valkeys://[::1]:7000/1", "redis", "rediss://[::1]:7000/1"),
        ("unix:///run/redis.sock", "redis", "unix:///run/redis.sock"),
        ("unix:///run/redis.sock?db=2", "redis", "unix:///run/redis.sock?db=2"),
        ("unix://me:pw@/run/my%20redis.sock", "redis", "unix:///run/my redis.sock"),
        ("redis+sentinel://a:1,b/main", "sentinel", "redis+sentinel://a:1,b:26379/main/0"),
        ("redis+sentinel://me:pw@a/main/2", "sentinel", "redis+sentinel://a:26379/main/2"),
        ("rediss+sentinel://a/main", "sentinel", "rediss+sentinel://a:26379/main/0"),
        ("redis+cluster://a:1,b:2", "cluster", "redis+cluster://a:1,b:2"),
        ("memcached://a,b:2", "memcached", "memcached://a:11211,b:2"),
        ("memcached+unix:///run/m.sock", "memcached", "memcached+unix:///run/m.sock"),
        ("cache:7000", "auto", "cache:7000"),
        (":7000", "auto", "127.0.0.1:7000"),
        ("[::1]:7000", "auto", "[::1]:7000"),
        ("cache:7000/2", "redis", "redis://cache:7000/2"),
        ("/run/redis.sock", "auto", "/run/redis.sock"),
        ("bücher.example:1", "auto", "bücher.example:1"),
    ],
)
def test_each_form_is_understood(text: str, kind: str, name: str) -> None:
    target = parse_target(text)
    assert (target.kind, target.name) == (kind, name)
    assert parse_target(f"  {text}\n") == target


def test_a_bare_host_is_looked_for_on_both_ports() -> None:
    for host in ("cache", "::1"):
        assert parse_target(host).addresses == (Address(host, 6379), Address(host, 11211))
        assert parse_target(host).kind == "auto"


def test_user_and_password_are_decoded() -> None:
    target = parse_target("redis://b%40b:p%2F%3A%25w%C3%A9@cache")
    assert (target.user, target.password) == ("b@b", "p/:%wé")
    assert parse_target("redis://:pw@cache").user is None
    assert parse_target("redis://bob@cache").password is None
    assert parse_target("redis://bob:p@ss@cache").password == "p@ss"
    assert parse_target("redis://:p#a@cache").password == "p#a"
    assert parse_target("redis://cache?username=bob&password=p%26w") == parse_target("redis://bob:p%26w@cache")


def test_defaults_do_not_replace_what_is_written() -> None:
    target = parse_target("redis://bob:pw@cache", user="eve", password="other")
    assert (target.user, target.password) == ("bob", "pw")
    target = parse_target("redis://cache", user="eve", password="other")
    assert (target.user, target.password) == ("eve", "other")


def test_tls_options_of_a_url() -> None:
    target = parse_target("rediss://h?ssl_ca_certs=/ca.pem&ssl_certfile=/c&ssl_keyfile=/k&ssl_password=pw")
    assert target.tls is not None
    assert (target.tls.ca_file, target.tls.cert_file, target.tls.key_file) == ("/ca.pem", "/c", "/k")
    assert target.tls.key_password == "pw" and target.tls.verify
    for word in ("none", "CERT_NONE"):
        loose = parse_target(f"rediss://h?ssl_cert_reqs={word}")
        assert loose.tls is not None and not loose.tls.verify


def test_options_of_other_clients_are_no_mistake() -> None:
    target = parse_target("redis://h?health_check_interval=30&socket_timeout=5&decode_responses=True")
    assert target == parse_target("redis://h")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://cache", "unknown kind of target: http://"),
        ("redis://cache:x", "the port is not a number"),
        ("redis://cache:0", "the port is not a number"),
        ("redis://cache:70000", "the port is not a number"),
        ("redis://cache/x", "the database is not a number"),
        ("redis://cache/-1", "the database is not a number"),
        ("redis://cache/1/2", "too many parts"),
        ("redis://a,b", "one host only"),
        ("redis://a..b", "not a host name"),
        ("redis://a b", "not a host name"),
        ("redis://" + "a" * 64, "not a host name"),
        ("redis://[::1", "not an IPv6 address"),
        ("redis://[cache]", "not an IPv6 address"),
        ("redis+sentinel://h", "the name of the group is missing"),
        ("redis+cluster://h/3", "database 0 only"),
        ("memcached://h/3", "no databases"),
        ("memcached://h?db=3", "no databases"),
        ("redis://h?nonsense=1", "unknown option nonsense"),
        ("redis://h?ssl_cert_reqs=maybe", "none or required"),
        ("unix://", "path of the socket is missing"),
        ("", "the target is empty"),
        ("a:1,b:2", "several hosts need a scheme"),
        ("me:pw@cache", "need a scheme"),
        ("redis://h\x1b[2J", "not a host name"),
        ("redis://%ff", "not UTF-8"),
    ],
)
def test_each_mistake_is_named(text: str, says: str) -> None:
    with pytest.raises(BadTarget) as caught:
        parse_target(text)
    assert says in caught.value.message
    assert caught.value.line().isprintable()
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "redis://bob:hunter2@cache:x",
        "redis://bob:hunter2@cache/x",
        "redis://bob:hunter2@ca che",
        "redis://:hunter/hunter2@cache",
        "redis://:hunter?hunter2@cache",
        "redis://:hunter2",
        "redis://cache?password=hunter2&x=1",
        "redis://bob:hunter2://@cache:x",
        "bob:hunter2@cache",
        "http://bob:hunter2@cache",
        "redis+sentinel://bob:hunter2@h",
        "memcached://bob:hunter2@h/1",
        "redis://bob:hunter2%ff@h",
    ],
)
def test_no_message_repeats_a_password(text: str) -> None:
    with pytest.raises(BadTarget) as caught:
        parse_target(text)
    assert "hunter2" not in caught.value.line()
    assert caught.value.__cause__ is None


def test_no_repr_and_no_name_shows_a_password() -> None:
    target = parse_target("redis+sentinel://bob:hunter2@h/main?sentinel_password=hunter3&ssl_password=hunter4")
    assert "hunter" not in repr(target) and "hunter" not in target.name
    assert target.sentinel_password == "hunter3"


def test_a_hostile_path_is_printable_in_the_name() -> None:
    target = Target("replay", (), path="/tmp/a\x1b[2J.rec")
    assert target.name == "replay:a\\x1b[2J.rec"


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_one_clear_line(text: str) -> None:
    for candidate in (text, f"redis://{text}", f"memcached://{text}", f"redis+sentinel://{text}"):
        try:
            assert parse_target(candidate).name.isprintable()
        except BadTarget as error:
            assert error.line().isprintable()


@given(st.text(alphabet="abc:/?#@%[],é ", max_size=30))
def test_a_password_never_shows(noise: str) -> None:
    for text in (f"redis://u:{noise}hunter2@h", f"redis://:hunter2{noise}@h:x", f"redis://h?password=hunter2{noise}"):
        assert "hunter2" not in shown(text)


def test_sentinels_may_have_tls_of_their_own() -> None:
    plain = parse_target("redis+sentinel://h/name")
    assert plain.tls_of_sentinels is None
    both = parse_target("rediss+sentinel://h/name?ssl_ca_certs=ca.pem")
    assert both.tls_of_sentinels == both.tls and both.tls is not None and both.tls.ca_file == "ca.pem"
    servers = parse_target("rediss+sentinel://h/name?sentinel_tls=no")
    assert servers.tls is not None and servers.tls_of_sentinels is None
    sentinels = parse_target("redis+sentinel://h/name?sentinel_tls=yes&sentinel_ssl_ca_certs=s.pem")
    assert sentinels.tls is None and sentinels.tls_of_sentinels is not None
    assert sentinels.tls_of_sentinels.ca_file == "s.pem" and sentinels.tls_of_sentinels.verify
    apart = parse_target("rediss+sentinel://h/name?ssl_ca_certs=a&sentinel_ssl_ca_certs=b&sentinel_ssl_password=pw")
    assert apart.tls is not None and apart.tls_of_sentinels is not None
    assert (apart.tls.ca_file, apart.tls_of_sentinels.ca_file) == ("a", "b")
    assert apart.tls.key_password is None and "pw" not in repr(apart)
    with pytest.raises(BadTarget, match="sentinel_tls is yes or no"):
        parse_target("redis+sentinel://h/name?sentinel_tls=maybe")
