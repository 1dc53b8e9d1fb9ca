"""Instances of virtual nodes in the cloud: one that runs has one, and one that was ended has none."""

from __future__ import annotations

from pipeline.lab.head.objects import Object, blank
from pipeline.lab.head.state import State

SINGLE = "virtualnodesettings"
"""The mode in which a virtual node has its one object of settings, and that object's name in the state."""


def instance(one: Object) -> str:
    """The id of a virtual node's instance in the cloud; "" when it has none."""
    settings = one["sub"].get(SINGLE, {}).get(SINGLE)
    return str(settings["values"].get("instanceid", "")) if settings else ""


def new_instance(state: State, name: str) -> None:
    """Have the virtual node ``name`` an instance, unless it has one."""
    if not instance(state["objects"]["device"][name]):
        import uuid  # slow

        _settings(state, name)["values"]["instanceid"] = str(uuid.uuid4())


def no_instance(state: State, name: str) -> None:
    """Have it none."""
    _settings(state, name)["values"].pop("instanceid", None)


def _settings(state: State, name: str) -> Object:
    below = state["objects"]["device"][name]["sub"].setdefault(SINGLE, {})
    return below.setdefault(SINGLE, blank("VirtualNodeSettings"))
