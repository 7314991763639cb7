"""Time series: samples newest first, and the whole as some points to draw."""

from __future__ import annotations

import math

from cachetui import text
from cachetui.errors import CacheError
from cachetui.model import KeyFacts, ValueSection
from cachetui.source.redis.replies import as_bytes, as_float, as_int, as_list, as_map
from cachetui.source.redis.values.window import Ask, Part, Window, failed, figure, no_such_window, one, section_of

POINTS = 200
SAMPLES_SHOWN = 20
SAMPLES_DRAWN = 500_000
"""Of a longer series the last part is drawn: the server reads every sample of it."""


async def read_series(ask: Ask, facts: KeyFacts, window: Window) -> Part:
    """Return samples by time, newest first; in the first window with the layout of the series and its points."""
    if window.start is not None and (not window.start.isdigit() or len(window.start) > 19):
        raise no_such_window()
    about = await one(ask, "TS.INFO", facts.key)
    fields = as_map(about)
    total = as_int(fields.get("totalSamples"))
    rows = min(window.rows, SAMPLES_SHOWN)
    reply = await one(ask, "TS.REVRANGE", facts.key, b"-", window.start or b"+", "COUNT", rows + 1)
    samples = [parts for sample in as_list(reply) if len(parts := as_list(sample)) == 2]
    items = tuple(window.item(as_bytes(at), as_bytes(figure(value))) for at, value in samples[:rows])
    next_ = as_bytes(samples[rows][0]) if len(samples) > rows else None
    if window.start is not None:
        return Part(items, next_, total)
    sections = [section_of("time series", about, without=("Chunks",))]
    points, drawn = await _points(ask, facts.key, fields, total)
    sections += drawn
    return Part(items, next_, total, sections=tuple(sections), points=points)


async def _points(
    ask: Ask, key: bytes, fields: dict[str, object], total: int | None
) -> tuple[tuple[tuple[float, float], ...], list[ValueSection]]:
    """Return means over equal spans of time, and what there is to say about them."""
    first, last = as_int(fields.get("firstTimestamp")), as_int(fields.get("lastTimestamp"))
    if not total or first is None or last is None or last < first:
        return (), []
    said = []
    if total > SAMPLES_DRAWN:
        span = (last - first) * SAMPLES_DRAWN // total
        first = last - span
        said = [ValueSection(f"drawn: the last {text.duration(span / 1000)} only", (), ())]
    # Spans begin at multiples of their length, so one more than fits may be touched.
    span_ms = max(1, math.ceil((last - first + 1) / (POINTS - 1)))
    (reply,) = await ask([("TS.RANGE", key, first, last, "AGGREGATION", "avg", span_ms)])
    if isinstance(reply, CacheError):
        return (), [failed("points", reply)]
    points = []
    for sample in as_list(reply)[:POINTS]:
        at, value = (as_float(part) for part in [*as_list(sample), None, None][:2])
        if at is not None and value is not None and math.isfinite(value):
            points.append((at / 1000, value))
    return tuple(points), said
