"""Plans: what a write will do, in words and in exact commands, before anything is sent. No I/O here.

A plan is made, shown, confirmed, and then run once by `cachetui.actions.apply`, the only writer.
"""

from cachetui.actions.plan.base import BATCH, VALID_S, Needs, Plan, Sweep, refuse_replica
from cachetui.actions.plan.commands import Command, PerKey, render
from cachetui.actions.plan.config import plan_setting
from cachetui.actions.plan.edit import plan_copy, plan_rename, plan_set_string
from cachetui.actions.plan.effects import Risk
from cachetui.actions.plan.fields import (
    plan_hash_field,
    plan_list_element,
    plan_list_push,
    plan_set_member,
    plan_stream_entry,
    plan_zset_member,
)
from cachetui.actions.plan.invalidate import is_whole, plan_sweep
from cachetui.actions.plan.keys import plan_delete, plan_ttl, valid_memcached_key
from cachetui.actions.plan.new import KINDS, NewKind, plan_import, plan_new
from cachetui.actions.plan.settings import (
    plan_kill,
    plan_maxmemory,
    plan_policy,
    plan_rewrite,
    plan_slowlog_reset,
)
from cachetui.actions.plan.version import plan_flush, plan_version

__all__ = [
    "BATCH",
    "KINDS",
    "VALID_S",
    "Command",
    "Needs",
    "NewKind",
    "PerKey",
    "Plan",
    "Risk",
    "Sweep",
    "is_whole",
    "plan_copy",
    "plan_delete",
    "plan_flush",
    "plan_hash_field",
    "plan_import",
    "plan_kill",
    "plan_list_element",
    "plan_list_push",
    "plan_maxmemory",
    "plan_new",
    "plan_policy",
    "plan_rename",
    "plan_rewrite",
    "plan_set_member",
    "plan_set_string",
    "plan_setting",
    "plan_slowlog_reset",
    "plan_stream_entry",
    "plan_sweep",
    "plan_ttl",
    "plan_version",
    "plan_zset_member",
    "refuse_replica",
    "render",
    "valid_memcached_key",
]
