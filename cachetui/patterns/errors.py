"""What the patterns raise of their own. Errors of the cache's client come through as they are."""


class CacheUnavailable(ConnectionError):
    """The cache was not asked: the circuit is open or the bulkhead is full, and `on_error` is `raise`."""


class Backlogged(Exception):
    """A write-behind queue is full: nothing was queued. Slow down, or write to the database yourself."""


class Rejected(Exception):
    """Raise it in a write-behind `write` for an update that no retry can save: it becomes a dead letter at once."""


class Unreadable(ValueError):
    """A cached value cannot be read: cut off, of another format, or larger than allowed once decompressed."""


class Unsupported(TypeError):
    """The client, or the server behind it, cannot do this."""


class LargeValue(UserWarning):
    """A value is larger than caches like: it blocks others while it travels."""
