"""Nodes whose turn had begun, and that go no further: they are as before it, and keep what they have."""

from __future__ import annotations

from pipeline.cluster.drivers.nodes import NodeManager
from pipeline.rollout.desk import Desk
from pipeline.rollout.others import rebooted_by_others
from pipeline.rollout.steps import Steps


def withdraw(desk: Desk, manager: NodeManager, steps: Steps) -> None:
    """Take from nodes that are to be rebooted next what was set for that; hooks have to undo theirs then.

    Those that others have rebooted have failed, and so have those with which it can't be done.
    """
    names = desk.named("prepared", "switched")
    others = rebooted_by_others(desk, manager, names)
    for name, why in others.items():
        desk.tell(name, "failed", why, rebooted=True)
    left = [name for name in names if name not in others]
    desk.commit()
    # Stopped here: it is taken from them once more.
    refused = steps.unset(left)
    for name in left:
        if name in refused:
            desk.tell(name, "failed", f"it could not be left as it was: {refused[name]}")
        else:
            desk.tell(name, "preparing", "it is not rebooted after all")
