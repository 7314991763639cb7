"""The Memcached driver."""

from cachetui.source.memcached.source import MemcachedSource

__all__ = ["MemcachedSource"]
