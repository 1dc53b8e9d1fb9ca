"""A plan: what an apply would do, and what it was made from. Making one touches nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from pipeline.cluster import addresses, cloning, compare, inherited, leaving
from pipeline.cluster.differing import differences
from pipeline.cluster.heads import refuse_elsewhere
from pipeline.cluster.keepers import Reader
from pipeline.cluster.meaning import meaning
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import HEAD, Change, Kind, Properties, Ref, State, Wanted
from pipeline.cluster.places import at_lines
from pipeline.cluster.record import Record
from pipeline.cluster.roles import in_its_role
from pipeline.errors import PipelineError, Problem, UsageError
from pipeline.nearest import nearest
from pipeline.recipe.findings import positions
from pipeline.regular import place_of
from pipeline.store.filesystem import write_whole

Seen = Mapping[str, Mapping[str, str | bool | int | tuple[str, ...]] | None]
"""The ``str()`` of an object → its properties as they were read; None: it was not there."""

TOP: frozenset[Kind] = frozenset({"image", "category", "node", "network"})
"""Kinds of which everything that there is has been read."""


class Plan(msgspec.Struct, frozen=True):
    """The ``changes`` that make the cluster as its file wants it; none: there is nothing to do.

    ``seen`` is what was there of each object that is wanted, so that a later apply can tell whether somebody
    else has been there in between. ``unasked`` are objects of which nobody could be asked.
    """

    cluster: str
    changes: tuple[Change, ...]
    seen: Seen
    notes: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()


class Kept(msgspec.Struct, frozen=True):
    """A plan in a file."""

    format: int
    plan: Plan


FORMAT = 1


class Now(msgspec.Struct, frozen=True):
    """What a plan is made from: the ``cluster`` as it can be planned, what there is, and what was applied
    ``last``. ``gone`` are categories and images of the file, as ``Meaning`` has them."""

    cluster: Cluster
    state: State
    last: Record
    gone: tuple[tuple[str, str], ...] = ()


def read(cluster: Cluster, keepers: Reader, last: Record, store: Path, leaving: Collection[str] = ()) -> Now:
    """What there is of the cluster, with every name checked that the file takes for granted.

    The cluster comes back as it can be planned: with the images that rollouts have made of its own, with what
    nodes have from their categories, and without what could not be asked (``keepers.trouble``). ``leaving``
    are categories that are about to get other images.
    """
    refuse_elsewhere(store, cluster, last.of)
    last = in_its_role(cluster, last)
    asked = (*_asked(cluster, last), *inherited.members(cluster.wanted))
    state = keepers.read(asked)
    more = inherited.unread(asked, state)
    if more:
        state = keepers.read((*asked, *more))
    found = meaning(store, cluster, state, last, leaving)
    meant, since = found.cluster, found.last
    with at_lines(meant):
        _refuse_unknown(meant, state)
        _refuse_taken(meant, state)
    answered = keepers.asked(meant.wanted)
    refs = {item.ref for item in answered}
    unasked = tuple(item.ref for item in meant.wanted if item.ref not in refs)
    wanted = inherited.with_inherited(answered, state, since.applied, since.added, since.making)
    full = msgspec.structs.replace(meant, wanted=wanted, unasked=(*meant.unasked, *unasked))
    with at_lines(full):
        keepers.refuse(_asked(full, since), state)
    return Now(full, state, since, found.gone)


def read_back(cluster: Cluster, keepers: Reader, last: Record) -> State:
    """What there is now of a cluster that ``read`` gave."""
    asked = _asked(cluster, last)
    state = keepers.read(asked)
    keepers.refuse(asked, state)
    return state


def _asked(cluster: Cluster, last: Record) -> tuple[Wanted, ...]:
    """All that a plan looks at: what is wanted, what that is cloned from, what clones that were not finished
    get, and what is to be taken back."""
    wanted = cluster.wanted
    owed = cloning.owed(wanted, last.making)
    return (*wanted, *compare.sources(wanted), *owed, *_once_wanted(cluster, last))


def _once_wanted(cluster: Cluster, last: Record) -> list[Wanted]:
    """Settings that were applied, and images with what was, that the file no longer has."""
    names = {str(item.ref) for item in cluster.wanted}
    images = [
        Ref("image", name.removeprefix("image/"))
        for name in last.added.put
        if name.startswith("image/")
        if name not in last.added.made
    ]
    settings = [
        Wanted(Ref("setting", setting, of), properties, make=False)
        for name, properties in {**last.added.put, **last.applied}.items()
        if name not in names
        for of, found, setting in [name.partition("/setting/")]
        if found
    ]
    # A note tells what a clone keeps of them.
    settings += [
        Wanted(Ref("setting", item.ref.name, name), item.exact, make=False)
        for name, chain in cloning.origins(cluster.wanted).items()
        for sources in [frozenset(map(str, chain))]
        for item in settings
        if item.ref.of in sources and f"{name}/setting/{item.ref.name}" not in names
    ]
    paths = {ref: last.applied.get(str(ref), {}).get("path") for ref in images if str(ref) not in names}
    bare: Properties = {"kernel_parameters": ()}
    return settings + [
        Wanted(ref, {**bare, "path": path} if path else bare, make=False) for ref, path in paths.items()
    ]


def make(cluster: Cluster, state: State, last: Record) -> Plan:
    """The plan, given what is there and the record of what was applied last."""
    wanted, restarts = cluster.wanted, cluster.restarts
    told = [
        *leaving.notes(cluster, state, last.applied, last.added),
        *inherited.notes(wanted, state, last.added, last.making),
    ]
    return Plan(
        cluster.name,
        compare.changes(wanted, state, last.applied, restarts, last.restarts, last.added, last.making),
        {str(item.ref): state.objects.get(item.ref) for item in _asked(cluster, last)},
        (*cluster.notes, *state.notes, *told),
    )


def _refuse_unknown(cluster: Cluster, state: State) -> None:
    """Raise ``UsageError`` with every name that is neither there nor made by the file."""
    there: dict[Kind, set[str]] = {kind: set() for kind in TOP}
    for ref in (*state.objects, *(item.ref for item in cluster.wanted if item.make)):
        if ref.kind in TOP:
            there[ref.kind].add(ref.name)
    missing: dict[tuple[Kind, str], Wanted] = {}
    for item in cluster.wanted:
        for kind, name in _needs(item, state):
            if kind in TOP and name not in there[kind]:
                missing.setdefault((kind, name), item)
    if missing:
        places = positions(cluster.file, [item.at for item in missing.values()])
        raise UsageError(
            Problem(f'no {kind} "{name}"{nearest(name, there[kind])}', place, _known(kind, there[kind]))
            for ((kind, name), item), place in zip(missing.items(), places, strict=True)
        )


def _refuse_taken(cluster: Cluster, state: State) -> None:
    """Raise ``UsageError`` with every network that is to get addresses of another one."""
    found = addresses.taken(cluster.wanted, state)
    if found:
        places = positions(cluster.file, [at for at, _ in found])
        raise UsageError(
            Problem(problem.message, place, problem.hint)
            for (_, problem), place in zip(found, places, strict=True)
        )


def _known(kind: Kind, names: set[str]) -> str:
    shown = sorted(names)[:12]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"there is: {', '.join(shown) or f'no {kind} at all'}{more}"


def _needs(item: Wanted, state: State) -> list[tuple[Kind, str]]:
    """The objects that must be there, or be made, for this one."""
    ref = item.ref
    found: list[tuple[Kind, str]] = []
    if not item.make:
        found.append((ref.kind, ref.name))
    if item.source and ref not in state.objects:
        found.append((ref.kind, item.source))
    if ref.of and ref.of != str(HEAD):
        kind, _, name = ref.of.partition("/")
        found += [(known, name) for known in TOP if known == kind]
    for prop, kind in (("image", "image"), ("category", "category"), ("network", "network")):
        value = item.exact.get(prop)
        if isinstance(value, str) and value:
            found += [(known, value) for known in TOP if known == kind]
    return found


def keep(plan: Plan, file: Path) -> None:
    """Write the plan to ``file``, for an apply that must do exactly this."""
    # json, not msgspec: bytes of a file that are no UTF-8 stay what they are, as escapes of lone surrogates.
    text = json.dumps(msgspec.to_builtins(Kept(FORMAT, plan)), indent=1)
    try:
        write_whole(place_of(file), text.encode() + b"\n")
    except (OSError, ValueError) as error:  # ValueError: a path without a name, such as /
        why = error.strerror if isinstance(error, OSError) else "it is a directory"
        raise PipelineError(f"the plan cannot be written: {why}", where=str(file)) from None


def kept(file: Path) -> Plan:
    """The plan that was written to ``file``."""
    try:
        found = msgspec.convert(json.loads(file.read_bytes()), Kept)
    except FileNotFoundError:
        raise UsageError("there is no such file", where=str(file)) from None
    except (ValueError, RecursionError, OSError) as error:
        raise UsageError(
            f"this is no plan: {error}", where=str(file), hint="pipeline cluster plan --out FILE writes one"
        ) from None
    if found.format != FORMAT:
        raise UsageError(f"this plan has format {found.format}, known is {FORMAT}", where=str(file))
    return found.plan


def refuse_other(kept: Plan, now: Plan) -> None:
    """Raise ``PipelineError`` with everything that is no longer as the plan ``kept`` saw it."""
    if kept.cluster != now.cluster:
        raise UsageError(f"the plan is for the cluster {kept.cluster}, not for {now.cluster}")
    problems = [
        Problem(said, name)
        for name in (*kept.seen, *(name for name in now.seen if name not in kept.seen))
        for said in differences(kept.seen.get(name), now.seen.get(name))
    ]
    if not problems and _plain(kept) != _plain(now):
        problems = [Problem("the cluster file asks for other changes than when the plan was made")]
    if problems:
        raise PipelineError(
            Problem(
                problem.message,
                problem.where,
                "nothing was changed; somebody has been there since the plan was made: make a new one",
                f"pipeline cluster plan {now.cluster} --out FILE",
            )
            if number == len(problems) - 1
            else problem
            for number, problem in enumerate(problems)
        )


def _plain(plan: Plan) -> list[Change]:
    """Its changes, whoever made them necessary: what was applied before stands in another store maybe."""
    return [msgspec.structs.replace(change, drift=False, at=()) for change in plan.changes]


def named(refs: tuple[Ref, ...]) -> str:
    """Objects of one kind and owner kind as one name: nodes folded to a node set."""
    if len(refs) == 1:
        return str(refs[0])
    from ClusterShell.NodeSet import NodeSet  # 0.05 s: only for many

    first = refs[0]
    if first.of:
        kind, _, _ = first.of.partition("/")
        owners = NodeSet.fromlist([ref.of.partition("/")[2] for ref in refs])
        return f"{kind}/{owners}/{first.kind}/{first.name}"
    return f"{first.kind}/{NodeSet.fromlist([ref.name for ref in refs])}"
