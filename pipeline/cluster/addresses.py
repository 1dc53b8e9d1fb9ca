"""Networks of the file that have addresses of another one that is there: machines on both would get them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from pipeline.cluster.objects import Properties, State, Wanted
from pipeline.errors import Problem
from pipeline.recipe.lines import KeyPath


def taken(wanted: Iterable[Wanted], state: State) -> list[tuple[KeyPath, Problem]]:
    """What is wrong with the addresses that networks are about to get, and where the file says it.

    Those of the file agree with each other since it was loaded; one that is there as wanted is no matter.
    """
    items = {item.ref: item for item in wanted if item.ref.kind == "network"}
    others = {
        ref.name: network
        for ref, here in state.objects.items()
        if ref.kind == "network" and (ref not in items or "base_address" not in items[ref].exact)
        if (network := _network(here)) is not None
    }
    found = []
    for ref, item in items.items():
        network = _network(item.exact)
        if network is None or network == _network(state.objects.get(ref, {})):
            continue
        found += [
            (
                item.place("base_address"),
                Problem(
                    f'network "{ref.name}": {network} overlaps {other} of "{name}", which the cluster has',
                    hint="give it addresses that no other network has; nothing was changed",
                ),
            )
            for name, other in others.items()
            if network.overlaps(other)
        ]
    return found


def _network(properties: Properties) -> ipaddress.IPv4Network | None:
    """The addresses of a network; None where it has none yet."""
    base, bits = properties.get("base_address"), properties.get("netmask_bits")
    if not base or not bits or base == "0.0.0.0":
        return None
    try:
        return ipaddress.IPv4Network(f"{base}/{bits}", strict=False)
    except ValueError:
        return None
