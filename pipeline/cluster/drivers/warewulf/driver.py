"""The driver: reads, checks what can't be kept, writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from pipeline.cluster.begun import Begun
from pipeline.cluster.drivers import again
from pipeline.cluster.drivers.warewulf import again as again_here
from pipeline.cluster.drivers.warewulf import membership, quote, reading, writing
from pipeline.cluster.drivers.warewulf.reading import Registry
from pipeline.cluster.drivers.warewulf.wwctl import Wwctl
from pipeline.cluster.head import Head
from pipeline.cluster.objects import Change, Kind, Properties, Ref, State, Value, Wanted, members
from pipeline.errors import Problem, UsageError

NOT_HERE: dict[Kind, str] = {
    "service": "enable it in the image, with a stage of its recipe",
    "setting": "write it in the image, with a stage of its recipe, or make a template of an overlay by hand",
    "network": "Warewulf's networks are names of network devices; leave it out of the cluster file",
}
"""Kinds that have no place in Warewulf, and what to do instead."""


class Warewulf:
    """Warewulf on ``head``."""

    name = "warewulf"
    kinds: frozenset[Kind] = frozenset({"image", "category", "node", "interface"})
    built_after: frozenset[Kind] = frozenset({"node", "interface"})

    def __init__(self, head: Head) -> None:
        self._wwctl = Wwctl(head)
        self.begun = Begun()
        self._asked: writing.Asked = {}

    def read(self, wanted: Sequence[Wanted]) -> State:
        """See `Driver`. Raises ``UsageError`` with all that Warewulf can't keep."""
        problems = [*_unkept(wanted), *_doubled(wanted)]
        if problems:
            raise UsageError(problems)
        paths = {
            item.ref.name: str(item.exact["path"])
            for item in wanted
            if item.ref.kind == "image" and item.exact.get("path")
        }
        self._asked = _asked(wanted)
        found = reading.registry(self._wwctl, paths, self.begun)
        state = reading.state(found, wanted)
        taken = [problem for item in wanted for problem in _taken(item.ref, item.exact, found)]
        notes = [f"{problem.where}: {problem.message}; an apply refuses it" for problem in taken]
        return State(state.objects, (*state.notes, *notes), state.older)

    def survey(self) -> State:
        """See `Driver`. The device that a node boots from is none of the interfaces."""
        found = reading.registry(self._wwctl, {}, self.begun)
        state = reading.state(found, [Wanted(Ref("image", name)) for name in found.images])
        devices = {
            Ref("interface", dev.device, f"node/{name}"): reading.interface(network, dev)
            for name, node in found.nodes.items()
            for network, dev in node.netdevs.items()
            if network != (node.primary or membership.DEFAULT) and dev.device
        }
        kept = {ref: dev for ref, dev in devices.items() if dev["type"] == "physical"}
        notes = [
            f"{ref}: a {dev['type']} is left as it is in Warewulf"
            for ref, dev in devices.items()
            if ref not in kept
        ]
        own = reading.own_images(found)
        notes += [
            f"node/{name} has the image {image} of its own: its category is left out, as apply would end that"
            for name, image in own.items()
        ]
        left_out: dict[Ref, Properties] = {Ref("node", name): {} for name in own}
        return State({**state.objects, **kept, **left_out}, (*state.notes, *notes))

    def write(self, changes: Sequence[Change], state: State) -> None:
        """See `Driver`. What is there is read again first, so that lists are changed as they are now; again
        after images were imported, which may take an hour; and what a step was made from right before it.
        What others changed since is refused.
        """
        changes = [change for change in changes if change.action != "restart"]
        paths = _paths(changes, state)
        found = reading.registry(self._wwctl, paths, self.begun)
        again.refuse(_refused(changes, found))
        self._forget_gone(changes, found)
        imports = writing.images(changes, found)
        self._refuse_going_on(imports)
        done: list[str] = []
        if imports:
            writing.run(self._wwctl, imports, done, self.begun)
            now = reading.registry(self._wwctl, paths, self.begun)
            now = msgspec.structs.replace(now, targets=found.targets, trees=found.trees)
            imported = {step.refs[0] for step in imports}
            later = [change for change in changes if change.ref not in imported]
            both = (writing.goals(changes, state, one, self._asked) for one in (found, now))
            problems = _changed(later, [name for one in both for name in one], found, now)
            _refuse(problems, done, [change.ref for change in later])
            found = now
        goals = writing.goals(changes, state, found, self._asked)
        self._refuse_missing_images(changes, goals, found)
        self._write(changes, writing.profiles(changes, goals, found), found, done)

    def _write(
        self, changes: Sequence[Change], profiles: Sequence[writing.Step], found: Registry, done: list[str]
    ) -> None:
        """Profiles, then nodes: each as long as it is as ``found`` when it has its turn."""
        nodes = writing.nodes(changes, found)
        left = [ref for step in (*profiles, *nodes) for ref in step.refs]
        for step in profiles:
            if done:
                now = self._wwctl.profiles()
                _refuse(again_here.of_profiles(step.made_of, found.profiles, now), done, left)
            writing.run(self._wwctl, [step], done, self.begun)
            left = left[len(step.refs) :]
        if done and nodes:
            _refuse(again_here.of_nodes(changes, found.nodes, self._wwctl.nodes()), done, left)
        writing.run(self._wwctl, nodes, done, self.begun)

    def _forget_gone(self, changes: Iterable[Change], found: Registry) -> None:
        """What was begun and somebody has removed: what is made by this name again is another's."""
        coming = {found.targets.get(change.ref.name) for change in changes if change.ref.kind == "image"}
        for name in self.begun.of("image") - found.images.keys() - coming:
            self.begun.end(Ref("image", name))
        for name in self.begun.of("category") - found.half_profiles:
            self.begun.end(Ref("category", name))

    def _refuse_going_on(self, imports: Iterable[writing.Step]) -> None:
        """Raise with the imports that an apply began that was ended, and that go on all the same."""
        problems = []
        for step in imports:
            *_, path, image = step.calls[0]
            going = self._wwctl.importing(path, image) if image in self.begun.of("image") else ()
            if going:
                problems.append(
                    Problem(
                        f"{image} is still being imported, by an apply that was ended before",
                        str(step.refs[0]),
                        "wait for it, or end it on the head node; then it is imported anew",
                        f"kill {' '.join(going)}",
                    )
                )
        again.refuse(problems)

    def _refuse_missing_images(
        self, changes: Sequence[Change], goals: dict[str, writing.Goal], found: Registry
    ) -> None:
        """wwctl takes any name for an image (warewulf issue 1837), and an import may have built nothing."""
        if not goals:
            return
        there = self._wwctl.images()
        problems = [
            Problem(
                f"image: there is no image {goal.image!r} that has been built",
                f"category/{name}",
                "no profile and no node was changed",
                "wwctl image list --long",
            )
            for name, goal in goals.items()
            if goal.image
            and (name not in found.profiles or goal.image != found.profiles[name].image)
            and not (goal.image in there and there[goal.image].built)
        ]
        again.refuse(problems)


def _refuse(problems: Sequence[Problem], done: Sequence[str], left: Sequence[Ref]) -> None:
    """Raise with these, and with what was done before and what is left; with none it does nothing."""
    again.refuse([*problems, writing.tail(done, left)] if problems else ())


def _changed(later: Sequence[Change], goals: Sequence[str], before: Registry, now: Registry) -> list[Problem]:
    """What others did while images were imported to that which is to be changed ``later``: ``goals`` are the
    profiles."""
    refused = list(_refused(later, now))
    new = {change.ref.name for change in later if change.ref.kind == "category" and change.action != "set"}
    sources = [change.source for change in later if change.ref.kind == "category" and change.source]
    names = [*(name for name in goals if name not in new), *sources]
    others = again_here.of_profiles(names, before.profiles, now.profiles)
    others += again_here.of_nodes(later, before.nodes, now.nodes)
    told = {problem.where for problem in refused}
    return [*refused, *(problem for problem in others if problem.where not in told)]


def _asked(wanted: Iterable[Wanted]) -> writing.Asked:
    asked: dict[str, tuple[str, ...]] = {}
    for item in wanted:
        if item.ref.kind == "image":
            exact = members(item.exact.get("kernel_parameters"))
            more = (*exact, *item.append.get("kernel_parameters", ()))
            asked[item.ref.name] = (*asked.get(item.ref.name, ()), *more)
    return asked


def _paths(changes: Iterable[Change], state: State) -> dict[str, str]:
    """The directories of images, as they are and as they are to be."""
    paths = {
        ref.name: str(properties["path"])
        for ref, properties in state.objects.items()
        if ref.kind == "image" and properties.get("path") not in (None, reading.TREE.format(ref.name))
    }
    for change in changes:
        if change.ref.kind == "image" and "path" in writing.values(change):
            paths[change.ref.name] = str(writing.values(change)["path"])
    return paths


def _unkept(wanted: Iterable[Wanted]) -> Iterable[Problem]:
    """What of this Warewulf can't keep at all."""
    for item in wanted:
        where = str(item.ref)
        if item.ref.kind not in Warewulf.kinds:
            yield Problem(f"Warewulf keeps no {item.ref.kind}", where, NOT_HERE.get(item.ref.kind))
            continue
        yield from _bad_names(item.ref)
        yield from _bad_values(where, {**item.exact, **item.append})
        if item.ref.kind == "image" and item.make and not str(item.exact.get("path", "")).startswith("/"):
            yield Problem("path: Warewulf imports images from a directory", where, "say path or version")


def _doubled(wanted: Iterable[Wanted]) -> Iterable[Problem]:
    """Interfaces of a node in one network: the second would be written over the first."""
    first: dict[tuple[str, str], str] = {}
    for item in wanted:
        network = str(item.exact.get("network", ""))
        if item.ref.kind != "interface" or not network:
            continue
        other = first.setdefault((item.ref.of, network), item.ref.name)
        if other != item.ref.name:
            hint = "give one of them a network of its own"
            what = (
                f"network: Warewulf keeps one device of a node in {network!r}, and {other} is in it already"
            )
            yield Problem(what, str(item.ref), hint)


def _bad_names(ref: Ref) -> Iterable[Problem]:
    names: list[tuple[str, str]] = [(ref.kind, ref.name)]
    if ref.of:
        kind, _, owner = ref.of.partition("/")
        names.append((kind, owner))
    for kind, name in names:
        problem = quote.bad_name(kind, name, str(ref))
        if problem:
            yield problem


def _bad_values(where: str, values: dict[str, Value]) -> Iterable[Problem]:
    if values.get("dhcp") is True:
        hint = "leave dhcp out; wwctl node set NODE --netname NETWORK --ipaddr ADDRESS gives it one"
        yield Problem("dhcp: Warewulf's overlays give interfaces static addresses only", where, hint)
    if values.get("type", "physical") != "physical":
        yield Problem(
            f"type: {values['type']!r} needs tags that are different for each overlay", where, "only physical"
        )
    for name, value in values.items():
        for text in value if isinstance(value, tuple) else (value,):
            reason = quote.refusal(text) if isinstance(text, str) else ""
            if reason:
                yield Problem(f"{name} {text!r}: {reason}", where)
    for name, kind in (("image", "image"), ("category", "category"), ("network", "network")):
        named = str(values.get(name, ""))
        problem = quote.bad_name(kind, named, where) if named and not quote.refusal(named) else None
        if problem:
            yield problem


def _refused(changes: Iterable[Change], found: Registry) -> Iterable[Problem]:
    """What of these changes can't be made as things are now; wwctl would only warn, or do otherwise."""
    for change in changes:
        ref, where = change.ref, str(change.ref)
        if ref.kind not in Warewulf.kinds:
            yield Problem(f"Warewulf keeps no {ref.kind}", where, NOT_HERE.get(ref.kind))
            continue
        yield from _bad_names(ref)
        yield from _bad_values(where, writing.values(change))
        if ref.kind == "category":
            yield from _refused_category(change, found)
        elif ref.kind == "image":
            yield from _refused_image(change, found)
        else:
            yield from _refused_on_node(change, found)


def _refused_category(change: Change, found: Registry) -> Iterable[Problem]:
    where = str(change.ref)
    if change.action == "set" and change.ref.name not in found.profiles:
        yield Problem("there is no such profile any more", where)
    if change.action != "set" and change.ref.name in found.profiles:
        yield Problem("this profile has been made since it was read", where)
    if change.source and change.source not in found.profiles:
        yield Problem(f"there is no profile {change.source!r} to clone", where)
    elif change.source and (left := writing.uncopied(found.profiles[change.source])):
        yield Problem(
            f"{change.source} has {', '.join(left)}, which wwctl can't copy to another profile",
            where,
            f"make {change.ref.name} by hand, and apply again",
            f"wwctl profile add {change.ref.name} && wwctl profile edit {change.ref.name}",
        )


def _refused_image(change: Change, found: Registry) -> Iterable[Problem]:
    path = writing.values(change).get("path")
    target = found.targets.get(change.ref.name, change.ref.name)
    if not found.built(target) and not str(path or "").startswith("/"):
        yield Problem(f"path: {target} is to be imported from a directory of the head node", str(change.ref))
    if target in found.images and not found.built(target) and target not in found.half:
        yield Problem(
            reading.unbuilt(target),
            str(change.ref),
            f"if it is whole, build it; if not, `wwctl image delete {target}`, and an apply imports it",
            f"wwctl image build -- {target}",
        )


def _refused_on_node(change: Change, found: Registry) -> Iterable[Problem]:
    where = str(change.ref)
    name = change.ref.of.partition("/")[2] if change.ref.of else change.ref.name
    node = found.nodes.get(name)
    if node is None:
        yield Problem("there is no such node any more", where)
        return
    if change.ref.kind == "node":
        return
    if reading.device(node, change.ref.name) is None and not writing.values(change).get("network"):
        yield Problem("network: a new interface needs one", where)
    yield from _taken(change.ref, writing.values(change), found)


def _taken(ref: Ref, values: Properties, found: Registry) -> Iterable[Problem]:
    """What keeps an interface from its network: a network of a node is one device."""
    where, name, network = str(ref), ref.of.partition("/")[2], str(values.get("network", ""))
    node = found.nodes.get(name) if ref.kind == "interface" else None
    if node is None:
        return
    there = reading.device(node, ref.name)
    if there is not None and network and there[0] != network:
        hint = f"wwctl node set --netdel {there[0]} {name}"
        yield Problem(f"network: {ref.name} is in {there[0]!r}, with its address", where, command=hint)
    other = node.netdevs[network].device if network in node.netdevs else ""
    if other and other != ref.name:
        yield Problem(f"network: {network!r} already has the device {other} on this node", where)
