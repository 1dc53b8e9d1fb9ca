"""Writing a first cluster file from what a cluster manager has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from pipeline.cluster import plan as planning
from pipeline.cluster import renamed, rolled
from pipeline.cluster.apply import whole_plan
from pipeline.cluster.cloudtables import cloud_tables
from pipeline.cluster.load import load_file, usual_file
from pipeline.cluster.nodesets import folded
from pipeline.cluster.objects import HEAD, Change, Kind, Properties, Ref, State, Value, Wanted
from pipeline.cluster.opening import CLOUDS, driver, head_site, keepers, names_cloud, without_cloud
from pipeline.cluster.sayable import SETTING, Sayable
from pipeline.cluster.tomltext import comment, key, table, text, value
from pipeline.errors import PipelineError, Problem, UsageError
from pipeline.recipe.load import load_recipes, recipe_names
from pipeline.recipe.model import Site
from pipeline.recipe.names import file_name_fault
from pipeline.regular import place_of
from pipeline.store.filesystem import write_whole

HEADER = """#:schema ../schema/cluster.json

# Written from what the cluster manager had. Take out what shall not be kept by this file: what it does not
# name is left alone. Numbers that stand in several places are better said once, in [parameters].
# Not in it, for nobody can know which shall be kept: whole files of the head node ([[head.file]]). Nor what
# there are no words for: addresses of single interfaces, those that nodes boot or are managed through.
{cloud}{left_out}
[cluster]
name = {name}
summary = "As the cluster manager had it"
"""

NO_CLOUD = "# Networks of the cloud are not in it: the site's [head] names no cloud, nor does OS_CLOUD.\n"

DISAGREES = "is there as a comment only: [neutron] has to be written so that all places agree"


class Imported(msgspec.Struct, frozen=True):
    """A cluster file as it was written.

    ``left_out`` is what there are no words for, ``notes`` are the cluster manager's. ``problems`` are those
    of the file itself: without any, ``changes`` are what a plan finds to do.
    """

    text: str
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    changes: tuple[Change, ...] = ()
    problems: tuple[Problem, ...] = ()


def import_cluster(name: str, site: Site, file: Path | None) -> Imported:
    """A cluster file called ``name`` of the site's cluster; written to ``file`` if there is one.

    It is loaded, and planned with what was read. A file that is there already is never overwritten.
    """
    fault = file_name_fault(name)
    if fault:
        raise UsageError(f'the name "{name}" {fault}')
    if file is not None and file.exists():
        raise UsageError(
            "there is such a file already",
            where=str(file),
            hint="--out FILE writes another one, --out - prints it",
        )
    found = state = _surveyed(site)
    meant = None
    if file is not None:  # what is only printed is no file of this store
        meant = rolled.as_files_say(site.store, found)
        state = meant.state
    sayable = Sayable(state, _kernel_parameters(state, site), _unkept(state, site))
    kept, cloud = sayable.kept(), cloud_tables(state)
    made = [f"image/{image}: a rollout has made it" for image in (meant.images if meant else ())]
    left_out = (*told_once(sayable.left_out, cloud.left_out), *made)
    asked = names_cloud(site)
    with _place(name, file) as place:
        written = as_text(name, kept, left_out, cloud.text, asked=asked)
        _write(place, written)
        for category, image, now in meant.rolled if meant else ():
            rolled.note(site.store, name, category, image, now)
        if file is not None:
            gone = (str(ref) for ref in state.objects if ref not in kept.objects)
            renamed.leave_out(site.store, name, gone)
        imported = _tried(name, site, place, found, written)
        if imported.problems and cloud.text:
            commented = "".join(comment(line) for line in cloud.text.splitlines())
            named = set(map(_name, cloud.left_out))
            commented_out = [ref for ref in kept.objects if ref.kind in CLOUDS and str(ref) not in named]
            left_out = (*left_out, *(f"{ref}: {DISAGREES}" for ref in commented_out))
            written = as_text(name, kept, left_out, commented, asked=asked)
            _write(place, written)
            imported = _tried(name, site, place, found, written)
    return msgspec.structs.replace(imported, left_out=left_out, notes=state.notes)


def told_once(left_out: Iterable[str], of_cloud: Iterable[str]) -> tuple[str, ...]:
    """All that is left out; what a cloud's table can't say of an object stands for all else of it."""
    of_cloud = tuple(of_cloud)
    named = set(map(_name, of_cloud))
    return (*(each for each in left_out if _name(each) not in named), *of_cloud)


def _name(left_out: str) -> str:
    """The object of a line of what is left out."""
    return left_out.partition(": ")[0]


@contextmanager
def _place(name: str, file: Path | None) -> Iterator[Path]:
    """Where the text is written, if only for a while."""
    if file is not None:
        yield file
        return
    with TemporaryDirectory(prefix="pipeline-import-") as folder:
        yield Path(folder) / f"{name}.toml"


def _surveyed(site: Site) -> State:
    """All that there is, with the networks of the cloud if one is named."""
    found = driver(site).survey()
    if not names_cloud(site):
        return found
    from pipeline.cluster.openstack import OpenStack

    cloud = OpenStack(head_site(site).cloud).survey()
    return State({**found.objects, **cloud.objects}, (*found.notes, *cloud.notes))


def _unkept(state: State, site: Site) -> frozenset[Kind]:
    """Kinds of which the cluster manager has names, and keeps nothing."""
    return frozenset(ref.kind for ref in state.objects) - driver(site).kinds - CLOUDS


def _kernel_parameters(state: State, site: Site) -> dict[str, tuple[str, ...]]:
    """Those of the recipes that images are named like; loading appends them."""
    known = recipe_names(site)
    names = [ref.name for ref in state.objects if ref.kind == "image" and ref.name in known]
    try:
        return {recipe.name: recipe.kernel_parameters for recipe in load_recipes(names, site)}
    except UsageError:
        return {}  # loading the file tells what is wrong with them


def _write(place: Path, written: str) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place_of(place), written.encode())
    except OSError as error:
        said = f"the cluster file cannot be written: {error.strerror or error}"
        raise PipelineError(said, where=str(place)) from None


def _tried(name: str, site: Site, place: Path, state: State, written: str) -> Imported:
    """Load what was ``written``, and plan it with what was read."""
    try:
        cluster = without_cloud(site, load_file(name, place, site))
        opened = keepers(site, cluster)
        opened.refuse_unknown(cluster)
        at_home = msgspec.structs.replace(cluster, file=usual_file(name, site))
        last = renamed.known(site.store, at_home).last
        now = planning.read(cluster, Known(state), last, site.store)
    except UsageError as error:
        return Imported(written, (), (), problems=error.problems)
    return Imported(written, (), (), whole_plan(opened, now.cluster, now.state, now.last).changes)


class Known(msgspec.Struct, frozen=True):
    """A reader that has read everything already."""

    state: State
    trouble: PipelineError | None = None

    def read(self, wanted: Sequence[Wanted]) -> State:
        return State(self.state.objects, own=self.state.own)

    def refuse(self, wanted: Sequence[Wanted], state: State) -> None:
        """What is there can be had."""

    def asked(self, wanted: Iterable[Wanted]) -> tuple[Wanted, ...]:
        return tuple(wanted)


def as_text(name: str, state: State, left_out: Sequence[str], cloud: str, *, asked: bool) -> str:
    """A cluster file that has ``state`` as it is, and the tables of its ``cloud``, if ``asked``."""
    owned = _owned(state)
    named = "".join(comment(f"- {each}") for each in left_out)
    parts = [
        HEADER.format(
            name=text(name),
            cloud="" if asked else NO_CLOUD,
            left_out=f"#\n# Left out:\n{named}" if named else "",
        )
    ]
    parts += _head(owned)
    for ref, found in _of_kind(state, "image"):
        keys: dict[str, Value | None] = {
            "name": ref.name,
            "path": found.get("path"),
            "append_kernel_parameters": found.get("kernel_parameters"),
        }
        parts.append(table("image", keys))
    members = _members(state)
    for ref, found in _of_kind(state, "category"):
        nodes = members.get(ref.name, ())
        keys = {"name": ref.name, "image": found.get("image"), "nodes": folded(nodes) if nodes else None}
        parts.append(table("category", keys))
        parts += _belongings("category", owned.get(str(ref), {}))
    parts += _nodes(state, owned)
    parts += [table("network", _network(ref, found)) for ref, found in _of_kind(state, "network")]
    parts += _interfaces(state)
    parts.append(cloud)
    return "\n".join(part for part in parts if part)


def _of_kind(state: State, kind: Kind) -> list[tuple[Ref, Properties]]:
    return sorted((ref, found) for ref, found in state.objects.items() if ref.kind == kind and not ref.of)


def _owned(state: State) -> dict[str, dict[Ref, Properties]]:
    """What belongs to each owner, in the order in which it was read."""
    owned: dict[str, dict[Ref, Properties]] = {}
    for ref, found in state.objects.items():
        if ref.of:
            owned.setdefault(ref.of, {})[ref] = found
    return owned


def _members(state: State) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for ref, found in state.objects.items():
        if ref.kind == "node" and found.get("category"):
            members.setdefault(str(found["category"]), []).append(ref.name)
    return members


def _head(owned: Mapping[str, Mapping[Ref, Properties]]) -> list[str]:
    return _belongings("head", owned.get(str(HEAD), {}))


def _nodes(state: State, owned: Mapping[str, Mapping[Ref, Properties]]) -> list[str]:
    """``[[node]]``s; those with the same belongings share one."""
    alike: dict[str, list[str]] = {}
    for ref, _ in _of_kind(state, "node"):
        same = "\n".join(_belongings("node", owned.get(str(ref), {})))
        if same:
            alike.setdefault(same, []).append(ref.name)
    return [part for same, names in alike.items() for part in (table("node", {"names": folded(names)}), same)]


def _belongings(owner: str, found: Mapping[Ref, Properties]) -> list[str]:
    """The services and the settings of one owner."""
    parts = [
        table(f"{owner}.service", {"name": ref.name, **properties})
        for ref, properties in found.items()
        if ref.kind == "service"
    ]
    files: dict[str, list[str]] = {}
    for ref, properties in found.items():
        match = SETTING.fullmatch(ref.name) if ref.kind == "setting" else None
        if match:
            how = "set" if properties.get("replaces", True) else "add"
            dotted = ".".join(key(part) for part in (how, match["section"], match["key"]))
            files.setdefault(match["file"], []).append(f"{dotted} = {value(properties.get('value', ''))}\n")
    for path, lines in files.items():
        parts.append(table(f"{owner}.file", {"path": path}) + "".join(lines))
    return parts


def _network(ref: Ref, found: Properties) -> dict[str, Value | None]:
    """An address and its mask become ``cidr``; what the manager has as nothing is left out."""
    keys: dict[str, Value | None] = {"name": ref.name}
    base, bits = found.get("base_address"), found.get("netmask_bits")
    if base and bits and base != "0.0.0.0":
        keys["cidr"] = f"{base}/{bits}"
    names = (
        "domain",
        "openstack_type",
        "openstack_vlan_range",
        "openstack_physical_network",
        "openstack_shared",
    )
    return {**keys, **{name: found[name] for name in names if found.get(name)}}


def _interfaces(state: State) -> list[str]:
    alike: dict[tuple[str, tuple[tuple[str, Value], ...]], list[str]] = {}
    for ref, found in state.objects.items():
        if ref.kind == "interface":
            alike.setdefault((ref.name, tuple(found.items())), []).append(ref.of.partition("/")[2])
    return [
        table("interface", {"nodes": folded(nodes), "name": name, **dict(found)})
        for (name, found), nodes in alike.items()
    ]
