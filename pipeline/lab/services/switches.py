"""Releases of the services, and what goes wrong with them: a JSON file that people and tests write."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

CEPHS = ("icehouse", "luminous", "nautilus", "quincy")
"""Releases. ok-to-stop: none, in plain words, then JSON. noout: for all OSDs, for each (``add-noout``), then
for groups. Health: the old word, both, then the new one. ``quincy`` has a flat osdmap in its status."""


class Services(NamedTuple):
    """How the services are.

    ``ceph`` is one of ``CEPHS``. ``clean_seconds`` is how long placement groups take to become clean once an
    OSD is back, ``out_seconds`` how long one may be down before it is taken out. ``credentials`` is whether
    the cloud asks who somebody is: then OS_AUTH_URL and OS_PASSWORD have to be set, or a cloud be named.
    ``returns`` is Slurm's ReturnToService.

    What goes wrong: ``health`` are checks of Ceph beside its own, name → text; those of ``errors`` make it
    HEALTH_ERR. ``unclean`` placement groups are never clean. ``stuck`` are OSDs that stay down after their
    host was away. ``silent`` are programs that can't reach their service. ``stubborn`` are nodes
    whose slurmd and nova-compute stay down.
    """

    ceph: str = "nautilus"
    clean_seconds: float = 0.0
    out_seconds: float = 600.0
    credentials: bool = False
    returns: int = 1
    health: Mapping[str, str] = MappingProxyType({})
    errors: tuple[str, ...] = ()
    unclean: int = 0
    stuck: tuple[int, ...] = ()
    silent: tuple[str, ...] = ()
    stubborn: tuple[str, ...] = ()


def read(folder: str) -> Services:
    """As they are now. Raises ``TypeError`` for a name that is none."""
    try:
        with open(f"{folder}/switches.json") as file:
            known: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return Services()
    for name in ("errors", "stuck", "silent", "stubborn"):
        known[name] = tuple(known.get(name, ()))
    return Services(**known)


def write(folder: str, services: Services) -> None:
    """From the next call on."""
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/switches.json.new", "w") as file:
        json.dump({**services._asdict(), "health": dict(services.health)}, file, indent=1)
    os.replace(f"{folder}/switches.json.new", f"{folder}/switches.json")
