"""Enumerating millions of keys: threads of their own, plain sockets, many cursors in flight."""

from cachetui.source.redis.scanner.enumeration import Place, Places, RedisEnumeration, cluster_places, replica_places
from cachetui.source.redis.scanner.walk import Question

__all__ = ["Place", "Places", "Question", "RedisEnumeration", "cluster_places", "replica_places"]
