"""Enumerating millions of keys: a thread of its own, a plain socket, many cursors in flight."""

from cachetui.source.redis.scanner.enumeration import Places, RedisEnumeration, cluster_places
from cachetui.source.redis.scanner.node import Question

__all__ = ["Places", "Question", "RedisEnumeration", "cluster_places"]
