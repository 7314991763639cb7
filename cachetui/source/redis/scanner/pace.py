"""How much is asked at once: as fast as a server can, as long as its other clients do not notice."""

from __future__ import annotations

from collections import deque

COUNT_MOST = 1000
"""Keys of one step: more would hold up others for milliseconds."""
COUNT_LEAST = 10
FAR_COUNT = 100
FACTS_COUNT = 100
NEAR_KEYS_MOST = 2000
"""Keys of all steps in flight on a near server."""
NEAR_LANES, FAR_LANES_MOST = 4, 256
"""Steps in flight: four of 250 keys disturb others less than one of 1,000; a far server gets many."""
FAR_S = 0.002
"""From this round trip on a server is far."""
FAR_KEYS_PER_S = 600_000
"""What the steps in flight on a far server are chosen for."""
NEAR_BURST_S, FAR_BURST_S = 0.0005, 0.001
"""How long the server may be at work for us before somebody else has a turn."""
KEY_S = 0.5e-6
"""What a server needs for one key of a step, until it was measured."""
NEAR_PROBE_S, FAR_PROBE_S, SLOW_PROBE_S = 0.1, 3.0, 0.02
"""How often the server's latency is looked at while nothing of ours is under way: the last while it is slow."""
PATIENCE, NEAR_EXTRA_S, FAR_EXTRA_S = 3.0, 0.001, 0.01
"""A latency over so many times the best one, and so much longer, means that the server has enough to do."""
REST_MOST_S = 0.05


class Pace:
    """The pace for one server. All durations are seconds; what is public follows from what was learned."""

    def __init__(self, *, facts: bool = False) -> None:
        self._facts = facts
        """Each name is asked about as well."""
        self._whole = False
        self._count_most = COUNT_MOST
        self._best_s: float | None = None
        self._latest: deque[float] = deque(maxlen=3)
        self._steps: deque[float] = deque(maxlen=8)
        self.rest_s = 0.0
        """How long to rest after each look at the latency: more than 0 while the server is slow."""
        self._settle()

    @property
    def whole(self) -> bool:
        """There is only one cursor."""
        return self._whole

    def use_one_cursor(self) -> None:
        self._whole = True
        self._settle()

    def learn_latency(self, took_s: float) -> None:
        """Take in how long the server took for next to nothing."""
        self._best_s = took_s if self._best_s is None else min(took_s, self._best_s)
        self._latest.append(took_s)
        # One late answer may be our own fault.
        now_s = min(self._latest)
        limit_s = self._best_s + FAR_EXTRA_S if self.far else max(PATIENCE * self._best_s, self._best_s + NEAR_EXTRA_S)
        if len(self._latest) == self._latest.maxlen and now_s > limit_s:
            self.rest_s = min(REST_MOST_S, 2 * self.rest_s + 0.001)
        else:
            self.rest_s = self.rest_s / 2 if self.rest_s > 0.0005 else 0.0
        self._settle()

    def learn_step(self, took_s: float, count: int) -> None:
        """Take in how long one step for `count` keys took that was alone under way."""
        if count >= COUNT_LEAST and self._latest:
            self._steps.append(max(5e-8, (took_s - min(self._latest)) / count))
            self._settle()

    def take_less(self) -> bool:
        """Ask for fewer keys a step from now on: the replies are too long. False when it cannot be fewer."""
        if self.count <= 1:
            return False
        self._count_most = max(1, self.count // 8)
        self._settle()
        return True

    def _settle(self) -> None:
        """Draw the conclusions."""
        round_trip_s = self._best_s or 0.0
        # The best of the last steps: the others waited for somebody else.
        key_s = min(self._steps, default=KEY_S)
        self.far = round_trip_s > FAR_S
        burst_s = FAR_BURST_S if self.far else NEAR_BURST_S
        near_most = COUNT_MOST if self._whole else NEAR_KEYS_MOST
        burst_keys = max(100, min(COUNT_MOST if self.far else near_most, round(burst_s / key_s)))
        count = burst_keys if self._whole else FAR_COUNT if self.far else burst_keys // NEAR_LANES
        self.count = max(1, min(count, self._count_most, FACTS_COUNT if self._facts else COUNT_MOST))
        """How many keys one step asks for."""
        # With facts each step is followed by another round trip.
        wanted = round((2 if self._facts else 1) * FAR_KEYS_PER_S * round_trip_s / FAR_COUNT)
        # A power of two, as the parts are: all of them begin at once.
        lanes = min(FAR_LANES_MOST, 1 << max(NEAR_LANES, wanted - 1).bit_length())
        self.lanes = 1 if self._whole else lanes if self.far else NEAR_LANES
        """How many steps may be in flight."""
        spread = self.far and not self._whole
        self.gap_s = max(burst_keys / (1.3 * FAR_KEYS_PER_S), 2 * burst_keys * key_s) if spread else 0.0
        """How long to wait between two bursts: many steps that travel together must not arrive as one."""
        self.burst = max(1, burst_keys // self.count if spread else self.lanes // 2)
        """How many steps may be sent at once: never all, so that the server has work while we take in what came."""
        self.probe_s = SLOW_PROBE_S if self.rest_s else FAR_PROBE_S if self.far else NEAR_PROBE_S
        """How long to go on before the next look at the latency."""
