"""What lies between the head node and whoever runs its nodes: requests to boot, statuses, installs.

``cmsh`` counts requests; who runs the nodes (``nodes_run``) sees the counts rise, boots what ``next_install``
says, and tells how it goes by ``put_status`` and ``installed``. Nodes that nobody runs are simulated:
``simulation.py``. All of it is in the head node's state, so it stays when either side ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from pipeline.lab.head.instances import new_instance
from pipeline.lab.head.kinds import KINDS
from pipeline.lab.head.objects import Object, Value
from pipeline.lab.head.state import SYNC_LOGS, State, Store

if TYPE_CHECKING:
    from pathlib import Path

StateWord = Literal[
    "UP",
    "DOWN",
    "BOOTING",
    "INSTALLING",
    "INSTALLER_CALLINGINIT",
    "INSTALLER_FAILED",
    "INSTALLER_UNREACHABLE",
    "INSTALLER_REBOOTING",
    "CLOSED",
    "OPENING",
]

RESTART = "restart-required"
"""The remark on a node whose image or category was changed; an install takes it away."""

NO_MAC = "00:00:00:00:00:00"
"""What a node has that was never seen: it is installed by its category's mode for new nodes."""

SYNCS = ("FULL", "AUTO")
"""Install modes that copy the image."""


class Install(NamedTuple):
    """What a node's next boot does. ``path`` is the image's directory as the head node calls it, and
    ``directory`` where that lies on this machine.

    ``is_data_node``: FULL waits until somebody confirms it. ``is_locked``: the image is locked, so a copy
    waits. ``exclude`` are the patterns for this mode, one a line, as rsync takes them; the scripts are texts.
    """

    mode: str
    image: str
    path: str
    directory: Path
    kernel_parameters: str
    category: str
    is_data_node: bool
    is_confirmed: bool
    is_locked: bool
    disk_setup: str
    exclude: str
    initialize_script: str
    finalize_script: str

    @property
    def waits(self) -> bool:
        """Whether it waits for somebody at the console."""
        return self.mode == "FULL" and self.is_data_node and not self.is_confirmed


def requests(directory: Path) -> dict[str, int]:
    """How often each node was told to boot: ``reboot``, ``power on``, ``power reset``."""
    return dict(Store(str(directory)).state["requests"])


def powered_off(directory: Path) -> frozenset[str]:
    """The nodes that have no power."""
    return frozenset(Store(str(directory)).state["off"])


def put_status(
    directory: Path, node: str, state: StateWord, message: str = "", remarks: Sequence[str] | None = None
) -> None:
    """Have ``node`` shown as ``[     INSTALLING      ] (message)``; ``remarks`` None: those that it has."""
    store = Store(str(directory))
    with store.changing() as now:
        set_status(now, node, state, message, remarks)
        store.touch()


def set_status(
    now: State, node: str, state: StateWord, message: str = "", remarks: Sequence[str] | None = None
) -> None:
    """The same in a state that is being changed."""
    there = now["status"].get(node, {})
    kept = there.get("remarks", []) if remarks is None else list(remarks)
    now["status"][node] = {**there, "state": state, "message": message, "remarks": kept}


def next_install(directory: Path, node: str) -> Install:
    """What happens at the next boot of ``node``, as it is set now. Raises ``KeyError`` for an unknown one."""
    store = Store(str(directory))
    return install_of(store.state, node, store.root)


def install_of(now: State, node: str, root: str) -> Install:
    """The same from a state; ``root`` is where the head node's files are."""
    from pathlib import Path  # slow

    objects = now["objects"]
    own = objects["device"][node]
    category = str(own["values"].get("category", ""))
    above = objects["category"].get(category)
    image = str(own["values"].get("softwareimage") or _value(above, "category", "softwareimage"))
    there = objects["softwareimage"].get(image)
    mode = _mode(own, above)
    path = str(_value(there, "softwareimage", "path"))
    exclude = "excludelistfullinstall" if mode == "FULL" else "excludelistsyncinstall"
    return Install(
        mode=mode,
        image=image,
        path=path,
        directory=Path(f"{root}{path}"),
        kernel_parameters=str(_value(there, "softwareimage", "kernelparameters")),
        category=category,
        is_data_node=bool(own["values"].get("datanode") or _value(above, "category", "datanode")),
        is_confirmed=bool(now["status"].get(node, {}).get("confirmed")),
        is_locked=bool(_value(there, "softwareimage", "locked")),
        disk_setup=_text(own, above, "disksetup"),
        exclude=_text(own, above, exclude),
        initialize_script=_text(own, above, "initializescript"),
        finalize_script=_text(own, above, "finalizescript"),
    )


def _mode(own: Object, above: Object | None) -> str:
    """In the manual's order: a new node's, the next one, the node's own, the category's."""
    values = own["values"]
    if values.get("mac", NO_MAC) == NO_MAC and own["type"] == "PhysicalNode":
        return str(_value(above, "category", "newnodeinstallmode"))
    mode = values.get("nextinstallmode") or values.get("installmode")
    return str(mode or _value(above, "category", "installmode"))


def _value(one: Object | None, kind: str, name: str) -> Value:
    default = KINDS[kind].properties[name].default
    return one["values"].get(name, default) if one else default


def _text(own: Object, above: Object | None, name: str) -> str:
    return str(own["values"].get(name) or _value(above, "category", name))


def confirm(directory: Path, node: str) -> None:
    """Be somebody at the console who lets a data node's FULL install begin."""
    store = Store(str(directory))
    with store.changing() as now:
        now["status"].setdefault(node, {"state": "UP"})["confirmed"] = True
        store.touch()


def installed(directory: Path, node: str, ok: bool, mode: str, image: str, log: str = "") -> None:
    """Note that a provisioning of ``node`` has ended: ``syncinfo`` and ``synclog`` tell it from now on.

    If it went well, the next install mode is used up.
    """
    store = Store(str(directory))
    with store.changing() as now:
        note_install(now, node, ok, mode, image, time.time())
        store.touch()
    write_log(str(directory), node, log)


def note_install(now: State, node: str, ok: bool, mode: str, image: str, ended: float) -> None:
    """The same in a state that is being changed, without the log."""
    now["syncs"][node] = {"image": image, "mode": mode, "ended": round(ended, 6), "ok": ok}
    status = now["status"].get(node, {})
    status.pop("confirmed", None)
    if ok:
        now["objects"]["device"][node]["values"].pop("nextinstallmode", None)
        status["remarks"] = [remark for remark in status.get("remarks", ()) if remark != RESTART]


def write_log(directory: str, node: str, log: str) -> None:
    """Keep what the provisioning printed."""
    os.makedirs(f"{directory}/{SYNC_LOGS}", exist_ok=True)
    with open(f"{directory}/{SYNC_LOGS}/{node}", "w") as file:
        file.write(log)


def nodes_run(directory: Path, pid: int | None, names: Sequence[str] | None = None) -> None:
    """As long as process ``pid`` is there, statuses of ``names`` (None: of all nodes) are told by it, and not
    simulated; None: nobody runs nodes any more."""
    store = Store(str(directory))
    with store.changing() as now:
        now["runner"] = {}
        if pid is not None:
            kept = None if names is None else list(names)
            now["runner"] = {"pid": pid, "began": _began(pid), "nodes": kept}
        for node in [name for name in now["motion"] if is_run(now, name)]:
            del now["motion"][node]
        devices = now["objects"]["device"]
        for node in names or () if pid is not None else ():
            if devices[node]["type"] == "VirtualNode":
                new_instance(now, node)
        store.touch()


def is_run(now: State, node: str) -> bool:
    """Whether somebody runs ``node``."""
    runner: Mapping[str, object] = now["runner"]
    if not runner:
        return False
    nodes = runner["nodes"]
    mine = not isinstance(nodes, list) or node in nodes
    return mine and bool(runner["began"]) and _began(runner["pid"]) == runner["began"]


def _began(pid: object) -> str:
    """When a process began, in the kernel's ticks: another one of the same number began later."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
