"""Replication, Cluster and Sentinel as seen from one server, to `Topology`."""

from cachetui.model.slots import SLOTS
from cachetui.source.redis.topology.cluster import cluster
from cachetui.source.redis.topology.replication import replication
from cachetui.source.redis.topology.role import from_role
from cachetui.source.redis.topology.sentinel import of_groups, sentinel, with_sentinels
from cachetui.source.redis.topology.words import address_of, as_text_lines

__all__ = [
    "SLOTS",
    "address_of",
    "as_text_lines",
    "cluster",
    "from_role",
    "of_groups",
    "replication",
    "sentinel",
    "with_sentinels",
]
