"""A web shop that does not exist: its pages, users, orders and the rest, the same for the same seed."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

Argument = bytes | str | int | float
Command = tuple[Argument, ...]
"""One Redis command, name first."""

PAGE_PREFIX = "page:"
PAGES = 3000
USERS = 8000
SESSIONS = 5000
SKEW = 1.1
"""Exponent of the pages' popularity (Zipf): the first page is asked for about 300 times as often as the 180th."""

_VOCABULARY = (
    "amber basket canvas delta ember forest garden harbor island jacket kettle lantern meadow nickel orchard "
    "paper quartz river silver timber umber velvet willow yellow zephyr copper linen marble walnut cotton"
)
_WORDS = _VOCABULARY.split()
_CITIES = (
    ("Lisboa", -9.139, 38.722),
    ("Zürich", 8.541, 47.377),
    ("Kraków", 19.945, 50.065),
    ("東京", 139.692, 35.690),
    ("Αθήνα", 23.728, 37.984),
    ("Montréal", -73.567, 45.502),
    ("Ciudad de México", -99.133, 19.433),
    ("Nairobi", 36.817, -1.286),
    ("Tromsø", 18.956, 69.649),
    ("Auckland", 174.763, -36.848),
)
_TAGS = ("new", "sale", "outdoor", "kitchen", "garden", "office", "kids", "vintage", "handmade", "gift")
_AREAS = ("header", "sidebar", "related", "reviews", "footer")


@dataclass(frozen=True, slots=True)
class Family:
    """Keys that belong together. When `probe` is gone, `commands` makes them anew."""

    probe: bytes | str
    commands: Callable[[], Iterator[Command]]


class Shop:
    """The source of truth behind the demo's cache. `now` fixes the dates in the key names."""

    def __init__(self, seed: int, now: datetime) -> None:
        self.seed = seed
        self.today = f"{now:%Y-%m-%d}"
        self.days = [f"{now - timedelta(days=back):%Y-%m-%d}" for back in range(7)]
        rng = random.Random(f"{seed}:shop")
        self._text = " ".join(rng.choices(_WORDS, k=12_000))
        self.pages = [_page_name(rng, number) for number in range(PAGES)]
        """Page names, the most popular first."""
        self._page_weights = list(accumulate(1 / (rank + 1) ** SKEW for rank in range(PAGES)))
        self._user_weights = list(accumulate(1 / (rank + 10) for rank in range(USERS)))

    def popular_pages(self, rng: random.Random, count: int) -> list[str]:
        """Return page names as visitors ask for them; one in a hundred does not exist."""
        chosen = rng.choices(self.pages, cum_weights=self._page_weights, k=count)
        return [f"product:{900_000 + rng.randrange(300)}" if rng.random() < 0.01 else name for name in chosen]

    def popular_users(self, rng: random.Random, count: int) -> list[int]:
        """Return user numbers, some far more often than others."""
        return rng.choices(range(USERS), cum_weights=self._user_weights, k=count)

    def page(self, name: str) -> bytes | None:
        """Return the page as the database would render it: JSON, HTML or gzip; None where there is none."""
        kind, _, rest = name.partition(":")
        if kind == "product" and int(rest) >= 900_000:
            return None
        rng = random.Random(f"{self.seed}:{name}")
        if kind == "product":
            document = {
                "id": int(rest),
                "name": " ".join(rng.sample(_WORDS, 2)).title(),
                "price": {"amount": rng.randrange(199, 99_999) / 100, "currency": "EUR"},
                "stock": rng.randrange(0, 400),
                "tags": rng.sample(_TAGS, 3),
                "rating": round(rng.uniform(2.5, 5.0), 1),
                "description": self.text(rng, 600, 1800),
            }
            return json.dumps(document, ensure_ascii=False).encode()
        body = "".join(f"<p>{self.text(rng, 300, 900)}</p>" for _ in range(rng.randrange(2, 6)))
        html = f"<article id='{name}'><h1>{rng.choice(_WORDS).title()}</h1>{body}</article>".encode()
        return gzip.compress(html, 3, mtime=0) if kind == "article" else html

    def text(self, rng: random.Random, low: int, high: int) -> str:
        """Return between `low` and `high` characters of prose, more or less."""
        at = rng.randrange(len(self._text) - high)
        return self._text[at : at + rng.randrange(low, high)]

    # ----- bulk families: many keys each, filled at the start

    def user(self, number: int) -> Command:
        """Return the command that writes one user's profile."""
        rng = random.Random(f"{self.seed}:user:{number}")
        first, last = rng.choice(_WORDS), rng.choice(_WORDS)
        fields: list[str | int | float] = ["name", f"{first.title()} {last.title()}"]
        fields += ["email", f"{first}.{last}{number}@example.com", "city", rng.choice(_CITIES)[0]]
        fields += ["plan", rng.choice(("free", "free", "free", "plus", "pro")), "orders", rng.randrange(60)]
        return ("HSET", f"user:{number}", *fields)

    def session(self, rng: random.Random, name: str, page: str, ttl_s: int) -> tuple[Command, Command]:
        """Return the commands that open or renew a session."""
        key = f"session:{name}"
        user = self.popular_users(rng, 1)[0]
        agent = rng.choice(("Firefox/141", "Chrome/139", "Safari/19", "curl/8.14"))
        return (
            ("HSET", key, "user", user, "page", page, "agent", agent, "csrf", f"{rng.getrandbits(96):024x}"),
            ("EXPIRE", key, ttl_s),
        )

    def fragment(self, rng: random.Random) -> Command:
        """Return the command that caches one rendered piece of a page under a name of its own."""
        key = f"fragment:{rng.choice(_AREAS)}:{rng.getrandbits(48):012x}"
        html = f"<section>{self.text(rng, 400, 3000)}</section>"
        return ("SET", key, html, "EX", rng.randrange(300, 3600))

    def export(self, rng: random.Random) -> Command:
        """Return the command of a job that forgets to set an expiry."""
        rows = "\n".join(f"{rng.randrange(10**6)};{rng.randrange(10**4)}" for _ in range(rng.randrange(10, 80)))
        return ("SET", f"tmp:export:{rng.getrandbits(64):016x}", f"id;cents\n{rows}\n")

    def bulk(self) -> Iterator[Command]:
        """Yield everything that fills the server at the start, except the fragments."""
        rng = random.Random(f"{self.seed}:bulk")
        for family in self.families():
            yield from family.commands()
        yield from map(self.user, range(USERS))
        for _ in range(SESSIONS):
            yield from self.session(rng, session_name(rng), rng.choice(self.pages), rng.randrange(10, 900))
        # Half of the pages: the hit rate starts low enough to be seen climbing.
        for name in rng.sample(self.pages, PAGES // 2):
            yield ("SET", PAGE_PREFIX + name, self.page(name) or b"", "EX", rng.randrange(10, 75))
        for name in self.pages:
            if name.startswith("product:"):
                yield ("SET", f"counter:views:{name}", rng.randrange(50_000))
        for _ in range(1500):
            yield self.export(rng)
        for number in range(2000):
            yield (
                "RPUSH",
                f"cart:{number * 4}",
                *(f"sku-{rng.randrange(9999):04}" for _ in range(rng.randrange(1, 6))),
            )

    # ----- shared families: few keys that everybody uses

    def families(self) -> tuple[Family, ...]:
        """Return the families that the nightly job writes again when they are missing."""
        return (
            Family("leaderboard:weekly", self._leaderboards),
            Family(f"visitors:{self.today}", self._visitors),
            Family("tag:new", self._tags),
            Family("stores:geo", self._stores),
            Family("catalog:all", self._catalog),
            Family("big:events", self._events),
            Family("big:followers", self._followers),
            Family("big:scores", self._scores),
            Family("config:flags", self._flags),
            Family("odd:name with spaces", self._odd_names),
        )

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self.seed}:{name}")

    def _leaderboards(self) -> Iterator[Command]:
        rng = self._rng("leaderboard")
        for board in ("leaderboard:weekly", *(f"leaderboard:daily:{day}" for day in self.days)):
            entries = ((rng.randrange(10_000), f"user:{user}") for user in rng.sample(range(USERS), 800))
            yield ("ZADD", board, *_flat(entries))

    def _visitors(self) -> Iterator[Command]:
        rng = self._rng("visitors")
        for day in self.days:
            yield ("PFADD", f"visitors:{day}", *(f"v{rng.getrandbits(32):x}" for _ in range(1500)))
            for _ in range(100):
                yield ("SETBIT", f"active:{day}", rng.randrange(USERS), 1)

    def _tags(self) -> Iterator[Command]:
        rng = self._rng("tags")
        for tag in _TAGS:
            yield ("SADD", f"tag:{tag}", *rng.sample(self.pages, 200))

    def _stores(self) -> Iterator[Command]:
        yield ("GEOADD", "stores:geo", *_flat((east, north, city) for city, east, north in _CITIES))

    def _catalog(self) -> Iterator[Command]:
        rng = self._rng("catalog")
        for start in range(0, 6000, 500):
            fields = (
                (f"sku-{sku:04}", f"{rng.choice(_WORDS)};{rng.randrange(9999)}") for sku in range(start, start + 500)
            )
            yield ("HSET", "catalog:all", *_flat(fields))

    def _events(self) -> Iterator[Command]:
        rng = self._rng("events")
        for start in range(0, 10_000, 500):
            lines = (f'{{"n":{start + n},"event":"{rng.choice(_WORDS)}"}}' for n in range(500))
            yield ("RPUSH", "big:events", *lines)

    def _followers(self) -> Iterator[Command]:
        for start in range(0, 8_000, 500):
            yield ("SADD", "big:followers", *(f"user:{number}" for number in range(start, start + 500)))

    def _scores(self) -> Iterator[Command]:
        rng = self._rng("scores")
        for _ in range(8):
            yield ("RPUSH", "big:scores", *(rng.randrange(10**6) for _ in range(500)))

    def _flags(self) -> Iterator[Command]:
        yield ("HSET", "config:flags", "new-checkout", "on", "dark-mode", "on", "beta-search", "off", "rollout", 25)
        yield ("SET", "config:version", "2026.11.3")
        yield ("SADD", "config:admins", 1, 2, 3, 5, 8)

    def _odd_names(self) -> Iterator[Command]:
        names: tuple[bytes | str, ...] = (
            "odd:name with spaces",
            "odd:город:Москва",
            "odd:日本語:キー",
            "odd:🧺:emoji",
            "odd:[red]not red[/red]",
            "odd:[/closed",
            b"odd:\x1b[31mescape\x1b[0m",
            "odd:right\u202etfel",
            "odd:two\nlines",
            b"odd:binary\xff\xfe\x00",
            "odd:very:" + "deep:" * 12 + "end",
        )
        for name in names:
            yield ("SET", name, "a name that a screen must show without obeying it")
        yield ("HSET", "odd:hash", b"\x1b]0;title\x07", b"\xff\xfe", "[b]field[/b]", "[/]")


def session_name(rng: random.Random) -> str:
    """Return a new session's name."""
    return f"{rng.getrandbits(64):016x}"


def _flat(rows: Iterable[tuple[Argument, ...]]) -> Iterator[Argument]:
    return (argument for row in rows for argument in row)


def _page_name(rng: random.Random, number: int) -> str:
    share = number % 10
    if share < 7:
        return f"product:{10_000 + number}"
    return f"article:{2020 + number % 7}:{number}" if share == 7 else f"category:{rng.choice(_TAGS)}:{number}"
