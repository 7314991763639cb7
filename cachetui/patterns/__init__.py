"""Caching patterns as a small library, usable without the rest of cachetui."""

from cachetui.patterns.breaker import CircuitBreaker
from cachetui.patterns.cache_aside import CacheAside, CacheUnavailable

__all__ = ["CacheAside", "CacheUnavailable", "CircuitBreaker"]
