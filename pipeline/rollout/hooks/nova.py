"""Hypervisors: disabled before, for a reason by which they are known again; guests reported or waited for."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from pipeline.cluster.head import Head
from pipeline.cluster.rollout_written import NovaTable
from pipeline.errors import PipelineError
from pipeline.rollout.hooks.asking import findings, or_wait, side_by_side, some, told
from pipeline.rollout.hooks.clouds import COMPUTE, Cloud, Service, service_of
from pipeline.rollout.hooks.only import Only
from pipeline.rollout.hooks.reason import is_ours
from pipeline.rollout.model import Finding, Node
from pipeline.rollout.parts import Answer

SRIOV = "guests with SR-IOV devices can't be migrated as a rule"


class Nova:
    """Nova's side of a rollout. What somebody else disabled stays disabled."""

    name = "nova"

    def __init__(self, table: NovaTable, head: Head, only: Only, reason: str) -> None:
        self._table = table
        self._cloud = Cloud(table, head)
        self._only = only
        self._reason = reason

    def applies(self, node: Node) -> bool:
        return not node.is_virtual and self._only.has(node)

    def find(self, nodes: Sequence[Node]) -> Sequence[Finding]:
        try:
            services = self._services()
            hosts = _hosts(nodes, services)
            guests = side_by_side(hosts, lambda name: self._cloud.guests(hosts[name].host))
        except PipelineError as error:
            hint = (
                "are the credentials there? openrc of [rollout.nova] is a file of the head node that sets "
                "them, cloud a name in its clouds.yaml"
            )
            return findings(error, "Nova can't be asked", hint)
        if nodes and not hosts:
            return [Finding("warning", f"Nova: none of {len(nodes)} nodes has a {COMPUTE}")]
        return [self._guests(name, found) for name, found in guests.items() if found]

    def _guests(self, name: str, guests: Sequence[str]) -> Finding:
        ends = {
            "report": ("warning", "they go down with it"),
            "wait": ("warning", "it waits until somebody has taken them away"),
            "refuse": ("error", "guests are refused"),
        }
        severity, what = ends[self._table.guests]
        return Finding(
            "error" if severity == "error" else "warning",
            f"guests run on it, {what}: {some(guests)}",
            name,
            f"migrate or stop them; {SRIOV}",
            f"openstack server list --all-projects --host {shlex.quote(name)}",
        )

    def steps(self, node: Node) -> tuple[str, ...]:
        try:
            disabling = self._cloud.disabling(node.name, self._reason)
            enabling = self._cloud.enabling(node.name)
        except PipelineError as error:
            return (f"Nova can't be asked: {told(error)}",)
        guests = {
            "report": "report the guests that are on it",
            "wait": "wait until no guest is on it",
            "refuse": "no guest may be on it",
        }
        back = f"after: wait until its {COMPUTE} is up"
        return (shlex.join(disabling), guests[self._table.guests], back, f"after: {shlex.join(enabling)}")

    def before(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        hosts = _hosts(nodes, self._services())
        return {node.name: Answer("done") for node in nodes} | side_by_side(
            hosts, lambda name: or_wait(lambda: self._before(hosts[name]))
        )

    def _before(self, service: Service) -> Answer:
        guests = self._cloud.guests(service.host) if self._table.guests == "refuse" else ()
        if guests:
            return Answer("no", f"guests run on it: {some(guests)}; {SRIOV}")
        if service.is_enabled:
            self._cloud.disable(service.host, self._reason)
        # After: a guest that was on its way there when it was disabled is among them.
        guests = self._cloud.guests(service.host)
        if guests and self._table.guests == "refuse":
            return Answer("no", f"guests run on it: {some(guests)}; {SRIOV}")
        if guests and self._table.guests == "wait":
            return Answer("wait", f"guests run on it: {some(guests)}")
        notes: tuple[str, ...] = ()
        if not service.is_enabled and not is_ours(service.reason):
            notes = (f"Nova had it disabled already, and it stays so: {service.reason or 'no reason given'}",)
        if guests:
            notes += (f"guests go down with it: {some(guests)}; {SRIOV}",)
        return Answer("done", notes=notes)

    def after(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        hosts = _hosts(nodes, self._services())
        ours = {name: one for name, one in hosts.items() if not one.is_enabled and is_ours(one.reason)}
        return {node.name: Answer("done") for node in nodes} | side_by_side(
            ours, lambda name: or_wait(lambda: self._after(ours[name]))
        )

    def leave(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        services = self._services()
        hosts = _hosts(nodes, services)
        notes = {
            name: (f"it stays disabled in Nova: {one.reason}",)
            for name, one in hosts.items()
            if not one.is_enabled
        }
        return {node.name: Answer("done", notes=notes.get(node.name, ())) for node in nodes}

    def _after(self, service: Service) -> Answer:
        if not service.is_up:
            return Answer("wait", f"its {COMPUTE} is not up; it stays disabled until then")
        self._cloud.enable(service.host)
        return Answer("done")

    def _services(self) -> dict[str, Service]:
        return {service.host: service for service in self._cloud.services()}


def _hosts(nodes: Sequence[Node], services: Mapping[str, Service]) -> dict[str, Service]:
    """Of nodes that have one: their nova-compute."""
    found = {node.name: service_of(node.name, services) for node in nodes}
    return {name: service for name, service in found.items() if service is not None}
