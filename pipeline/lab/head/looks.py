"""What an object looks like from outside: values with what is inherited, computed cells, columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.lab.head.instances import instance
from pipeline.lab.head.kinds import KINDS, Property
from pipeline.lab.head.objects import Object, Value
from pipeline.lab.head.session import Session
from pipeline.lab.head.values import got, shown

STATUS_WIDTHS = {"UP": 8, "DOWN": 8}
LONG_STATUS = 21


def cell_of(session: Session, name: str, one: Object, prop: Property) -> str:
    """A property as ``list`` and ``show`` have it."""
    if prop.type == "computed":
        return COMPUTED[prop.name](session, name, one)
    if prop.name == _key(session):
        return name
    return _with_origin(session, one, prop, shown)


def whole(session: Session, name: str, one: Object, prop: Property) -> str:
    """A property as ``get`` prints it."""
    if prop.type == "computed" or prop.name == _key(session):
        return cell_of(session, name, one, prop)
    return _with_origin(session, one, prop, got)


def _with_origin(
    session: Session, one: Object, prop: Property, words: Callable[[Property, Value], str]
) -> str:
    """A value from the category or from nowhere says so."""
    if prop.name in one["values"] or prop.name == "bootloader":
        value = words(prop, one["values"].get(prop.name, prop.default))
        return value if prop.name in one["values"] else f"{value} (default)"
    if not prop.inherits or one["type"] not in ("PhysicalNode", "VirtualNode"):
        return words(prop, prop.default)
    category = session.top("category", str(one["values"].get("category", "")))
    if category is None:
        return words(prop, prop.default)
    value = words(prop, category["values"].get(prop.name, prop.default))
    return f"{value} (Category)" if value else ""


def _key(session: Session) -> str:
    return session.level.kind.key.lower().replace(" ", "")


def _type(session: Session, name: str, one: Object) -> str:
    return one["type"]


def _boot_interface(one: Object) -> Object | None:
    boot = str(one["values"].get("provisioninginterface", "BOOTIF"))
    interfaces = one["sub"].get("interfaces", {})
    return interfaces.get(boot) or next(iter(interfaces.values()), None)


def _ip(session: Session, name: str, one: Object) -> str:
    boot = _boot_interface(one)
    return str(boot["values"].get("ip", "")) if boot else ""


def _network(session: Session, name: str, one: Object) -> str:
    boot = _boot_interface(one)
    return str(boot["values"].get("network", "")) if boot else ""


def _nodes(session: Session, name: str, one: Object) -> str:
    """How many devices use this category or image."""
    mode = session.level.mode
    if mode not in session.counts:
        session.counts[mode] = _counts(session, mode)
    return str(session.counts[mode].get(name, 0))


def _counts(session: Session, mode: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for device in (session.need("device", name) for name in session.top_names("device")):
        category = str(device["values"].get("category", ""))
        name = category if mode == "category" else image_of(session, device, category)
        counts[name] = counts.get(name, 0) + 1
    return counts


def image_of(session: Session, device: Object, category: str) -> str:
    """A device's own image, or its category's."""
    above = session.top("category", category)
    return str(device["values"].get("softwareimage") or (above or device)["values"].get("softwareimage", ""))


def _status(session: Session, name: str, one: Object) -> str:
    return status(session, name)


def status(session: Session, name: str) -> str:
    """``[   UP   ] restart-required``."""
    known = session.store.state["status"].get(name, {})
    state = str(known.get("state") or ("DOWN" if _is_not_there(session, name) else "UP"))
    message = f" ({known['message']})" if known.get("message") else ""
    remarks = ", ".join(known.get("remarks", ()))
    separator = ", " if state == "DOWN" else " "
    return f"[{_centred(state)}]{message}{separator if remarks else ''}{remarks}"


def _centred(state: str) -> str:
    """With the odd blank behind it, and a blank on each side at least."""
    width = max(STATUS_WIDTHS.get(state, LONG_STATUS), len(state) + 2)
    return f"{' ' * ((width - len(state)) // 2)}{state}".ljust(width)


def _is_not_there(session: Session, name: str) -> bool:
    """Whether it is a virtual node that has no instance."""
    one = session.top("device", name)
    return bool(one and one["type"] == "VirtualNode" and not instance(one))


COMPUTED: Mapping[str, Callable[[Session, str, Object], str]] = {
    "type": _type,
    "ip": _ip,
    "network": _network,
    "nodes": _nodes,
    "status": _status,
}


def header(session: Session, prop: Property) -> str:
    """A column's label."""
    return f"{prop.label} (key)" if prop.name == _key(session) else prop.label


def service_status(name: str, up: bool) -> str:
    """``opensm          [    UP    ]``."""
    return f"{name:<15} [{('UP' if up else 'DOWN').center(10)}]"


def runs(session: Session, device: str, service: str) -> bool:
    """Whether a service runs on a device: as it was left, or as autostart has it."""
    known = session.store.state["running"].get(device, {})
    if service in known:
        return known[service]
    found = assigned_service(session, device, service)
    return bool(found and found["values"].get("autostart", KINDS["service"].properties["autostart"].default))


def assigned_service(session: Session, device: str, service: str) -> Object | None:
    """A service of the device, or of its category."""
    one = session.top("device", device)
    if one is None:
        return None
    own = one["sub"].get("services", {}).get(service)
    if own is not None:
        return own
    category = session.top("category", str(one["values"].get("category", "")))
    return category["sub"].get("services", {}).get(service) if category else None
