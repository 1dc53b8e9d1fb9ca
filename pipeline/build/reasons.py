"""Why two keys differ: what their bases hold, compared by name. Pure arithmetic over plain data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pipeline.packaging.nevra import parse

_LONGEST = 200
"""Characters of a value that are shown."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that differs. ``kind`` is one of ``parent``, ``type``, ``option``, ``source``, ``packages``,
    ``tree``, ``parameter``, ``epoch``, ``code``, ``format``, ``below``, ``first`` and ``gone``; ``details``
    are lines."""

    kind: str
    message: str
    details: tuple[str, ...] = ()


def plain(basis: Mapping[str, Any]) -> dict[str, Any]:
    """A basis as it is when it has been written down and read again."""
    found: dict[str, Any] = json.loads(json.dumps(basis))
    return found


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Reason]:
    """What differs between the bases (``pipeline.build.keys.basis``, ``plain``) of a layer and of a stage.

    ``parent`` and ``trees`` are left out: what they stand for is known to the store only.
    """
    if old["format"] != new["format"]:
        yield Reason(kind="format", message="this release of the program makes layers in another way")
    if old["type"] != new["type"]:
        yield Reason(kind="type", message=f"the type is {new['type']}, it was {old['type']}")
        return
    yield from _values("option", old["options"], new["options"])
    yield from _sources(old["sources"], new["sources"])
    yield from _packages(old["packages"], new["packages"])
    yield from _values("parameter", old["parameters"], new["parameters"])
    if old["parent"] == new["parent"] and old.get("epoch") != new["epoch"]:
        yield Reason(
            kind="epoch", message="recipe.lock has another time (epoch) for the files that it writes"
        )


def order_of(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Reason]:
    """What is the same in both but for the order in which it is written, which the key covers too."""
    for field, kind in (("options", "option"), ("parameters", "parameter"), ("sources", "source")):
        if old[field] == new[field] and json.dumps(old[field]) != json.dumps(new[field]):
            yield Reason(kind=kind, message=f"the {field} are the same, in another order")


def _values(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Reason]:
    for name in dict.fromkeys((*new, *old)):
        before, after = old.get(name), new.get(name)
        if before != after:
            yield _value(kind, name, before, after)


def _value(kind: str, name: str, old: Any, new: Any) -> Reason:
    if isinstance(old, list) and isinstance(new, list):
        gone = [f"- {_shown(item)}" for item in old if item not in new]
        come = [f"+ {_shown(item)}" for item in new if item not in old]
        what = "changed" if gone or come else "in another order"
        return Reason(kind=kind, message=f"{kind} {name}: {what}", details=(*gone, *come))
    if isinstance(old, dict) and isinstance(new, dict):
        inner = tuple(reason.message for reason in _values("key", old, new))
        what = "changed" if inner else "in another order"
        return Reason(kind=kind, message=f"{kind} {name}: {what}", details=inner)
    if isinstance(old, str) and isinstance(new, str) and ("\n" in old or "\n" in new):
        from difflib import unified_diff

        lines = list(unified_diff(old.splitlines(), new.splitlines(), n=1, lineterm=""))[2:]
        return Reason(kind=kind, message=f"{kind} {name}: changed", details=tuple(lines))
    return Reason(kind=kind, message=f"{kind} {name}: {_shown(old)} → {_shown(new)}")


def _sources(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Reason]:
    for location in dict.fromkeys((*new, *old)):
        if location not in old:
            yield Reason(kind="source", message=f"source {location}: new")
        elif location not in new:
            yield Reason(kind="source", message=f"source {location}: no longer asked for")
        elif old[location] != new[location]:
            message = f"source {location}: sha256 {old[location]} → {new[location]}"
            yield Reason(kind="source", message=message)


def _packages(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Reason]:
    if old == new:
        return
    before = dict(old["install"]) if old else {}
    after = dict(new["install"]) if new else {}
    details = list(package_changes(tuple(before), tuple(after)))
    details += [
        f"~ {nevra}: the same name, other content (sha256 {before[nevra][:12]}… → {after[nevra][:12]}…)"
        for nevra in after
        if nevra in before and before[nevra] != after[nevra]
    ]
    gone, going = (old or {}).get("remove", []), (new or {}).get("remove", [])
    details += [f"{nevra}: removed now, was not" for nevra in going if nevra not in gone]
    details += [f"{nevra}: not removed any more" for nevra in gone if nevra not in going]
    what = "changed" if details else "are installed in another order"
    yield Reason(kind="packages", message=f"the locked packages {what}", details=tuple(details))


def package_changes(old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[str]:
    """Lines for NEVRAs that came (``+``), went (``-``) or took another's place (``~ old → new``)."""
    for before, after in paired(old, new):
        if before and after:
            yield f"~ {before} → {after}"
        else:
            yield f"+ {after}" if after else f"- {before}"


def paired(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[tuple[str | None, str | None], ...]:
    """(old, new) for every NEVRA in one of them only; both where one took another's place."""
    gone, come = _by_name(set(old) - set(new)), _by_name(set(new) - set(old))
    pairs: list[tuple[str | None, str | None]] = []
    for name in sorted({*gone, *come}):
        before, after = gone.get(name, []), come.get(name, [])
        if len(before) == len(after) == 1:
            pairs.append((before[0], after[0]))
        else:
            pairs += [(nevra, None) for nevra in before]
            pairs += [(None, nevra) for nevra in after]
    return tuple(pairs)


def _by_name(nevras: set[str]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for nevra in sorted(nevras):
        found.setdefault(parse(nevra).name_arch, []).append(nevra)
    return found


def _shown(value: Any) -> str:
    if value is None:
        return "not given"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
