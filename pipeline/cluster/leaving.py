"""What an apply made, and the cluster file no longer says.

Settings and kernel parameters that it added are taken back; everything else is left as it is, for others had
set it, or nobody knows what it was before: that is noted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.cluster.added import Added, once_left
from pipeline.cluster.cloning import origins
from pipeline.cluster.compare import PROPERTY, Applied, asked
from pipeline.cluster.differing import told
from pipeline.cluster.model import Cluster
from pipeline.cluster.nodesets import folded
from pipeline.cluster.objects import HEAD, Properties, Ref, State, Wanted, members

LEFT = "no longer in the file, and left as it is"


def notes(cluster: Cluster, state: State, applied: Applied, added: Added) -> list[str]:
    """A note of each kind, for the administrator."""
    wanted = {str(item.ref): item for item in cluster.wanted}
    said = {*wanted, *map(str, cluster.unasked)}
    gone = [name for name in applied if name not in said and "/setting/" not in name]
    gone = [name for name in gone if not name.startswith("node/") or name.count("/") > 1]
    there = {str(ref) for ref in state.objects}
    gone = [name for name in gone if name.startswith("os-") or _owner(name) in {*there, str(HEAD)}]
    gone = [name for name in gone if not _is_taken_back(name, applied[name], state, added)]
    changed = [name for name in gone if name in added.put and _has_put(added.put[name], state, name)]
    whole = [name for name in gone if name not in changed]
    found = [f"{LEFT}: {', '.join(whole)}"] if whole else []
    for name in changed:
        nothing = Wanted(Ref("image", name.partition("/")[2]))
        found += [f"{name}: {each}" for each in _properties(nothing, applied[name])]
        found += [f"{name}: {each}" for each in _members(nothing, applied[name], state, added)]
    found += _settings(wanted, state, applied, added)
    found += _nodes(wanted, state, applied)
    found += _clones(cluster.wanted, state, added)
    for name, last in applied.items():
        item = wanted.get(name)
        if item is not None and item.ref.kind not in ("setting", "node"):
            found += [f"{name}: {each}" for each in _properties(item, last)]
            found += [f"{name}: {each}" for each in _members(item, last, state, added)]
    return found


def _is_taken_back(name: str, last: Properties, state: State, added: Added) -> bool:
    """Whether all that was applied of an image are kernel parameters, of which none stay."""
    kind, _, image = name.partition("/")
    here = state.objects.get(Ref("image", image), {}) if kind == "image" else {}
    put = added.put.get(name, {})
    return kind == "image" and all(
        key.startswith("+")
        and not set(members(value)).intersection(members(here.get(key[1:]))).difference(members(put.get(key)))
        for key, value in last.items()
    )


def _has_put(put: Properties, state: State, name: str) -> bool:
    """Whether something that applies have put into an image is there, and is taken out of it."""
    kind, _, image = name.partition("/")
    here = state.objects.get(Ref("image", image), {}) if kind == "image" else {}
    return any(set(members(put[key])).intersection(members(here.get(key[1:]))) for key in put)


def _owner(name: str) -> str:
    """The image, category, network or node that an object is or belongs to; all of them have been read."""
    return "/".join(name.split("/")[:2])


def _settings(wanted: Mapping[str, Wanted], state: State, applied: Applied, added: Added) -> list[str]:
    """Of settings that are there, and are not taken out."""
    left = [
        name
        for ref, here in state.objects.items()
        if ref.kind == "setting" and (name := str(ref)) in applied and name not in wanted
        if once_left(added, applied, name, here) == here
    ]
    return [f"{LEFT}: {', '.join(left)}"] if left else []


def _clones(wanted: Iterable[Wanted], state: State, added: Added) -> list[str]:
    """Of clones that were made with what is taken back of their sources now."""
    wanted = tuple(wanted)
    items = {item.ref: item for item in wanted}
    found = []
    for name, chain in origins(wanted).items():
        image = Ref("image", name.partition("/")[2])
        keeps = [
            ref.name
            for ref in state.objects
            if ref.kind == "setting" and ref.of == name and ref not in items and str(ref) not in added.put
            if any(_leaves(items, added, Ref(ref.kind, ref.name, str(source))) for source in chain)
        ]
        here = members(state.objects.get(image, {}).get("kernel_parameters"))
        ours = items[image].append.get("kernel_parameters", ()) if image in items else ()
        gone = [each for source in chain for each in _gone(items, added, source)]
        keeps += [each for each in here if each in gone and each not in ours and str(image) == name]
        if keeps:
            source = chain[0].name
            found.append(f"{name}: a clone keeps what it was made with, of {source}: {', '.join(keeps)}")
    return found


def _leaves(items: Mapping[Ref, Wanted], added: Added, setting: Ref) -> bool:
    return str(setting) in added.put and setting not in items


def _gone(items: Mapping[Ref, Wanted], added: Added, image: Ref) -> list[str]:
    """Kernel parameters that applies have put into an image, and the file no longer has."""
    put = members(added.put.get(str(image), {}).get("+kernel_parameters"))
    wanted = items[image].append.get("kernel_parameters", ()) if image in items else ()
    return [each for each in put if each not in wanted]


def _nodes(wanted: Mapping[str, Wanted], state: State, applied: Applied) -> list[str]:
    """Of nodes that were put into a category, and are in it still."""
    left: dict[str, list[str]] = {}
    for name, last in applied.items():
        kind, _, node = name.partition("/")
        category = last.get("category")
        if kind != "node" or not category or "/" in node:
            continue
        item, here = wanted.get(name), state.objects.get(Ref("node", node), {})
        if (item is None or "category" not in item.exact) and here.get("category") == category:
            left.setdefault(str(category), []).append(node)
    return [
        f"{folded(nodes)}: no longer among the nodes of {category}, and left in it; what it was in before is "
        "not known"
        for category, nodes in left.items()
    ]


def _properties(item: Wanted, last: Properties) -> list[str]:
    """Of single properties, and lines of files."""
    now = asked(item)
    gone = {name: value for name, value in last.items() if name not in now and not name.startswith("+")}
    found = [f"{name} ({told(value)}) is {LEFT}" for name, value in gone.items()]
    for name in PROPERTY:
        if PROPERTY[name] in item.exact:
            continue
        keys = {line.split()[0] for line in members(now.get(f"+{name}"))}
        lines = [line for line in members(last.get(f"+{name}")) if line.split()[0] not in keys]
        found += [f"the line {told(line)} is {LEFT}" for line in lines]
    return found


def _members(item: Wanted, last: Properties, state: State, added: Added) -> list[str]:
    """Of members of properties that were there before an apply, and are there still."""
    here, put = state.objects.get(item.ref, {}), added.put.get(str(item.ref), {})
    found = []
    for name, value in last.items():
        plain = name.removeprefix("+")
        if plain == name or plain in PROPERTY or plain in item.exact:
            continue
        ours = (*item.append.get(plain, ()), *members(put.get(name)))
        there = members(here.get(plain))
        if left := tuple(each for each in members(value) if each in there and each not in ours):
            found.append(f"{plain} ({told(left)}) is {LEFT}")
    return found
