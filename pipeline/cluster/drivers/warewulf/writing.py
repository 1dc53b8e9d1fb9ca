"""Changes as calls of wwctl: images first, then profiles, then nodes, as few calls as will do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from pipeline.cluster.begun import Begun
from pipeline.cluster.drivers.warewulf import membership, quote
from pipeline.cluster.drivers.warewulf.reading import Registry, device
from pipeline.cluster.drivers.warewulf.wwctl import Profile, Wwctl, plain_keys
from pipeline.cluster.objects import Change, Ref, State, Value
from pipeline.errors import MachineError, PipelineError, Problem, retold

COPIED = {
    "comment": "comment",
    "clustername": "cluster",
    "ipxe": "ipxe",
    "ipxetemplate": "ipxe",
    "init": "init",
    "root": "root",
    "primarynetdev": "primarynet",
}
COPIED_LISTS = {
    "runtimeoverlay": "runtime-overlays",
    "systemoverlay": "system-overlays",
    "profiles": "profile",
}
COPIED_DEVICE = {
    "device": "netdev",
    "type": "type",
    "onboot": "onboot",
    "netmask": "netmask",
    "gateway": "gateway",
    "mtu": "mtu",
}
SET_OTHERWISE = frozenset({"imagename", "kernel", "netdevs"})


SAID = {"--profile": "profiles", "--image": "no own image"}


EXISTS = re.compile(r"image name exists|with name \S+ already exists")
"""What wwctl refuses to make is there already, by this name."""


class Step(msgspec.Struct, frozen=True):
    """Calls of wwctl that do one thing, told as ``said``; ``refs`` are what it is for.

    A call that begins with ``profile add`` is tried with and without ``--yes``. ``undo`` takes back what the
    first call did when a later one fails. ``again`` is told as the command to be run by hand, for what no
    later plan would show. ``begins`` is what looks whole before the step has ended.
    ``made_of`` are the profiles that it was made from: with any of them otherwise it would overwrite that.
    """

    refs: tuple[Ref, ...]
    said: str
    calls: tuple[tuple[str, ...], ...]
    undo: tuple[str, ...] = ()
    again: str | None = None
    begins: Ref | None = None
    made_of: tuple[str, ...] = ()


def run(wwctl: Wwctl, steps: Iterable[Step], done: list[str], begun: Begun) -> None:
    """Make these steps. Raises ``PipelineError`` with what was ``done`` before the one that failed."""
    for step in steps:
        if step.begins is not None:
            begun.begin(step.begins)
        for number, call in enumerate(step.calls):
            try:
                _call(wwctl, call, _where(step.refs))
            except PipelineError as error:
                left = _undone(wwctl, step) if number and step.undo else ""
                if step.begins is not None and _is_nothing_begun(wwctl, step.begins, error):
                    begun.end(step.begins)
                raise retold(error, _told(error, step, left, done)) from None
        if step.begins is not None:
            begun.end(step.begins)
        done.append(step.said)


def _is_nothing_begun(wwctl: Wwctl, ref: Ref, error: PipelineError) -> bool:
    """Whether after this error nothing is there that a step has begun: wwctl refused it, or took it back."""
    if isinstance(error, MachineError):
        return False
    if EXISTS.search(error.problems[-1].message):
        return True  # somebody else's
    try:
        there = wwctl.images() if ref.kind == "image" else wwctl.profiles()
    except PipelineError:
        return False
    return ref.name not in there


def _undone(wwctl: Wwctl, step: Step) -> str:
    """Take back what the first call did; says what is left when that isn't possible."""
    try:
        wwctl.run(*step.undo)
    except PipelineError as error:
        return (
            f"{step.refs[0]} is there but incomplete, and could not be removed: {error.problems[0].message}"
        )
    return ""


def _told(error: PipelineError, step: Step, left: str, done: Sequence[str]) -> Iterable[Problem]:
    *others, last = error.problems
    before = f"done before it: {', '.join(done)}" if done else "nothing was changed before it"
    hint = f"{last.hint}; {before}" if last.hint else before
    yield from others
    yield Problem(f"{step.said}: {last.message}", last.where, hint, step.again or last.command)
    if left:
        yield Problem(left, str(step.refs[0]), command=shlex.join(("wwctl", *step.undo)))


def tail(done: Sequence[str], left: Sequence[Ref]) -> Problem:
    """What was done before something was refused, and what was not."""
    before = f"done: {', '.join(done)}" if done else "nothing was changed"
    return Problem(f"{before}; not: {_where(tuple(dict.fromkeys(left)))}")


def _call(wwctl: Wwctl, call: Sequence[str], where: str) -> None:
    if tuple(call[:2]) != ("profile", "add"):
        wwctl.run(*call, where=where)
        return
    try:
        wwctl.run("profile", "add", "--yes", *call[2:], where=where)
    except PipelineError as error:
        if "unknown flag: --yes" not in str(error):
            raise
        wwctl.run(*call, where=where)


def _where(refs: Sequence[Ref]) -> str:
    more = f" and {len(refs) - 3} more" if len(refs) > 3 else ""
    return ", ".join(map(str, refs[:3])) + more


def images(changes: Iterable[Change], found: Registry) -> list[Step]:
    """Images that are to be imported; one of which no end of the import was seen is made anew."""
    steps: list[Step] = []
    for change in changes:
        target = found.targets.get(change.ref.name, change.ref.name)
        if change.ref.kind != "image" or found.built(target):
            continue
        force = ("--force",) if target in found.half else ()
        path = found.trees.get(change.ref.name, str(values(change)["path"]))
        call = ("image", "import", *force, "--build", "--", path, target)
        steps.append(Step((change.ref,), f"{target} imported", (call,), begins=Ref("image", target)))
    return steps


def values(change: Change) -> dict[str, Value]:
    """What the change sets."""
    return {entry.name: entry.new for entry in change.assignments}


class Goal(msgspec.Struct, frozen=True):
    """What a profile is to have: an image of Warewulf, and kernel parameters."""

    image: str
    args: tuple[str, ...]


Asked = Mapping[str, Collection[str]]
"""The kernel parameters that the cluster file asks for, by its names of images."""


def goals(changes: Sequence[Change], state: State, found: Registry, asked: Asked) -> dict[str, Goal]:
    """Each profile that has to change, and what it is to have then."""
    wanted: dict[str, Goal] = {}
    for change in changes:
        if change.ref.kind == "category":
            source = found.profiles.get(change.source or change.ref.name)
            image = values(change).get("image")
            name = found.targets.get(str(image), str(image)) if image else source.image if source else ""
            wanted[change.ref.name] = Goal(name, source.args if source else ())
    extra, gone = _parameters(changes, state, found, asked), _taken_back(changes, found)
    sources = {change.ref.name: change.source for change in changes if change.action == "clone"}
    having = {name: Goal(profile.image, profile.args) for name, profile in found.profiles.items()}
    for name, goal in {**having, **wanted}.items():
        before = having.get(sources.get(name, name), goal)
        kept = tuple(word for word in goal.args if word not in gone.get(before.image, ()))
        args = (*kept, *(word for word in extra.get(goal.image, ()) if word not in kept))
        if args != goal.args or name in wanted:
            wanted[name] = Goal(goal.image, args)
    return wanted


def _taken_back(changes: Iterable[Change], found: Registry) -> dict[str, tuple[str, ...]]:
    """The kernel parameters that images by their names in Warewulf have, and are not to have any longer."""
    return {
        found.targets.get(change.ref.name, change.ref.name): tuple(
            word for word in entry.old if word not in entry.new
        )
        for change in changes
        for entry in change.assignments
        if change.ref.kind == "image" and isinstance(entry.old, tuple) and isinstance(entry.new, tuple)
    }


def _parameters(
    changes: Sequence[Change], state: State, found: Registry, asked: Asked
) -> dict[str, tuple[str, ...]]:
    """The kernel parameters of images by their names in Warewulf, where a profile may lack some.

    Of an image that is there only those that are ``asked`` for: all others of the profiles that have it,
    one only after an apply that was stopped, are their own.
    """
    known: dict[str, tuple[str, ...]] = {}
    for ref, properties in state.objects.items():
        words = properties.get("kernel_parameters", ())
        if ref.kind == "image" and isinstance(words, tuple) and words:
            known[found.targets.get(ref.name, ref.name)] = words
    for change in changes:
        new = values(change).get("kernel_parameters")
        if change.ref.kind == "image" and isinstance(new, tuple):
            known[found.targets.get(change.ref.name, change.ref.name)] = new
    made = {change.ref.name for change in changes if change.ref.kind == "image" and change.action != "set"}
    for name, mine in asked.items():
        target = found.targets.get(name, name)
        if name not in made and target in known:
            known[target] = tuple(word for word in known[target] if word in mine)
    return known


def profiles(changes: Sequence[Change], wanted: Mapping[str, Goal], found: Registry) -> list[Step]:
    """Profiles made and set; those that get the same are set in one call."""
    steps = [
        _added(change, wanted[change.ref.name], found)
        for change in changes
        if change.ref.kind == "category" and change.ref.name not in found.profiles
    ]
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, goal in wanted.items():
        if name in found.profiles and (options := _differing(goal, found.profiles[name])):
            groups.setdefault(options, []).append(name)
    for options, names in groups.items():
        refs = tuple(Ref("category", name) for name in names)
        said = f"{' and '.join(option.partition('=')[0][2:] for option in options)} of {', '.join(names)} set"
        call = ("profile", "set", "--yes", *options, "--", *names)
        steps.append(Step(refs, said, (call,), made_of=tuple(names)))
    return steps


def _differing(goal: Goal, old: Profile) -> tuple[str, ...]:
    image = (f"--image={goal.image}",) if goal.image != old.image else ()
    words = quote.members(goal.args) or "UNDEF"  # an empty list replaces nothing
    args = (f"--kernelargs={words}",) if goal.args != old.args else ()
    return (*image, *args)


def _added(change: Change, goal: Goal, found: Registry) -> Step:
    """A profile made, with all that the one has that it is cloned from."""
    name = change.ref.name
    options = [f"--image={goal.image}"] if goal.image else []
    options += [f"--kernelargs={quote.members(goal.args)}"] if goal.args else []
    devices: list[list[str]] = []
    if change.source:
        raw = found.profiles[change.source].raw
        options += [f"--{COPIED[key]}={raw[key]}" for key in COPIED if key in raw]
        options += [f"--{COPIED_LISTS[key]}={quote.members(raw[key])}" for key in COPIED_LISTS if key in raw]
        tags = [f"{key}={value}" for key, value in raw.get("tags", {}).items()]
        options += [f"--tagadd={quote.members(tags)}"] if tags else []
        version = plain_keys(raw.get("kernel", {})).get("version")
        options += [f"--kernelversion={version}"] if version else []
        devices = [_copied_device(network, dev) for network, dev in raw.get("netdevs", {}).items()]
    # One device fits in the call that makes the profile; with more, it's there before they are.
    first, *more = devices or [[]]
    sets = (("profile", "set", "--yes", *device, "--", name) for device in more)
    undo = ("profile", "delete", "--yes", "--", name)
    is_half = name in found.half_profiles
    make = ("profile", "set", "--yes") if is_half else ("profile", "add")
    calls = ((*make, *options, *first, "--", name), *sets)
    begins = change.ref if more or is_half else None
    made_of = (change.source,) if change.source else ()
    return Step((change.ref,), f"{name} made", calls, undo, begins=begins, made_of=made_of)


def _copied_device(network: str, raw: Mapping[str, Any]) -> list[str]:
    dev = plain_keys(raw)
    return [
        f"--netname={network}",
        *(f"--{COPIED_DEVICE[key]}={dev[key]}" for key in COPIED_DEVICE if key in dev),
    ]


def uncopied(profile: Profile) -> list[str]:
    """What a profile has that wwctl has no options for, so that a clone would lack it."""
    known = {*COPIED, *COPIED_LISTS, *SET_OTHERWISE, "tags"}
    found = [key for key in profile.raw if key not in known]
    # pflag parses a map with a single = otherwise than one with several, and quotes then get lost.
    found += [f"tag {key}" for key, value in profile.raw.get("tags", {}).items() if '"' in f"{key}{value}"]
    for network, raw in profile.raw.get("netdevs", {}).items():
        found += [f"{network}: {key}" for key in plain_keys(raw or {}) if key not in COPIED_DEVICE]
    return found


def nodes(changes: Sequence[Change], found: Registry) -> list[Step]:
    """Profiles and devices of nodes, one call for all nodes that get the same, then their overlays."""
    groups: dict[tuple[str, ...], list[Ref]] = {}
    names: dict[str, None] = {}
    for change in changes:
        name = change.ref.name
        if change.action == "build":
            names[name] = None
            continue
        if change.ref.kind == "node":
            options = _membership(change, found.nodes[name])
        elif change.ref.kind == "interface":
            name = change.ref.of.partition("/")[2]
            options = _device(change, found.nodes[name])
        else:
            continue
        groups.setdefault(options, []).append(change.ref)
        names[name] = None
    steps = [_set(options, refs) for options, refs in groups.items() if options]
    if names:
        refs = tuple(Ref("node", name) for name in names)
        build = tuple(("overlay", "build", "--", *part) for part in quote.calls(names))
        again = " && ".join(shlex.join(("wwctl", *call)) for call in build)
        steps.append(Step(refs, f"overlays of {_folded(names)} built", build, again=again))
    return steps


def _membership(change: Change, node: Profile) -> tuple[str, ...]:
    """What puts a node in its category; only what was told to keep it from that one's image goes."""
    (entry,) = change.assignments
    was, _, other = str(entry.old or "").partition(membership.BUT)
    behind = membership.BEHIND in other
    profiles = membership.moved(node.profiles, was, str(entry.new), last=behind)
    image = ("--image=UNDEF",) if other and not behind else ()
    return (*((f"--profile={quote.members(profiles)}",) if profiles != node.profiles else ()), *image)


def _device(change: Change, node: Profile) -> tuple[str, ...]:
    name = change.ref.name
    network = str(values(change).get("network") or next(iter(device(node, name) or ("",))))
    kind = "infiniband" if name.startswith("ib") else "ethernet"
    return (f"--netname={network}", f"--netdev={name}", f"--type={kind}", "--onboot=true")


def _set(options: tuple[str, ...], refs: Sequence[Ref]) -> Step:
    names = [ref.of.partition("/")[2] if ref.of else ref.name for ref in refs]
    what = refs[0].name if refs[0].of else " and ".join(SAID[option.partition("=")[0]] for option in options)
    sets = tuple(("node", "set", "--yes", *options, "--", *part) for part in quote.calls(names))
    return Step(tuple(refs), f"{what} of {_folded(names)} set", sets)


def _folded(names: Iterable[str]) -> str:
    told = ",".join(quote.folded(names))
    return told if len(told) <= 80 else f"{told[:77]}..."
