"""From names to hooks, or all that is wrong with the names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.cluster.drivers.base import Driver
from pipeline.cluster.drivers.nodes import NodeManager
from pipeline.cluster.head import Head
from pipeline.cluster.rollout_written import HookTables
from pipeline.errors import Problem, UsageError
from pipeline.nearest import nearest
from pipeline.recipe.kinds import there_are
from pipeline.rollout.hooks.ceph import Ceph
from pipeline.rollout.hooks.command import Command
from pipeline.rollout.hooks.nova import Nova
from pipeline.rollout.hooks.only import Only, only
from pipeline.rollout.hooks.reason import reason
from pipeline.rollout.hooks.slurm import Slurm
from pipeline.rollout.hooks.virtual import Virtual
from pipeline.rollout.parts import Hook

OURS = ("ceph", "nova", "slurm", "virtual")
"""The hooks that there are without a site's own."""


def open_hooks(
    names: Sequence[str],
    tables: HookTables,
    head: Head,
    manager: NodeManager,
    *,
    folder: Path,
    number: int = 0,
    driver: Driver | None = None,
    is_begun: bool = False,
) -> tuple[Hook, ...]:
    """The hooks of these names, in this order but for ceph; nothing is asked yet.

    What Ceph says holds for the moment, and what comes behind it may take hours (jobs, guests): it is last.
    ``folder`` is where they note what they have begun, the same for all rollouts of the cluster; ``number``
    is the rollout's; ``driver`` is the cluster manager's, for interfaces of virtual nodes. ``is_begun``: the
    names are those that a rollout was begun with, and the tables may have changed since. Raises
    ``UsageError`` with every name that is none, or is there twice, and every node set that is none.
    """
    problems = [*_problems(names, tables, is_begun)]
    found: list[Hook] = []
    commands = {table.name: table for table in tables.command}
    text = reason(number)

    def nodes(table: str, of: str, categories: tuple[str, ...]) -> Only:
        chosen, problem = only(of, categories, tables.groups, table)
        problems.extend([problem] if problem else [])
        return chosen

    for name in sorted(names, key="ceph".__eq__):
        if name == "ceph":
            found.append(Ceph(tables.ceph, head, folder, text))
        elif name == "nova":
            which = nodes("[rollout.nova]", tables.nova.nodes, tables.nova.categories)
            found.append(Nova(tables.nova, head, which, text, folder))
        elif name == "slurm":
            which = nodes("[rollout.slurm]", tables.slurm.nodes, tables.slurm.categories)
            found.append(Slurm(head, which, text, folder))
        elif name == "virtual":
            found.append(Virtual(tables.virtual, manager, driver))
        elif name in commands:
            table = commands[name]
            which = nodes(f'[[rollout.command]] "{name}"', table.nodes, table.categories)
            found.append(Command(table, head, which, text, folder))
    if problems:
        raise UsageError(problems)
    return tuple(found)


def _problems(names: Sequence[str], tables: HookTables, is_begun: bool) -> list[Problem]:
    """What is wrong with names of hooks and of commands."""
    own = [table.name for table in tables.command]
    known = (*OURS, *own)
    told = []
    for name in dict.fromkeys(names):
        if name not in known and is_begun:
            told.append(_gone(name))
        elif name not in known:
            told.append(Problem(f'unknown hook "{name}"{nearest(name, known) or there_are(known)}', "hooks"))
        if names.count(name) > 1:
            told.append(Problem(f'the hook "{name}" is named twice', "hooks"))
    taken = [name for name in dict.fromkeys(own) if name in OURS or own.count(name) > 1]
    return [*told, *(Problem(f'the name "{name}" is taken', "[[rollout.command]]") for name in taken)]


def _gone(name: str) -> Problem:
    return Problem(
        f'the rollout was begun with the hook "{name}", and the cluster file has no [[rollout.command]] of '
        "that name any more",
        "hooks",
        "write it there again: what it has begun with nodes is undone by it",
    )
