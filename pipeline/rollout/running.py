"""Running a rollout: from a new order, or from where a process ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.cluster.drivers.nodes import NodeManager
from pipeline.rollout import folder as folders
from pipeline.rollout.desk import Clock, Desk, wall_clock
from pipeline.rollout.engine import Engine, Watch
from pipeline.rollout.hooking import Hooking
from pipeline.rollout.journal import events
from pipeline.rollout.model import Order
from pipeline.rollout.parts import Hook, Verifier
from pipeline.rollout.states import Progress, State
from pipeline.rollout.steps import Steps

Switched = Callable[[str, str], None]

ON_THEIR_WAY: tuple[State, ...] = ("rebooting", "installing", "up", "provisioned", "verified")


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
    clock: Clock = wall_clock,
    ticks: Clock = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Progress:
    """Take the rollout in ``folder`` to its end; returns how all is then.

    ``retry``: nodes that failed on their way out have their turn once more. Raises ``MachineError`` when the
    cluster manager stays away, ``KeyboardInterrupt`` when somebody interrupts it: it can be resumed then.
    """
    with folders.held(folder) as journal:
        folders.forget_abort(folder)
        desk = Desk(order, events(folder / folders.JOURNAL), journal, folder, clock, ticks)
        if desk.fold.whole.outcome == "ended":
            return desk.fold.progress()
        desk.say("resumed" if desk.fold.whole.began else "begun")
        for name in desk.named("failed") if retry else ():
            if desk.of[name].way == "out":
                desk.tell(name, "waiting", "its turn comes once more")
        desk.commit()
        for name in sorted(set(order.wanted.values())):
            target = order.targets[name]
            if target.version:
                manager.make_image(name, target.source, target.path, target.kernel_parameters)
                manager.update_provisioners(name)
        engine = Engine(
            desk,
            manager,
            hooks,
            verifier,
            aborted=lambda: folders.asked_to_abort(folder),
            switched=switched,
            pause=pause,
        )
        try:
            engine.run(watch)
        except KeyboardInterrupt:
            desk.commit()
            desk.say("stopped", "interrupted")
            desk.commit()
            raise
        return desk.fold.progress()


def give_up(
    folder: Path,
    order: Order,
    manager: NodeManager,
    hooks: Sequence[Hook],
    who: str,
    clock: Clock = wall_clock,
) -> Progress:
    """End a rollout that nobody runs: what was only begun is undone, what is on its way is named.

    Raises ``MachineError`` when the cluster manager can't be asked; nothing is given up then.
    """
    with folders.held(folder) as journal:
        desk = Desk(order, events(folder / folders.JOURNAL), journal, folder, clock, time.monotonic)
        hooking = Hooking(hooks, desk)
        armed = desk.named("prepared", "switched")
        Steps(desk, manager, hooking, None).disarm(armed)
        undone, _ = hooking.after([*desk.named("preparing"), *armed])
        for name in undone:
            desk.tell(name, "waiting")
        for name in desk.named("preparing", "prepared", "switched"):
            desk.note(name, f"not everything could be undone: {desk.of[name].why}")
        hooking.leave(desk.named("failed"))
        for name in desk.named(*ON_THEIR_WAY):
            desk.note(name, "was on its way when this was given up: what hooks did is not undone")
        desk.say("ended", f"given up by {who}")
        desk.commit()
        return desk.fold.progress()
