"""The Redis and Valkey driver."""

from cachetui.source.redis.source import RedisSource

__all__ = ["RedisSource"]
