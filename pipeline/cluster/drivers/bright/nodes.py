"""Nodes in motion, through Bright: how they are, what they are installed from, and reboots."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pipeline.cluster.drivers.bright import write as writing
from pipeline.cluster.drivers.bright.imagemaking import drop_begun, make_image
from pipeline.cluster.drivers.bright.nodestates import inherited
from pipeline.cluster.drivers.bright.nodesteps import each, raise_any
from pipeline.cluster.drivers.bright.quote import unsafe_name
from pipeline.cluster.drivers.bright.read import List, tables
from pipeline.cluster.drivers.bright.session import Session
from pipeline.cluster.drivers.bright.steps import Step
from pipeline.cluster.drivers.bright.survey import Reader
from pipeline.cluster.drivers.nodes import NodeStatus, Survey, Sync
from pipeline.cluster.head import Head
from pipeline.cluster.objects import Ref
from pipeline.errors import PipelineError, Problem

AWAY = frozenset({"down", "booting", "installing", "starting", "failed"})
"""Conditions of a node that surely doesn't run what its users have: only such a one loses its power."""

TRIES = 2
"""How often it is set what may not have been set, because the answer was lost."""


class BrightNodes:
    """A `NodeManager` over ``cmsh`` on Bright's head node."""

    name = "Bright Cluster Manager"

    def __init__(self, head: Head) -> None:
        self._session = Session(head)
        self._reader = Reader(self._session)

    def survey(self) -> Survey:
        """Everything; five calls."""
        return self._reader.survey()

    def statuses(self, nodes: Sequence[str]) -> Mapping[str, NodeStatus]:
        """How these nodes are now; one call."""
        return self._reader.statuses(nodes)

    def synced(self, nodes: Sequence[str]) -> Mapping[str, Sync]:
        """The last provisioning of these nodes; one call."""
        return self._reader.synced(nodes)

    def make_image(
        self,
        name: str,
        source: str,
        path: str,
        kernel_parameters: Sequence[str],
        without: Sequence[str] = (),
    ) -> None:
        """Have an image ``name`` at ``path``."""
        make_image(self._session, name, source, path, kernel_parameters, without)

    def drop_begun(self, name: str, path: str) -> None:
        """Take away an image of which only the making was begun."""
        drop_begun(self._session, name, path)

    def point(self, nodes: Sequence[str], image: str, install: str) -> None:
        """Set the nodes' own image and next install mode where they are others; three calls."""
        for word in filter(None, (image, install)):
            if why := unsafe_name(word):
                raise PipelineError(f"{word!r} {why}", where=f"image/{image}")
        here = self._pointed()
        refused = {node: "the manager has no such node" for node in nodes if node not in here}
        left = [node for node in nodes if node in here]
        for _ in range(TRIES):
            lines = {node: self._lines(here[node], image, install) for node in left if node in here}
            todo = {node: typed for node, typed in lines.items() if typed}
            if not todo:
                break
            told = each(self._session, todo)
            refused.update({**told.doubtful, **told.unknown, **told.refused})
            here, left = self._pointed(), list(told.unknown)
        problems = []
        for node in nodes:
            if here.get(node) != (image, install):
                has, mode = here.get(node, ("", ""))
                found = f"it has the image {has or 'of its category'} and next install mode {mode or 'none'}"
                problems.append(Problem(f"{found}: {refused.get(node, 'somebody else set it')}", node))
        if problems:
            raise PipelineError(problems)

    def _pointed(self) -> dict[str, tuple[str, str]]:
        """Each node's own image and next install mode."""
        (rows,) = self._reader.devices(("softwareimage",))
        found = {}
        for row in rows:
            image, is_inherited = inherited(str(row["softwareimage"] or ""))
            found[str(row["hostname"])] = ("" if is_inherited else image, str(row["next"] or ""))
        return found

    def _lines(self, here: tuple[str, str], image: str, install: str) -> tuple[str, ...]:
        """What makes a node that is so have these; nothing if it has."""
        lines = []
        if here[0] != image:
            lines.append(f"set softwareimage {image}" if image else "clear softwareimage")
        if here[1] != install:
            name = self._reader.next
            lines.append(f"set {name} {install}" if install else f"clear {name}")
        return (*lines, "commit") if lines else ()

    def switch(self, category: str, image: str) -> None:
        """Have ``category`` installed from ``image``."""
        ref = Ref("category", category)
        if why := unsafe_name(category) or unsafe_name(image):
            raise PipelineError(f"{category!r} or {image!r} {why}", where=str(ref))
        if self._image_of(category) == image:
            return
        lines = (f"set softwareimage {image}", "commit")
        step = Step("category", category, f"use {category}", lines, "get name", re.escape(category), (ref,))
        writing.run(self._session, [step])
        if (has := self._image_of(category)) != image:
            raise PipelineError(f"it has the image {has!r} and not {image!r}", where=str(ref))

    def _image_of(self, category: str) -> str | None:
        (found,) = tables(self._session, [List("category", ("name", "softwareimage"))])
        return next((str(row["softwareimage"]) for row in found[""] if row["name"] == category), None)

    def reboot(self, nodes: Sequence[str]) -> None:
        """By their power where they are surely not up; else by their own daemon, or not at all.

        Raises ``PipelineError`` with a problem for each node that was refused. Where the answer was lost
        nothing is said: who called looks how the node is.
        """
        how = self.statuses(nodes)
        away = [node for node in nodes if how[node].condition in AWAY]
        told = each(self._session, dict.fromkeys((node for node in nodes if node not in away), ("reboot",)))
        refused = {node: f"{why}; it was {how[node].text}" for node, why in told.refused.items()}
        reset = each(self._session, dict.fromkeys(away, ("power reset",)))
        failed = {**reset.doubtful, **reset.refused}
        # What has no power can't be reset.
        off = each(self._session, dict.fromkeys(failed, ("power on",)))
        for node, why in {**off.doubtful, **off.refused}.items():
            refused[node] = " / ".join(dict.fromkeys((failed[node], why)))
        raise_any(refused, "could not be rebooted")

    def update_provisioners(self, image: str) -> None:
        """Have all provisioners take over the image's directory."""
        ref = Ref("image", image)
        if why := unsafe_name(image):
            raise PipelineError(f"{image!r} {why}", where=str(ref))
        lines = (f"updateprovisioners {image}",)
        step = Step("softwareimage", image, f"use {image}", lines, "get name", re.escape(image), (ref,))
        writing.run(self._session, [step])

    def instances(self, nodes: Sequence[str]) -> Mapping[str, str]:
        """The ids of virtual nodes' instances."""
        return self._reader.instances(nodes)

    def terminate(self, nodes: Sequence[str]) -> None:
        """End the instances of those that have one."""
        there = [node for node, instance in self.instances(nodes).items() if instance]
        told = each(self._session, dict.fromkeys(there, ("terminate",)))
        raise_any({**told.doubtful, **told.refused}, "could not be terminated")

    def power_on(self, nodes: Sequence[str]) -> None:
        """Start virtual nodes."""
        told = each(self._session, dict.fromkeys(nodes, ("power on",)))
        raise_any({**told.doubtful, **told.refused}, "could not be powered on")
