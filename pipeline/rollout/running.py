"""Running a rollout: from a new order, or from where a process ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.cluster.drivers.nodes import NodeManager
from pipeline.rollout import folder as folders
from pipeline.rollout.desk import Clock, Desk, wall_clock
from pipeline.rollout.engine import Engine, Watch
from pipeline.rollout.journal import events
from pipeline.rollout.model import Order
from pipeline.rollout.parts import Hook, Verifier
from pipeline.rollout.states import Progress

Switched = Callable[[str, str], None]


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
    pause: Callable[[float], None] = time.sleep,
) -> Progress:
    """Take the rollout in ``folder`` to its end; returns how all is then.

    ``retry``: nodes that failed on their way out have their turn once more. Raises ``MachineError`` when the
    cluster manager stays away, ``KeyboardInterrupt`` when somebody interrupts it: it can be resumed then.
    """
    with folders.held(folder) as journal:
        desk = Desk(order, events(folder / folders.JOURNAL), journal, folder, clock)
        if desk.fold.whole.outcome == "ended":
            return desk.fold.progress()
        folders.forget_abort(folder)
        desk.say("resumed" if desk.fold.whole.began else "begun")
        for name in desk.named("failed") if retry else ():
            if desk.of[name].way == "out":
                desk.tell(name, "waiting", "its turn comes once more")
        desk.commit()
        for target in order.targets.values():
            if target.version:
                manager.make_image(target.name, target.source, target.path, target.kernel_parameters)
                manager.update_provisioners(target.name)
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
