"""Made-up streams of accesses for the tests of the curve and the miniature caches."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

from cachetui.model.accesses import Accesses, Rules, Use, group_of, spatial_hash


def stream(
    keys: Sequence[int], sizes: Sequence[int], *, per_s: float = 1000.0, uses: Sequence[int] | None = None, **more: Any
) -> Accesses:
    """Return reads of `keys`, evenly spaced; every miss is followed by a write."""
    count = len(sizes)
    looks = array("q")
    for use in uses or [Use.READ] * len(keys):
        looks.append((looks[-1] if looks else 0) + (use <= Use.LOOK))
    fields: dict[str, Any] = {
        "rate": 1.0,
        "times_s": array("d", (1e9 + at / per_s for at in range(len(keys)))),
        "keys": array("q", keys),
        "uses": bytes(uses or [Use.READ] * len(keys)),
        "ttls_s": array("d", [math.nan]) * len(keys),
        "lookups": looks,
        "reads": looks[-1] if looks else 0,
        "sizes_bytes": array("q", sizes),
        "groups": bytes(group_of(spatial_hash(b"%d" % key)) for key in range(count)),
        "idle_s": array("d", [math.nan]) * count,
        "frequencies": array("q", [-1]) * count,
        "expires_s": array("d", [math.inf]) * count,
        "fillable": b"\x01" * count,
        "memory_bytes": sum(sizes) // 2,
        "rules": Rules(),
    }
    return Accesses(**(fields | more))


def sampled(accesses: Accesses, names: Sequence[bytes], rate: float) -> Accesses:
    """Return what a sample of the keys by hash would have seen of a stream."""
    limit = rate * (1 << 32)
    index: dict[int, int] = {}
    for key, name in enumerate(names):
        if spatial_hash(name) < limit:
            index[key] = len(index)
    chosen = [at for at, key in enumerate(accesses.keys) if key in index]
    return Accesses(
        rate,
        array("d", (accesses.times_s[at] for at in chosen)),
        array("q", (index[accesses.keys[at]] for at in chosen)),
        bytes(accesses.uses[at] for at in chosen),
        array("d", (accesses.ttls_s[at] for at in chosen)),
        array("q", (accesses.lookups[at] for at in chosen)),
        accesses.reads,
        array("q", (accesses.sizes_bytes[key] for key in index)),
        bytes(group_of(spatial_hash(names[key])) for key in index),
        array("d", [math.nan]) * len(index),
        array("q", [-1]) * len(index),
        array("d", [math.inf]) * len(index),
        b"\x01" * len(index),
        memory_bytes=accesses.memory_bytes,
        rules=accesses.rules,
    )
