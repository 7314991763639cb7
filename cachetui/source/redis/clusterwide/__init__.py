"""A cluster asked as a whole: all nodes side by side, their figures summed, their lists merged."""

from cachetui.source.redis.clusterwide.asking import DOOR, Clusterwide
from cachetui.source.redis.clusterwide.elsewhere import candidates, found_at

__all__ = ["DOOR", "Clusterwide", "candidates", "found_at"]
