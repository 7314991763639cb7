"""cachetui: the terminal dashboard for Redis, Valkey and Memcached in an incident."""

__version__ = "0.1.0"
