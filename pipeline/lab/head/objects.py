"""An object of the cluster manager as the state keeps it: what is not the default, and what lies below it."""

from __future__ import annotations

from typing import TypedDict

Value = str | bool | int | list[str]


class Object(TypedDict):
    """``sub`` has the objects of each submode by name, in the order in which they were made."""

    type: str
    values: dict[str, Value]
    sub: dict[str, dict[str, Object]]


def blank(type_: str) -> Object:
    """An object with nothing but defaults."""
    return {"type": type_, "values": {}, "sub": {}}


def merged(base: Object | None, ours: Object, theirs: Object | None) -> Object:
    """``theirs`` with what ``ours`` changed over ``base``: others' changes of other properties stay."""
    if base is None or theirs is None:
        return ours
    names = {*ours["sub"], *theirs["sub"]}
    return {
        "type": ours["type"],
        "values": _merged_values(base["values"], ours["values"], theirs["values"]),
        "sub": {name: _merged_sub(base, ours, theirs, name) for name in sorted(names)},
    }


def _merged_values(
    base: dict[str, Value], ours: dict[str, Value], theirs: dict[str, Value]
) -> dict[str, Value]:
    result = dict(theirs)
    for name in {*base, *ours}:
        if ours.get(name) == base.get(name):
            continue
        if name in ours:
            result[name] = ours[name]
        else:
            result.pop(name, None)
    return result


def _merged_sub(base: Object, ours: Object, theirs: Object, name: str) -> dict[str, Object]:
    was, now, other = (one["sub"].get(name, {}) for one in (base, ours, theirs))
    result = {key: there for key, there in other.items() if key in now or key not in was}
    for key, here in now.items():
        result[key] = merged(was.get(key), here, other.get(key))
    return result
