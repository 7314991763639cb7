"""Caching patterns as a small library, usable without the rest of cachetui.

Here are the classes for threads; `cachetui.patterns.aio` has the same names for asyncio. They take redis-py clients
(`Redis`, Sentinel's, `RedisCluster`) and pymemcache clients, and load only the library of the client they are given.
"""

import logging

from cachetui.patterns.breaker import CircuitBreaker
from cachetui.patterns.codec import Codec, Json, MessagePack, Raw
from cachetui.patterns.counts import Counts
from cachetui.patterns.errors import Backlogged, CacheUnavailable, LargeValue, Rejected, Unsupported
from cachetui.patterns.guard import Bulkhead
from cachetui.patterns.local import Local
from cachetui.patterns.threads import CacheAside, Flusher, Tags, Versioned, WriteBehind, WriteThrough, cached
from cachetui.patterns.write_behind import Backlog, Update

__all__ = [
    "Backlog",
    "Backlogged",
    "Bulkhead",
    "CacheAside",
    "CacheUnavailable",
    "CircuitBreaker",
    "Codec",
    "Counts",
    "Flusher",
    "Json",
    "LargeValue",
    "Local",
    "MessagePack",
    "Raw",
    "Rejected",
    "Tags",
    "Unsupported",
    "Update",
    "Versioned",
    "WriteBehind",
    "WriteThrough",
    "cached",
]

# Without a program's own logging nothing is written anywhere: stderr belongs to the program.
logging.getLogger(__name__).addHandler(logging.NullHandler())
