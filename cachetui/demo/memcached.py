"""Two memcached servers as one fleet, and the shop's live load on them: cache-aside by threads, at a bounded rate."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from pymemcache.client.base import Client
from pymemcache.client.hash import HashClient
from pymemcache.exceptions import MemcacheError

from cachetui.demo.actors import FIRST_PAUSE_S, LONGEST_PAUSE_S, Ledger
from cachetui.demo.group import Group, started
from cachetui.demo.servers import Engine, start
from cachetui.demo.shop import PAGE_PREFIX, PAGES, Shop, session_name

STEP_S = 0.1
TTL_S = 120
FILL_FRAGMENTS = 9000
TROUBLES = (MemcacheError, OSError)
SERVERS = 2
DEAD_S = 2.0
"""Before a server that did not answer is tried again; meanwhile its keys go to the other one."""
STRAYS = 150
"""Names that an old job writes to the first server, wherever they belong."""


async def start_fleet(engine: Engine) -> Group:
    """Start two servers that share the keys. Raises DemoFailed."""
    servers = await started(*(start(engine) for _ in range(SERVERS)))
    where = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    words = f"{SERVERS} servers of {engine.title} {servers[0].version} on {where} with a live workload"
    return Group(f"memcached://{where}", words, servers, holders=SERVERS)


class MemcachedWorkload:
    """Two web servers and an old job against memcached on loopback ports, about `rate` commands a second."""

    def __init__(self, ports: Sequence[int], *, rate: int, seed: int, ledger: Ledger) -> None:
        self.ports = ports
        self.rate = rate
        self.seed = seed
        self.shop = Shop(seed, datetime.now(UTC))
        self.ledger = ledger
        self._stop = threading.Event()

    def run(self) -> None:
        """Fill the server, then load it until `stop` is called from another thread."""
        self._fill()
        with ThreadPoolExecutor(2) as threads:
            for work in [threads.submit(self._web, name) for name in ("web-1", "web-2")]:
                work.result()

    def stop(self) -> None:
        """End `run` within a step."""
        self._stop.set()

    def _connect(self) -> HashClient:
        return HashClient(
            [("127.0.0.1", port) for port in self.ports],
            retry_attempts=0,
            dead_timeout=DEAD_S,
            connect_timeout=1,
            timeout=1,
            default_noreply=False,
            no_delay=True,
        )

    def _stray(self, rng: random.Random) -> None:
        """Write as a job does that knows one server only."""
        job = Client(("127.0.0.1", self.ports[0]), connect_timeout=1, timeout=1, default_noreply=False)
        try:
            for number in range(STRAYS):
                job.set(f"report:nightly:{number}", "x" * rng.randrange(50, 400), noreply=True)
        finally:
            job.close()

    def _fill(self) -> None:
        rng = random.Random(f"{self.seed}:bulk")
        client = self._connect()
        try:
            self._stray(rng)
        except TROUBLES as error:
            self.ledger.note(error)
        work = [*(("page", name) for name in rng.sample(self.shop.pages, PAGES // 2))]
        work += [("fragment", "")] * FILL_FRAGMENTS + [("session", "")] * 3000
        for at in range(0, len(work), 200):
            if self._stop.is_set():
                break
            try:
                for kind, name in work[at : at + 200]:
                    self._write(client, rng, kind, name)
            except TROUBLES as error:
                self.ledger.note(error)
                client.close()
                self._stop.wait(FIRST_PAUSE_S)
        client.close()

    def _write(self, client: HashClient, rng: random.Random, kind: str, name: str) -> None:
        """Store one thing without waiting for the answer."""
        if kind == "page":
            page = self.shop.page(name)
            client.set(PAGE_PREFIX + name, page or b"", expire=rng.randrange(TTL_S // 2, TTL_S), noreply=True)
        elif kind == "session":
            value = f'{{"user":{rng.randrange(8000)},"csrf":"{rng.getrandbits(96):024x}"}}'
            client.set(f"session:{session_name(rng)}", value, expire=rng.randrange(10, 600), noreply=True)
        else:
            _, key, html, *_ = self.shop.fragment(rng)
            client.set(key, html, expire=rng.choice((0, 600, 3600)), noreply=True)

    def _web(self, name: str) -> None:
        rng = random.Random(f"{self.seed}:{name}")
        client = self._connect()
        client_rate, rest, pause_s = self.rate * STEP_S / 2, 0.0, FIRST_PAUSE_S
        while not self._stop.wait(STEP_S):
            rest += client_rate
            due, rest = int(rest), rest % 1
            try:
                self._visit(client, rng, due)
                pause_s = FIRST_PAUSE_S
            except TROUBLES as error:
                self.ledger.note(error)
                client.close()
                self._stop.wait(pause_s * rng.uniform(0.7, 1.3))
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
        client.close()

    def _visit(self, client: HashClient, rng: random.Random, due: int) -> None:
        """Spend about `due` commands: most look pages up, the rest count, log in and log out."""
        lookups = max(1, int(due * 0.8))
        names = self.shop.popular_pages(rng, lookups)
        for at in range(0, lookups, 10):
            asked = {PAGE_PREFIX + name: name for name in names[at : at + 10]}
            found = client.get_many(list(asked))
            for key, name in asked.items():
                # Memcached keys take no odd bytes, and the shop's page names have none.
                if key not in found and (page := self.shop.page(name)) is not None:
                    client.set(key, page, expire=rng.randrange(TTL_S // 2, TTL_S), noreply=True)
        for _ in range(max(1, due // 20)):
            self._write(client, rng, "session", "")
            self._write(client, rng, "fragment", "")
            counter = f"counter:views:{rng.randrange(200)}"
            if client.incr(counter, 1) is None:
                client.add(counter, b"1", noreply=True)
            client.delete(f"cart:{rng.randrange(500)}", noreply=True)
