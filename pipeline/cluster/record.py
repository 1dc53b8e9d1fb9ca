"""What was applied last, so that a change made by hand can be told from one that the file asks for."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pipeline.cluster.added import NOTHING, WORDS, Added
from pipeline.cluster.cloning import Making, origins
from pipeline.cluster.compare import ABSENT, PROPERTY, Applied, asked, values
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Change, Properties, Ref, State, Value, Wanted, members
from pipeline.cluster.rolled import FOLDER
from pipeline.errors import PipelineError
from pipeline.store.filesystem import write_whole

NAME = re.compile(
    r"(?:image|network|os-network)/[^/]+|os-network/[^/]+/os-subnet/.+"
    r"|(?:head|category|node)/[^/]+(?:/(?:interface|service|setting|file)/.+)?",
    re.DOTALL,
)
"""How an object is called in it."""


class Of(msgspec.Struct, frozen=True):
    """What a record is of: the cluster's ``file``, and the ``head`` node with the ``role`` that it had."""

    file: str = ""
    head: str = ""
    role: str = ""


class Record(msgspec.Struct, frozen=True):
    """``applied``: what was asked of each object and was true afterwards; ``when`` (seconds since 1970).

    ``restarts`` are services that an apply was to restart and has not: it was killed, or something failed.
    The cluster manager itself is among them where it may have been to be restarted.
    ``builds`` are nodes whose overlays it was to build, in the same way. ``added`` is what may be taken back;
    a record of before this was kept has none. ``making`` are clones that an apply was making and has not seen
    finished: they are still to get what the file says of what they are cloned from. ``begun`` is what a
    cluster manager was making, by the manager's names: see ``begun.Begun``. ``of`` is what it is of, and
    ``took`` are names that its cluster had before. ``left`` are objects that an import of this name has left
    out: whoever has put them there, they are not taken back.
    """

    when: float = 0.0
    restarts: tuple[str, ...] = ()
    builds: tuple[str, ...] = ()
    applied: Mapping[str, Mapping[str, str | bool | int | tuple[str, ...]]] = {}
    added: Added = NOTHING
    making: Mapping[str, tuple[str, ...]] = {}
    begun: tuple[str, ...] = ()
    of: Of = Of()
    took: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether nothing was applied yet."""
        return msgspec.structs.replace(self, left=()) == Record()


def of(cluster: Cluster) -> Of:
    """What a record that is kept now is of."""
    return Of(str(cluster.file), cluster.head, cluster.role)


def file_of(store: Path, cluster: str) -> Path:
    """Where the record of this cluster is, if there is one."""
    return store / FOLDER / f"{cluster}.json"


def load(store: Path, cluster: str) -> Record:
    """The record of this cluster; an empty one when nothing was applied yet.

    One that cannot be read is told: only from it is known what may be taken back, and what is owed.
    """
    file = file_of(store, cluster)
    try:
        found = msgspec.json.decode(file.read_bytes(), type=Record)
        _check(found)
        return found
    except FileNotFoundError:
        return Record()
    except (msgspec.DecodeError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise PipelineError(
            f"what was applied last cannot be read: {why}",
            where=str(file),
            hint="put back a copy; without it what applies have added stays when it leaves the cluster file, "
            "restarts and builds that are owed are not made, and changes made by hand are told as new ones",
            command=f"mv {file} {file}.broken",
        ) from None


def since_rolled(last: Record, cluster: Cluster, versions: Collection[str] = ()) -> Record:
    """``last`` as if applies had written to the images that rollouts have made, as they have to the file's.

    They were cloned from these. Of one that nobody has any more nothing is told. ``versions`` are images of
    versions that are there: what an apply does not write to now had nothing put into it since it was made.
    """
    made = {Ref("image", name): str(Ref("image", image)) for name, image in cluster.made.items()}
    items = {str(item.ref): item for item in cluster.wanted if item.ref.kind == "image"}
    left = {*last.added.made} - items.keys()
    applied: dict[str, Properties] = {name: of for name, of in last.applied.items() if name not in left}
    put: dict[str, Properties] = dict(last.added.put)
    for ref, image in made.items():
        name = str(ref)
        own = cluster.appended.get(cluster.made[ref.name], ())
        passed_over = name in last.added.made and name not in applied
        known = () if passed_over else _words(applied, image)
        words = tuple(
            word for word in _asked(items, name) if word in known or _is_own(items[name], word, own)
        )
        if words and name not in applied:
            applied[name] = {WORDS: words}
        seen = name in last.added.made
        gone = [word for word in _words(put, image) if not (seen and word in _asked(items, image))]
        if mine := tuple(dict.fromkeys((*_words(put, name), *gone))):
            put[name] = {WORDS: mine}
    there = [name for name in sorted(str(Ref("image", version)) for version in versions) if name not in put]
    ours = (*last.added.made, *map(str, made), *(name for name in there if name not in applied))
    said = items.keys() - {*map(str, made)}
    both = tuple(dict.fromkeys(name for name in ours if name not in said))
    added = msgspec.structs.replace(last.added, put=put, made=both)
    return msgspec.structs.replace(last, applied=applied, added=added)


def _words(of: Applied, name: str) -> tuple[str, ...]:
    return members(of.get(name, ABSENT).get(WORDS))


def _asked(items: Mapping[str, Wanted], name: str) -> tuple[str, ...]:
    return items[name].append.get(WORDS[1:], ()) if name in items else ()


def _is_own(item: Wanted, word: str, said: Collection[str]) -> bool:
    """Whether a kernel parameter is the version's, and not only ``said`` by the file."""
    return bool(item.version) and word not in said


def _check(record: Record) -> None:
    """Raise ``msgspec.DecodeError`` for what no apply has written."""
    added = record.added
    owed = (*record.restarts, *record.builds, *record.begun)
    clones = (*record.making, *(name for chain in record.making.values() for name in chain))
    names = (
        *record.applied,
        *owed,
        *clones,
        *added.put,
        *added.before,
        *added.lists,
        *added.made,
        *record.left,
    )
    wrong = [name for name in names if not NAME.fullmatch(name)]
    wrong += [
        f"{name}: {key}"
        for name, properties in (*record.applied.items(), *added.put.items())
        for key, value in properties.items()
        if key.startswith("+") and not isinstance(value, tuple)
    ]
    if wrong:
        raise msgspec.DecodeError(f"{wrong[0]!r} is nothing that was applied")


def now_applied(
    wanted: Iterable[Wanted], state: State, before: Applied, added: Added
) -> dict[str, dict[str, Value]]:
    """What to keep: properties that ``state``, read back, has as wanted; the others as they were kept.

    So is a setting that nobody wants any more, as long as it is to be taken back.
    """
    wanted = tuple(wanted)
    there = added.put.keys() - {str(item.ref) for item in wanted}
    kept: dict[str, dict[str, Value]] = {
        name: dict(before[name]) for name in before if name in there and "/setting/" in name
    }
    for item in wanted:
        here = state.objects.get(item.ref, {})
        old, put = before.get(str(item.ref), {}), added.put.get(str(item.ref), ABSENT)
        right = {name for name, value in values(item, here, put).items() if here.get(name) == value}
        found: dict[str, Value] = {}
        for name, value in asked(item).items():
            plain = name.removeprefix("+")
            if PROPERTY.get(plain, plain) in right:
                found[name] = value
            elif name in old:
                found[name] = old[name]
        if found:
            kept[str(item.ref)] = found
    return kept


def now_making(before: Making, wanted: Iterable[Wanted], state: State) -> dict[str, tuple[str, ...]]:
    """The clones of ``before``, and those that are yet to be made."""
    coming = {name: tuple(map(str, chain)) for name, chain in origins(wanted, state).items()}
    return {**before, **coming}


def still_making(making: Making, left: Iterable[Change]) -> dict[str, tuple[str, ...]]:
    """Those of which something is ``left`` to do."""
    names = {change.ref.of or str(change.ref) for change in left}
    return {name: chain for name, chain in making.items() if name in names}


def save(store: Path, cluster: str, record: Record) -> None:
    """Keep it, by one rename."""
    file = file_of(store, cluster)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(file, msgspec.json.format(msgspec.json.encode(record), indent=1))


def save_begun(store: Path, cluster: str, names: tuple[str, ...]) -> None:
    """Keep what a cluster manager is making, beside all else that is kept."""
    save(store, cluster, msgspec.structs.replace(load(store, cluster), begun=names))


@contextmanager
def applying(store: Path, cluster: str, asked: str = "") -> Iterator[None]:
    """Be the only one that applies this cluster on this machine; the kernel ends it with the process.

    ``asked`` is the cluster that is to be applied, where that is another name of it.
    """
    file = file_of(store, cluster).with_suffix(".lock")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(file, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError(
                f"{cluster} is being applied by another process",
                hint="wait for it; what it changes is then seen by the next plan",
                command=f"pipeline cluster plan {asked or cluster}",
            ) from None
        os.set_inheritable(lock.fileno(), False)
        yield
