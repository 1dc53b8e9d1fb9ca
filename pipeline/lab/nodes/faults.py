"""What is to go wrong with a lab's nodes, as a file that the next boot of each node looks at."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal, get_args

Fault = Literal["never-returns", "installs-half", "claims-success", "no-sriov", "none"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
"""========================== ===========================================================================
``never-returns``          after its next reboot it is DOWN, until it is told to boot again without the fault
``installs-half``          the copy stops midway, and the provisioning has failed
``claims-success``         the copy leaves files out, and the provisioning says that all is well
``no-sriov``               its adapter's firmware has SR-IOV switched off
``none``                   all is well again, from the next boot on
========================== ==========================================================================="""

FILE = "faults.json"


def put(place: Path, node: str, fault: Fault) -> None:
    """From the node's next boot on. ``place`` is the folder of all nodes."""
    found = read(place)
    found.pop(node, None)
    if fault != "none":
        found[node] = fault
    place.mkdir(parents=True, exist_ok=True)
    new = place / f"{FILE}.{os.getpid()}"
    new.write_text(json.dumps(found))
    new.rename(place / FILE)


def read(place: Path) -> dict[str, Fault]:
    """By node."""
    try:
        found: dict[str, Fault] = json.loads((place / FILE).read_text())
    except FileNotFoundError:
        return {}
    return found
