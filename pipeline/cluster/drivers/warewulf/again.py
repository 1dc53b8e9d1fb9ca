"""What others changed in Warewulf since it was read: wwctl replaces lists, and would do so without a word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.cluster.drivers.again import changed
from pipeline.cluster.drivers.warewulf import membership
from pipeline.cluster.drivers.warewulf.wwctl import Profile
from pipeline.cluster.objects import Change, Properties, Ref, Value
from pipeline.errors import Problem

Profiles = Mapping[str, Profile]


def of_profiles(names: Iterable[str], before: Profiles, now: Profiles) -> list[Problem]:
    """Whatever is no longer as it was of these profiles."""
    return [
        problem
        for name in dict.fromkeys(names)
        for was, is_ in [[_all(profiles.get(name)) for profiles in (before, now)]]
        for problem in changed(str(Ref("category", name)), was, is_)
    ]


def of_nodes(changes: Iterable[Change], before: Profiles, now: Profiles) -> list[Problem]:
    """What is no longer as it was of that which these changes are about, of nodes."""
    found: list[Problem] = []
    for change in changes:
        if change.ref.kind == "node" and change.action == "set":
            about, name = _membership, change.ref.name
        elif change.ref.kind == "interface":
            about, name = _devices, change.ref.of.partition("/")[2]
        else:
            continue
        was, is_ = (about(change, nodes[name]) if name in nodes else None for nodes in (before, now))
        found += changed(str(change.ref), was, is_)
    return found


def _membership(change: Change, node: Profile) -> Properties:
    """Its own profiles; and its own image, where that is to be taken away."""
    profiles: Properties = {"profiles": node.profiles}
    has_image = any(membership.BUT in str(entry.old) for entry in change.assignments)
    return {**profiles, "image": node.image} if has_image else profiles


def _devices(change: Change, node: Profile) -> Properties:
    return {
        f"network {network}": f"{dev.device} {dev.type} {dev.ipaddr}"
        for network, dev in node.netdevs.items()
        if dev.device == change.ref.name or any(entry.new == network for entry in change.assignments)
    }


def _all(profile: Profile | None) -> Properties | None:
    return None if profile is None else dict(_plain(profile.raw))


def _plain(raw: Mapping[str, Any], within: str = "") -> Iterable[tuple[str, Value]]:
    for key, value in raw.items():
        name = f"{within}{key}"
        if isinstance(value, Mapping):
            yield from _plain(value, f"{name} ")
        elif value:
            yield name, tuple(map(str, value)) if isinstance(value, list) else str(value)
