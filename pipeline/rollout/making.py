"""Images of versions, which rollouts of one store make: one at a time, and none takes away another's."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipeline.cluster.drivers.nodes import NodeManager
from pipeline.errors import MachineError, PipelineError
from pipeline.rollout.desk import Desk
from pipeline.rollout.model import Order, Target


def make_images(desk: Desk, manager: NodeManager) -> None:
    """Have the images that nodes are to get, and wait while another rollout makes the same one."""
    for target in _made(desk.order):
        with _lock(desk.folder, target) as lock:
            if not _is_ours(lock):
                desk.say("note", f"the image {target.name} is being made by another rollout: waited for")
                desk.commit()
                fcntl.flock(lock, fcntl.LOCK_EX)
            words = (target.kernel_parameters, target.without)
            manager.make_image(target.name, target.source, target.path, *words)
            manager.update_provisioners(target.name)


def drop_images(desk: Desk, manager: NodeManager) -> None:
    """Undo what is only begun of images; what of them has to stay is told. What another rollout makes is not
    touched: that one comes to its end with it."""
    for target in _made(desk.order):
        with _lock(desk.folder, target) as lock:
            if _is_ours(lock):
                _drop(desk, manager, target)


def _drop(desk: Desk, manager: NodeManager, target: Target) -> None:
    try:
        manager.drop_begun(target.name, target.path)
    except MachineError:
        raise
    except PipelineError as error:
        what = f"the image {target.name} is only begun, and stays so until a rollout to {target} goes on"
        desk.say("note", f"{what}: {error.problems[0].message}")


def _made(order: Order) -> list[Target]:
    """The images that it makes: those of versions. What nodes go back to is there before the first goes."""
    back = {order.linked[node.image] for node in order.nodes if node.image in order.linked}
    wanted = (order.targets[name] for name in sorted(back.union(order.wanted.values())))
    return [target for target in wanted if target.version]


@contextmanager
def _lock(folder: Path, target: Target) -> Iterator[IO[str]]:
    """That of an image, beside the clusters: one image may be that of several of them."""
    with (folder.parents[2] / f".{target.name}.lock").open("a") as lock:
        yield lock


def _is_ours(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
