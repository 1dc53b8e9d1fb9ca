"""What a cluster is made of, in words that no cluster manager owns: plain data for planning and for drivers.

An object is named by a ``Ref``; its properties are strings, booleans, whole numbers or tuples of strings.

========== ====================== ==================================================================
kind       belongs to             properties
========== ====================== ==================================================================
image      nothing                ``path`` (str, on the head node), ``kernel_parameters`` (tuple, in order)
category   nothing                ``image`` (str, the image's name)
node       nothing                ``category`` (str); nodes are never made or removed
network    nothing                ``base_address``, ``broadcast_address``, ``domain`` (str),
                                  ``netmask_bits`` (int), ``openstack_type``, ``openstack_vlan_range``
                                  (``1:10``), ``openstack_physical_network`` (str), ``openstack_shared``
interface  node                   ``type`` (str: physical), ``dhcp`` (bool), ``network`` (str)
service    category, node, head   ``autostart``, ``monitored``, ``running`` (bool)
setting    category, node, head   named ``FILE[SECTION]KEY``: ``value`` (str), ``replaces`` (bool: whether
                                  what the key had before is taken out first)
file       head                   named by its path: ``content`` (str), ``mode`` (str, octal), ``owner`` (str)
os-network nothing                ``type``, ``physical_network`` (str), ``segment`` (int), ``shared``,
                                  ``external`` (bool)
os-subnet  os-network             ``cidr`` (str)
========== ====================== ==================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from pipeline.recipe.lines import KeyPath

Kind = Literal[
    "head",
    "image",
    "category",
    "node",
    "network",
    "interface",
    "service",
    "setting",
    "file",
    "os-network",
    "os-subnet",
]

Action = Literal["clone", "add", "set", "remove", "restart", "build"]

Value = str | bool | int | tuple[str, ...]


def members(value: Value | None) -> tuple[str, ...]:
    """Those of a property that has several; none of any other."""
    return value if isinstance(value, tuple) else ()


Properties = Mapping[str, Value]


class Ref(msgspec.Struct, frozen=True, order=True, gc=False):
    """Which object: its kind and name, and for one that belongs to another, ``of``: the owner's ``str()``."""

    kind: Kind
    name: str
    of: str = ""

    def __str__(self) -> str:
        """``node/node003/setting//etc/x.ini[a]b``: unique, and what people read."""
        own = f"{self.kind}/{self.name}"
        return f"{self.of}/{own}" if self.of else own


HEAD = Ref("head", "master")
"""The head node, by the name that it has for everybody."""


MEMBERS = "/members[file]key"
"""The name of a setting that nobody has: asked for of a category, the lists of settings that nodes in it have
themselves are read."""


class Wanted(msgspec.Struct, frozen=True):
    """An object as the cluster file wants it.

    ``exact`` are properties that must have this value; ``append`` are properties of which these members must
    be there, in this order behind what is there already. A property that is not named is left alone.
    ``source`` is the object of the same kind that it is cloned from when it isn't there; without one it is
    added. ``make`` says whether it may be made at all: a node that isn't there is a mistake. ``at`` is where
    the cluster file says it, ``ats`` where it says each property, if elsewhere. ``version`` is what
    `pipeline publish` is told for an image whose path is that of a published version: nothing else makes it.
    So it is for a category that has, by a rollout, the image that was made for a version. ``theirs`` is of a
    setting that the file does not say: the owner in whose list somebody has put it, and whose list this one's
    is to replace.
    """

    ref: Ref
    exact: Properties = {}
    append: Mapping[str, tuple[str, ...]] = {}
    source: str = ""
    make: bool = True
    at: KeyPath = ()
    ats: Mapping[str, KeyPath] = {}
    version: str = ""
    theirs: str = ""

    def place(self, name: str) -> KeyPath:
        """Where the property ``name`` is said."""
        return self.ats.get(name, self.at)


class State(msgspec.Struct, frozen=True):
    """What was read: each object that was asked for and is there. One that is missing here is not there.

    All images, categories, networks and nodes are among them, whether asked for or not, so that an unknown
    name can be told with the nearest one. ``notes`` are for the administrator: what this manager can't do and
    what is done instead. ``older`` are objects that have an earlier version of an image: it was published
    anew since, and nobody changed them by hand. ``lists`` are owners that have a list of settings, and of
    which ``objects`` may have none: it is empty; as their ``str()``. ``own`` are images that nodes have
    themselves, whatever their category has, by the names of the nodes. ``entries`` are the lists of settings
    by the ``str()`` of their owners, as a manager has them.
    """

    objects: Mapping[Ref, Properties]
    notes: tuple[str, ...] = ()
    older: frozenset[Ref] = frozenset()
    lists: frozenset[str] = frozenset()
    own: Mapping[str, str] = {}
    entries: Mapping[str, tuple[str, ...]] = {}

    def has_list(self) -> frozenset[str]:
        """Owners that have a list of settings, empty or not."""
        return self.lists | {ref.of for ref in self.objects if ref.kind == "setting"}


class Assignment(msgspec.Struct, frozen=True):
    """A property's new value. ``old`` is None when it has none yet."""

    name: str
    old: Value | None
    new: Value


class Change(msgspec.Struct, frozen=True):
    """One object to be changed.

    ``clone`` makes it from ``source`` and sets, ``add`` makes it and sets, ``set`` sets; ``remove``,
    ``restart`` and ``build`` have no assignments: a setting that the last apply had set and the file no
    longer has, a service whose files change, and a node whose overlays are to be built. ``drift`` says that
    the last apply had set what is wanted, and somebody has changed it since. ``at`` is the place in the
    cluster file. ``with_list`` is of a setting to be removed: its owner got its list from an apply, so when
    nothing is left in that, it goes as well.
    """

    ref: Ref
    action: Action
    assignments: tuple[Assignment, ...] = ()
    source: str = ""
    drift: bool = False
    at: KeyPath = ()
    with_list: bool = False
