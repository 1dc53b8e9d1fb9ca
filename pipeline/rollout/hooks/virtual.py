"""Virtual nodes: what is changed about them counts only for an instance that is made afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.cluster.drivers.base import Driver
from pipeline.cluster.drivers.nodes import NodeManager
from pipeline.cluster.nodesets import folded
from pipeline.cluster.objects import Ref, Wanted
from pipeline.cluster.rollout_written import VirtualTable
from pipeline.errors import PipelineError
from pipeline.rollout.hooks.asking import findings
from pipeline.rollout.model import Finding, Node
from pipeline.rollout.parts import Answer


class Virtual:
    """Instances of virtual nodes; ``driver`` tells whether each has its network interface."""

    name = "virtual"

    def __init__(self, table: VirtualTable, manager: NodeManager, driver: Driver | None) -> None:
        self._table = table
        self._manager = manager
        self._driver = driver
        self._ended: dict[str, str] = {}

    def applies(self, node: Node) -> bool:
        return node.is_virtual

    def find(self, nodes: Sequence[Node]) -> Sequence[Finding]:
        names = [node.name for node in nodes]
        try:
            instances = self._instances(names)
            without = self._without_interface(names)
        except PipelineError as error:
            return findings(error, "virtual nodes can't be asked for")
        told = [
            Finding(
                "error",
                f"it has no interface {self._table.interface}",
                name,
                command="pipeline cluster apply",
            )
            for name in without
        ]
        if names and not self._table.power_on:
            told.append(
                Finding(
                    "error",
                    "virtual nodes have to be started to be verified",
                    folded(names),
                    "write power_on = true in [rollout.virtual], or leave them out",
                )
            )
        for name, instance in instances.items():
            told += self._of_instance(name, instance)
        return told

    def _of_instance(self, name: str, instance: str) -> list[Finding]:
        if instance and self._table.terminate:
            return [Finding("warning", f"its instance {instance} is terminated", name)]
        if instance:
            return [
                Finding(
                    "error",
                    f"it has the instance {instance}, which would keep what it was made with",
                    name,
                    "terminate it, or write terminate = true in [rollout.virtual]",
                )
            ]
        return []

    def steps(self, node: Node) -> tuple[str, ...]:
        end = ("terminate its instance",) if self._table.terminate else ()
        return (*end, "its instance ID must be empty: it is started with a new instance")

    def before(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        instances = self._instances([node.name for node in nodes])
        there = {name: instance for name, instance in instances.items() if instance}
        fresh = {name: one for name, one in there.items() if self._ended.get(name) != one}
        if self._table.terminate and fresh:
            self._manager.terminate(list(fresh))
            self._ended |= fresh  # a node on its way back has another one
        return {name: self._before(instance) for name, instance in instances.items()}

    def _before(self, instance: str) -> Answer:
        if not instance:
            return Answer("done")
        if self._table.terminate:
            return Answer("wait", f"its instance {instance} is being terminated")
        return Answer("no", f"it has the instance {instance}: terminate it")

    def after(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        return {node.name: Answer("done") for node in nodes}

    def leave(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        return {node.name: Answer("done") for node in nodes}

    def _instances(self, names: Sequence[str]) -> dict[str, str]:
        found = self._manager.instances(names)
        return {name: found.get(name, "") for name in names}

    def _without_interface(self, names: Sequence[str]) -> list[str]:
        """The nodes that lack it, by the same reading as ``cluster plan``."""
        if self._driver is None or not self._table.interface:
            return []
        refs = {name: Ref("interface", self._table.interface, f"node/{name}") for name in names}
        there = self._driver.read([Wanted(ref) for ref in refs.values()]).objects
        return [name for name, ref in refs.items() if ref not in there]
