"""What a rollout needs of a cluster manager: how nodes are, from what they are installed, and reboots.

Beside ``drivers.base``: that one is about what a cluster file says, this one about nodes in motion. Whatever
is asked is asked for all nodes at once: the number of calls must not grow with the number of nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal, Protocol

import msgspec

Condition = Literal["up", "down", "booting", "installing", "starting", "failed", "closed", "unknown"]
"""``starting`` is between the installer's end and the node's own daemon (INSTALLER_CALLINGINIT); ``failed``
is the installer's. ``closed`` is whatever an administrator has taken out of the manager's hands."""


class NodeStatus(msgspec.Struct, frozen=True, gc=False):
    """How a node is. ``text`` is what the manager says, with its remarks."""

    condition: Condition
    text: str = ""


class NodeFacts(msgspec.Struct, frozen=True):
    """A node as the manager knows it.

    ``image`` is the one that its next install takes, ``own_image`` what is set at the node itself ("": its
    category's). ``install_mode`` is what a reboot does when ``next_install_mode`` is ""; that one is used
    once. ``is_data_node``: a FULL install waits until somebody confirms it at the console.
    ``roles`` are its own and its category's. ``disk_setup`` is the text of a disk layout of its own ("": its
    category's).
    """

    name: str
    status: NodeStatus
    category: str = ""
    image: str = ""
    own_image: str = ""
    install_mode: str = "AUTO"
    next_install_mode: str = ""
    is_data_node: bool = False
    is_virtual: bool = False
    rack: str = ""
    roles: tuple[str, ...] = ()
    disk_setup: str = ""


class ImageFacts(msgspec.Struct, frozen=True):
    """A software image; ``path`` is its directory on the head node."""

    name: str
    path: str
    is_locked: bool = False


def begun_at(name: str, path: str) -> str:
    """Where an image is that is to have ``path``, until it is whole: see ``NodeManager.make_image``."""
    return str(PurePosixPath(path).with_name(f".{name}.clone"))


class CategoryFacts(msgspec.Struct, frozen=True):
    """A category. ``disk_setup`` is the text of its disk layout ("": the manager's own)."""

    name: str
    image: str = ""
    disk_setup: str = ""


class Survey(msgspec.Struct, frozen=True):
    """All of them, by name. ``provisioners`` are nodes other than the head node that serve images, too."""

    nodes: Mapping[str, NodeFacts]
    images: Mapping[str, ImageFacts]
    categories: Mapping[str, CategoryFacts]
    provisioners: tuple[str, ...] = ()


class Sync(msgspec.Struct, frozen=True, gc=False):
    """A node's last provisioning: the proof of what it has. ``image`` is the image's name, ``mode`` FULL or
    AUTO, ``ended`` when (seconds since 1970, by the manager's clock; 0: never). ``text`` says what went
    wrong. A later provisioning of the same node has a greater ``ended``, in whatever form the manager tells.
    """

    image: str = ""
    mode: str = ""
    ended: float = 0.0
    is_good: bool = False
    text: str = ""


class NodeManager(Protocol):
    """Nodes, through a cluster manager. Errors are those of ``drivers.base.Driver``.

    ``MachineError`` means that the manager can't be reached now: nothing is known about what it did.
    """

    name: str

    def survey(self) -> Survey:
        """Everything; a few calls."""
        ...

    def statuses(self, nodes: Sequence[str]) -> Mapping[str, NodeStatus]:
        """How these nodes are now; one call. A node that the manager doesn't tell of is ``unknown``."""
        ...

    def synced(self, nodes: Sequence[str]) -> Mapping[str, Sync]:
        """The last provisioning of these nodes; one call.

        Of a node that isn't in it nothing is known: the manager has no row for it, or one that is odd.
        """
        ...

    def make_image(
        self,
        name: str,
        source: str,
        path: str,
        kernel_parameters: Sequence[str],
        without: Sequence[str] = (),
    ) -> None:
        """Have an image ``name`` at ``path``, which is there: a clone of ``source``, with these kernel
        parameters appended where they are missing, and ``without`` those of the source. One that is there
        already is checked, not made again.

        Until it is whole it may be at ``begun_at``; the next call goes on with it."""
        ...

    def drop_begun(self, name: str, path: str) -> None:
        """Take away an image that ``make_image`` has only begun. One that has its path already is ended
        instead, and whatever else has this name stays."""
        ...

    def point(self, nodes: Sequence[str], image: str, install: str) -> None:
        """Set the nodes' own image ("": their category's) and next install mode ("": none), and read back.

        Raises ``PipelineError`` with a `Problem` for each node that doesn't have it (``where`` is its name).
        """
        ...

    def switch(self, category: str, image: str) -> None:
        """Have ``category`` installed from ``image``; read back."""
        ...

    def reboot(self, nodes: Sequence[str]) -> None:
        """Begin to reboot these nodes; returns at once. Once more before an install began does no harm.

        Power is only taken from a node that is surely not up. Raises ``PipelineError`` with a `Problem` for
        each node that was refused (``where`` is its name). A node of which the answer says nothing is not
        told: it may reboot or not, and who called looks, and asks for it again.
        """
        ...

    def update_provisioners(self, image: str) -> None:
        """Have all provisioners take over what was changed in the image's directory."""
        ...

    def instances(self, nodes: Sequence[str]) -> Mapping[str, str]:
        """Of virtual nodes: the id of the cloud's instance that each has now, "" for none."""
        ...

    def terminate(self, nodes: Sequence[str]) -> None:
        """End the instances of virtual nodes; returns at once."""
        ...

    def power_on(self, nodes: Sequence[str]) -> None:
        """Start virtual nodes that have no instance; returns at once."""
        ...
