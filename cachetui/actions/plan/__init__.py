"""Plans: what a write will do, in words and in exact commands, before anything is sent. No I/O here.

A plan is made, shown, confirmed, and then run once by `cachetui.actions.apply`, the only writer.
"""

from cachetui.actions.plan.base import BATCH, VALID_S, Needs, Plan, refuse_replica
from cachetui.actions.plan.commands import Command, PerKey, render
from cachetui.actions.plan.effects import Risk
from cachetui.actions.plan.keys import plan_delete, plan_ttl, valid_memcached_key
from cachetui.actions.plan.settings import (
    plan_kill,
    plan_maxmemory,
    plan_policy,
    plan_rewrite,
    plan_slowlog_reset,
)

__all__ = [
    "BATCH",
    "VALID_S",
    "Command",
    "Needs",
    "PerKey",
    "Plan",
    "Risk",
    "plan_delete",
    "plan_kill",
    "plan_maxmemory",
    "plan_policy",
    "plan_rewrite",
    "plan_slowlog_reset",
    "plan_ttl",
    "refuse_replica",
    "render",
    "valid_memcached_key",
]
