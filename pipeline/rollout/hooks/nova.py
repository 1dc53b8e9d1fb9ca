"""Hypervisors: disabled before, for a reason by which they are known again; guests reported or waited for."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.cluster.head import Head
from pipeline.cluster.rollout_written import NovaTable
from pipeline.errors import PipelineError
from pipeline.rollout.hooks.asking import findings, or_wait, side_by_side, some, told
from pipeline.rollout.hooks.clouds import COMPUTE, Cloud, Service, service_of
from pipeline.rollout.hooks.kept import Kept
from pipeline.rollout.hooks.only import Only
from pipeline.rollout.hooks.reason import is_ours
from pipeline.rollout.model import Finding, Node
from pipeline.rollout.parts import Answer

SRIOV = "guests with SR-IOV devices can't be migrated as a rule"


class Nova:
    """Nova's side of a rollout; ``folder`` is where it notes which hosts it disabled. What somebody else
    disabled stays disabled."""

    name = "nova"

    def __init__(self, table: NovaTable, head: Head, only: Only, reason: str, folder: Path) -> None:
        self._table = table
        self._cloud = Cloud(table, head)
        self._only = only
        self._reason = reason
        self._kept = Kept(folder / "nova.json")

    def applies(self, node: Node) -> bool:
        return (not node.is_virtual and self._only.has(node)) or self._kept.had(node.name)

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
            one = len(nodes) == 1
            what = f"the node has no {COMPUTE}" if one else f"none of {len(nodes)} nodes has a {COMPUTE}"
            return [Finding("warning", f"Nova: {what}", nodes[0].name if one else "")]
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
        hosts, begun = _hosts(nodes, self._services()), self._kept.read()
        return self._unlisted(nodes) | side_by_side(
            hosts, lambda name: or_wait(lambda: self._before(name, hosts[name], name in begun))
        )

    def _unlisted(self, nodes: Sequence[Node]) -> dict[str, Answer]:
        """What holds of nodes if Nova doesn't tell of them: they have no compute, or it told only half."""
        begun = self._kept.read()
        why = (
            f"Nova doesn't list its {COMPUTE}, and a rollout has disabled it (if Nova has it no more, "
            f"take it out of {self._kept.file})"
        )
        return {node.name: Answer("wait", why) if node.name in begun else Answer("done") for node in nodes}

    def _before(self, name: str, service: Service, is_noted: bool) -> Answer:
        guests = self._cloud.guests(service.host) if self._table.guests == "refuse" else ()
        if guests:
            return Answer("no", f"guests run on it: {some(guests)}; {SRIOV}")
        if service.is_enabled:
            self._kept.put({name: {}})
            # Stopped here: it is not disabled, and that is seen by whoever goes on.
            self._cloud.disable(service.host, self._reason)
        # After: a guest that was on its way there when it was disabled is among them.
        guests = self._cloud.guests(service.host)
        if guests and self._table.guests == "refuse":
            return Answer("no", f"guests run on it: {some(guests)}; {SRIOV}")
        if guests and self._table.guests == "wait":
            return Answer("wait", f"guests run on it: {some(guests)}")
        notes: tuple[str, ...] = ()
        if not service.is_enabled and not _is_by_us(service, is_noted):
            notes = (self._stays(service),)
        if guests:
            notes += (f"guests go down with it: {some(guests)}; {SRIOV}",)
        return Answer("done", notes=notes)

    def after(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        hosts, begun = _hosts(nodes, self._services()), self._kept.read()
        answers = self._unlisted(nodes) | side_by_side(
            hosts, lambda name: or_wait(lambda: self._after(hosts[name], name in begun))
        )
        ended = self._kept.read().keys() & {name for name, one in answers.items() if one.state == "done"}
        if ended:
            self._kept.put(dict.fromkeys(ended))
        return answers

    def leave(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        services = self._services()
        hosts = _hosts(nodes, services)
        notes = {
            name: (f"it stays disabled in Nova: {one.reason}",)
            for name, one in hosts.items()
            if not one.is_enabled
        }
        return {node.name: Answer("done", notes=notes.get(node.name, ())) for node in nodes}

    def _after(self, service: Service, is_noted: bool) -> Answer:
        if service.is_enabled:
            return Answer("done")
        if not _is_by_us(service, is_noted):
            return Answer("done", notes=(self._stays(service),))
        if not service.is_up:
            return Answer("wait", f"its {COMPUTE} is not up; it stays disabled until then")
        self._cloud.enable(service.host)
        return Answer("done")

    def _stays(self, service: Service) -> str:
        who = (
            f"by a rollout that is not in {self._kept.file}"
            if is_ours(service.reason)
            else "not by a rollout"
        )
        return f"Nova has it disabled, {who}, and it stays so: {service.reason or 'no reason given'}"

    def _services(self) -> dict[str, Service]:
        return {service.host: service for service in self._cloud.services()}


def _is_by_us(service: Service, is_noted: bool) -> bool:
    """Whether it was a rollout of these that disabled it; another store's has the same numbers."""
    return is_noted and is_ours(service.reason)


def _hosts(nodes: Sequence[Node], services: Mapping[str, Service]) -> dict[str, Service]:
    """Of nodes that have one: their nova-compute."""
    found = {node.name: service_of(node.name, services) for node in nodes}
    return {name: service for name, service in found.items() if service is not None}
