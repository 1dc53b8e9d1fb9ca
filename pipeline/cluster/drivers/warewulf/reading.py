"""From what wwctl lists to the objects of a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from pipeline.cluster.begun import Begun
from pipeline.cluster.drivers.warewulf import membership
from pipeline.cluster.drivers.warewulf.wwctl import Image, NetDev, Profile, Wwctl
from pipeline.cluster.objects import Properties, Ref, State, Wanted

TREE = "/var/lib/warewulf/chroots/{}/rootfs"

PHYSICAL = frozenset({"", "ethernet", "infiniband"})

NOT_ATOMIC = (
    "Warewulf: overlays of nodes whose category or interfaces change are rebuilt in place; a node that boots "
    "at that moment may get half of one (warewulf issue 1600)"
)

NOT_WANTED = ", and the file has it no more"


class Registry(msgspec.Struct, frozen=True):
    """All that wwctl lists. ``targets`` are the images as the cluster file names them → in Warewulf, and
    ``trees`` the directories to which their paths lead. Of ``half`` images no end of the import was seen;
    ``half_profiles`` are not among ``profiles``: not all of what makes them is known to be set.
    """

    images: Mapping[str, Image]
    profiles: Mapping[str, Profile]
    nodes: Mapping[str, Profile]
    targets: Mapping[str, str] = {}
    trees: Mapping[str, str] = {}
    half: frozenset[str] = frozenset()
    half_profiles: frozenset[str] = frozenset()

    def built(self, image: str) -> bool:
        """Whether nodes can boot this image of Warewulf."""
        return image in self.images and self.images[image].built and image not in self.half

    def users(self, image: str) -> list[str]:
        """The profiles that have this image of Warewulf."""
        return [name for name, profile in self.profiles.items() if profile.image == image]


def registry(wwctl: Wwctl, paths: Mapping[str, str], begun: Begun) -> Registry:
    """What there is; ``paths`` are those of images on the head node, by the images' names."""
    images, profiles, nodes = wwctl.images(), wwctl.profiles(), wwctl.nodes()
    real = wwctl.real_paths(tuple(paths.values()))
    half = begun.of("category") & profiles.keys()
    return Registry(
        images,
        {name: profile for name, profile in profiles.items() if name not in half},
        nodes,
        targets(paths, real),
        {name: real.get(path, path) for name, path in paths.items()},
        begun.of("image") & images.keys(),
        half,
    )


def targets(paths: Mapping[str, str], real: Mapping[str, str]) -> dict[str, str]:
    """What each image is called in Warewulf: ``NAME-N`` as its directory is, or ``NAME``."""
    found: dict[str, str] = {}
    for name, path in paths.items():
        last = real.get(path, path).rstrip("/").rpartition("/")[2]
        found[name] = last if re.fullmatch(rf"{re.escape(name)}-[0-9]+", last) else name
    return found


def parameters(found: Registry, image: str) -> tuple[str, ...] | None:
    """Kernel parameters that all profiles with this image have; None: no profile has it."""
    users = found.users(image)
    if not users:
        return None
    first, *others = (found.profiles[name].args for name in users)
    return tuple(word for word in dict.fromkeys(first) if all(word in args for args in others))


def state(found: Registry, wanted: Iterable[Wanted]) -> State:
    """All images, categories and nodes, and the interfaces and images that are wanted.

    Only images that the cluster file names have kernel parameters: a profile that gets one of them later gets
    these, and what just happens to be the same in all profiles with any other image is nobody's wish.
    """
    wanted = tuple(wanted)
    named = {item.ref.name for item in wanted if item.ref.kind == "image"}
    objects: dict[Ref, Properties] = {
        Ref("image", name): _unwanted(found, name, name in named)
        for name in found.images
        if found.built(name)
    }
    for item in wanted:
        objects.update(_image(found, item) if item.ref.kind == "image" else {})
        objects.update(_interface(found, item) if item.ref.kind == "interface" else {})
    names = {target: name for name, target in found.targets.items() if found.built(target)}
    for name, profile in found.profiles.items():
        objects[Ref("category", name)] = (
            {"image": names.get(profile.image, profile.image)} if profile.image else {}
        )
    objects.update(_nodes(found, wanted))
    objects.update(_networks(found, wanted))
    return State(objects, tuple(_notes(found, wanted)), _older(found))


def _older(found: Registry) -> frozenset[Ref]:
    """Images of which an earlier version was imported and the published one was not, and the profiles that
    have an earlier one."""
    versions = {
        name: re.compile(rf"{re.escape(name)}-[0-9]+")
        for name, target in found.targets.items()
        if target != name
    }
    refs = [
        Ref("image", name)
        for name, version in versions.items()
        if found.targets[name] not in found.images and any(map(version.fullmatch, found.images))
    ]
    refs += [
        Ref("category", category)
        for category, profile in found.profiles.items()
        for name, version in versions.items()
        if profile.image != found.targets[name] and version.fullmatch(profile.image)
    ]
    return frozenset(refs)


def _nodes(found: Registry, wanted: Sequence[Wanted]) -> dict[Ref, Properties]:
    """All nodes, each with its category: one that the file names, or its last profile when it names none."""
    named = membership.named(wanted) or found.profiles.keys()
    images = membership.Images(found.profiles, found.targets, wanted)
    goals = {item.ref.name: str(item.exact.get("category", "")) for item in wanted if item.ref.kind == "node"}
    objects: dict[Ref, Properties] = {}
    for name, node in found.nodes.items():
        now = membership.category(node.profiles, named)
        goal = goals.get(name)
        told = images.told(node, now, goal) if goal else now
        objects[Ref("node", name)] = {"category": told} if told else {}
    return objects


def own_images(found: Registry) -> dict[str, str]:
    """The nodes that have an image of their own, and which."""
    images = membership.Images(found.profiles, found.targets)
    return {name: own for name, node in found.nodes.items() if (own := images.own(node))}


def _unwanted(found: Registry, name: str, named: bool) -> Properties:
    path = TREE.format(name)
    return {"path": path, "kernel_parameters": parameters(found, name) or ()} if named else {"path": path}


def _image(found: Registry, item: Wanted) -> dict[Ref, Properties]:
    """An image whose tree has been imported; otherwise it is not there, whatever older ones there are."""
    target = found.targets.get(item.ref.name)
    if target is None:
        return {}
    there = dict.fromkeys((item.ref, Ref("image", target)))
    if not found.built(target):
        return {}
    known = parameters(found, target)
    path = item.exact.get("path", TREE.format(target))
    return {ref: {"path": path, "kernel_parameters": _kept(known, item)} for ref in there}


def _kept(known: tuple[str, ...] | None, item: Wanted) -> tuple[str, ...]:
    if known is not None:
        return known
    exact = item.exact.get("kernel_parameters")
    return exact if isinstance(exact, tuple) else item.append.get("kernel_parameters", ())


def device(node: Profile, name: str) -> tuple[str, NetDev] | None:
    """The network and the device of this name, if the node has one."""
    return next((pair for pair in node.netdevs.items() if pair[1].device == name), None)


def interface(network: str, dev: NetDev) -> Properties:
    """The properties of a network device."""
    kind = dev.type.lower()
    return {"type": "physical" if kind in PHYSICAL else kind, "dhcp": False, "network": network}


def _interface(found: Registry, item: Wanted) -> dict[Ref, Properties]:
    node = found.nodes.get(item.ref.of.partition("/")[2])
    there = device(node, item.ref.name) if node else None
    return {item.ref: interface(*there)} if there else {}


def _networks(found: Registry, wanted: Iterable[Wanted]) -> dict[Ref, Properties]:
    """Networks are no more than names of devices, so that each that is named is there."""
    named = {network for node in found.nodes.values() for network in node.netdevs}
    named |= {str(item.exact["network"]) for item in wanted if item.exact.get("network")}
    return {Ref("network", name): {} for name in sorted(named)}


def unbuilt(target: str) -> str:
    """What is said of an image that somebody else has made, and of which nobody knows whether it is whole."""
    return f"{target} is there and not built: it was imported by hand, or that goes on, or was stopped"


def _notes(found: Registry, wanted: Sequence[Wanted]) -> Iterable[str]:
    for name, target in sorted(found.targets.items()):
        image = found.images.get(target)
        if target in found.half:
            yield (
                f"image/{name}: the end of the import of {target} was not seen; it is imported anew when the "
                "file is applied"
            )
        elif image is not None and not image.built:
            yield f"image/{name}: {unbuilt(target)}; an apply refuses it"
        elif image is not None and not image.kernel:
            yield f"image/{name}: Warewulf finds no kernel in {target}; nodes can't boot it"
        if image is not None and not re.fullmatch(r".*-[0-9]+", target):
            yield f"image/{name}: imported once and not looked at again; publish a version to change it"
    for name in sorted(found.half.difference(found.targets.values())):
        yield f"image/{name}: the end of its import was not seen{NOT_WANTED}: wwctl image delete {name}"
    names = {item.ref.name for item in wanted if item.ref.kind == "category"}
    for name in sorted(found.half_profiles - names):
        yield f"category/{name}: the end of its making was not seen{NOT_WANTED}: wwctl profile delete {name}"
    if any(item.ref.kind in ("node", "interface") for item in wanted):
        yield NOT_ATOMIC
