"""Running a rollout: from a new order, or from where a process ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.cluster.drivers.nodes import NodeManager
from pipeline.cluster.nodesets import folded
from pipeline.errors import UsageError
from pipeline.rollout import folder as folders
from pipeline.rollout.commands import command_of
from pipeline.rollout.desk import Clock, Desk, wall_clock
from pipeline.rollout.engine import NOT_REBOOTED, Engine, Watch
from pipeline.rollout.hooking import NOT_UNDONE, Hooking
from pipeline.rollout.journal import events
from pipeline.rollout.making import drop_images, make_images
from pipeline.rollout.model import Order
from pipeline.rollout.others import rebooted_by_others
from pipeline.rollout.parts import Hook, Verifier
from pipeline.rollout.states import Progress, State
from pipeline.rollout.steps import Steps
from pipeline.rollout.switching import Switched, Switching

ON_THEIR_WAY: tuple[State, ...] = ("rebooting", "installing", "up", "provisioned", "verified")

UNDO_TIMES = 3
"""So often hooks of a rollout that is given up are asked to undo what they did."""


def run(
    folder: Path,
    order: Order,
    manager: NodeManager,
    hooks: Sequence[Hook],
    verifier: Verifier,
    *,
    watch: Watch,
    switched: Switched,
    retry: bool = False,
    withheld: str = "",
    clock: Clock = wall_clock,
    ticks: Clock = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Progress:
    """Take the rollout in ``folder`` to its end; returns how all is then.

    ``retry``: nodes that failed on their way out have their turn once more. ``withheld``: why nobody else may
    go out ("": they may); nodes on their way come to their end, and failed ones are taken back.

    Raises ``MachineError`` when the cluster manager stays away, ``KeyboardInterrupt`` when somebody
    interrupts it: it can be resumed then.
    """
    with folders.held(folder) as journal:
        desk = Desk(order, events(folder / folders.JOURNAL), journal, folder, clock, ticks)
        if desk.fold.whole.outcome == "ended":
            return desk.fold.progress()
        desk.say("resumed" if desk.fold.whole.began else "begun")
        if retry:
            _retry(desk)
        desk.commit()
        make_images(desk, manager)
        engine = Engine(
            desk,
            manager,
            hooks,
            verifier,
            aborted=lambda: folders.asked_to_abort(folder),
            switched=switched,
            pause=pause,
            withheld=withheld,
        )
        try:
            engine.run(watch)
        except KeyboardInterrupt:
            desk.commit()
            desk.say("stopped", "interrupted")
            desk.commit()
            raise
        return desk.fold.progress()


def _retry(desk: Desk) -> None:
    """Failed nodes have their turn once more; not when others are being taken back from the same version."""
    if desk.fold.progress().has_turned:
        desk.say("note", "nodes are being taken back: those that failed go back as well")
        return
    desk.say("once more")
    for name in desk.named("failed"):
        if desk.of[name].way == "out":
            desk.tell(name, "waiting", "its turn comes once more")


def give_up(
    folder: Path,
    order: Order,
    manager: NodeManager,
    hooks: Sequence[Hook],
    who: str,
    switched: Switched,
    clock: Clock = wall_clock,
    pause: Callable[[float], None] = time.sleep,
) -> Progress:
    """End a rollout that nobody runs: what was only begun is undone, what is on its way is named.

    A category that was being switched is as the manager has it; ``switched`` is told when it has its image.
    Nodes on their way back stay failed, and so do those that others have rebooted, and those with which not
    everything can be undone.

    Raises ``MachineError`` when the cluster manager can't be asked; nothing is given up then. Raises
    ``UsageError`` when it has come to its end.
    """
    with folders.held(folder) as journal:
        desk = Desk(order, events(folder / folders.JOURNAL), journal, folder, clock, time.monotonic)
        if desk.fold.whole.outcome == "ended":
            raise UsageError(
                f"rollout {folders.number_of(folder)} of {order.cluster} came to its end meanwhile",
                command=command_of("status", order),
            )
        hooking = Hooking(hooks, desk)
        for name in [name for name, node in desk.of.items() if node.way == "back" and node.is_moving]:
            # Nobody knows that it is well: it was sent back for what is wrong with it.
            desk.tell(name, "failed", f"the rollout was given up by {who}")
        steps = Steps(desk, manager, hooking, None)
        lost = [name for name in desk.named("failed") if desk.of[name].failed_in in NOT_REBOOTED]
        others = rebooted_by_others(desk, manager, [*desk.named(*NOT_REBOOTED), *lost])
        for name, why in others.items():
            desk.tell(name, "failed", why, rebooted=True)
        armed = desk.named("prepared", "switched")
        steps.disarm([*armed, *(name for name in lost if name not in others)])
        refused = _undo(desk, hooking, pause)
        stuck = {name: refused.get(name) or desk.of[name].why for name in desk.named(*NOT_REBOOTED)}
        for name, why in stuck.items():
            desk.tell(name, "failed", f"it could not be left as it was: {why}")
        _, unwilling = hooking.leave(desk.named("failed"))
        _say_not_undone(desk, {**stuck, **hooking.not_left, **unwilling})
        for name in set(order.held).intersection(desk.named("waiting")):
            desk.note(name, "it is as it was: users don't have it")
        for name in desk.named(*ON_THEIR_WAY):
            desk.note(name, "was on its way when this was given up: what hooks did may not be undone")
        Switching(desk, manager, steps, switched).settle()
        drop_images(desk, manager)
        desk.say("ended", f"given up by {who}")
        desk.commit()
        return desk.fold.progress()


def _say_not_undone(desk: Desk, reasons: Mapping[str, str]) -> None:
    """Who gives it up, and whoever looks at it later, is told what hooks have left."""
    for why in dict.fromkeys(reasons.values()):
        names = folded(name for name, its in reasons.items() if its == why)
        desk.say("note", f"{names}: {NOT_UNDONE}: {why}")


def _undo(desk: Desk, hooking: Hooking, pause: Callable[[float], None]) -> dict[str, str]:
    """Have hooks undo what was only begun; nodes with which that can't be had, and why.

    Services need a moment until they tell what was done to them.
    """
    refused: dict[str, str] = {}
    for more in range(UNDO_TIMES, 0, -1):
        left = [name for name in desk.named(*NOT_REBOOTED) if name not in refused]
        done, no = hooking.undo(left)
        refused.update(no)
        for name in done:
            desk.tell(name, "waiting")
        if more > 1 and len(done) + len(no) < len(left):
            pause(desk.order.policy.waits.poll)
    return refused
