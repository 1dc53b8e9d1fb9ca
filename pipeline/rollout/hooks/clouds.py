"""Asking Nova through its programs on the head node: ``openstack``, or ``nova`` where that is too old."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from pipeline.cluster.head import Head
from pipeline.cluster.rollout_written import NovaTable
from pipeline.errors import MachineError
from pipeline.rollout.hooks.asking import answered, asked, document, not_understood

SOURCED = '. "$0" > /dev/null || exit 1; exec "$@"'
"""For a shell: run a program after a file was sourced."""

COMPUTE = "nova-compute"


class Service(msgspec.Struct, frozen=True):
    """A nova-compute: the host as Nova calls it. ``reason`` is why it is disabled."""

    host: str
    is_enabled: bool
    is_up: bool
    reason: str = ""


class Cloud:
    """Nova. Everything raises ``PipelineError`` when it does not answer."""

    def __init__(self, table: NovaTable, head: Head) -> None:
        self._table = table
        self._head = head
        self._client: Literal["openstack", "nova"] | None = table.client

    def services(self) -> tuple[Service, ...]:
        """Every nova-compute; one call."""
        if self._program() == "openstack":
            argv = self._argv("compute", "service", "list", "--service", COMPUTE, "--long", "-f", "json")
        else:
            argv = self._argv("service-list", "--binary", COMPUTE)
        rows = self._rows(argv)
        try:
            return tuple(
                Service(
                    row["Host"],
                    row["Status"] == "enabled",
                    row["State"] == "up",
                    "" if row.get("Disabled Reason") in (None, "None", "-") else row["Disabled Reason"],
                )
                for row in rows
            )
        except KeyError:
            raise not_understood(self._head, argv, str(rows)) from None

    def guests(self, host: str) -> tuple[str, ...]:
        """The names of the guests on a host, with their states."""
        if self._program() == "openstack":
            argv = self._argv("server", "list", "--all-projects", "--host", host, "-f", "json")
        else:
            argv = self._argv("list", "--all-tenants", "1", "--host", host)
        rows = self._rows(argv)
        try:
            return tuple(f"{row['Name']} ({row['Status']})" for row in rows)
        except KeyError:
            raise not_understood(self._head, argv, str(rows)) from None

    def disable(self, host: str, reason: str) -> None:
        answered(self._head, self.disabling(host, reason))

    def enable(self, host: str) -> None:
        answered(self._head, self.enabling(host))

    def disabling(self, host: str, reason: str) -> tuple[str, ...]:
        """The command that disables it."""
        if self._program() == "openstack":
            words = ("compute", "service", "set", "--disable", "--disable-reason", reason, host, COMPUTE)
            return self._argv(*words)
        return self._argv("service-disable", "--reason", reason, host, COMPUTE)

    def enabling(self, host: str) -> tuple[str, ...]:
        """The command that enables it."""
        if self._program() == "openstack":
            return self._argv("compute", "service", "set", "--enable", host, COMPUTE)
        return self._argv("service-enable", host, COMPUTE)

    def _program(self) -> Literal["openstack", "nova"]:
        """The one that the site says, or the first that is there."""
        if self._client is None:
            found = asked(self._head, ("sh", "-c", "command -v openstack || command -v nova")).out.strip()
            if not found:
                raise MachineError(
                    "there is neither openstack nor nova",
                    where=self._head.label,
                    hint="install python-openstackclient, or say in the site's [head] where programs are",
                )
            self._client = "openstack" if found.endswith("openstack") else "nova"
        return self._client

    def _argv(self, *words: str) -> tuple[str, ...]:
        cloud = ("--os-cloud", self._table.cloud) if self._table.cloud else ()
        argv = (self._program(), *cloud, *words)
        if not self._table.openrc:
            return argv
        root = "" if self._head.address else self._head.root.rstrip("/")
        return ("sh", "-c", SOURCED, f"{root}{self._table.openrc}", *argv)

    def _rows(self, argv: Sequence[str]) -> list[dict[str, str]]:
        text = answered(self._head, argv)
        if self._program() == "nova":
            return table_rows(text)
        rows = document(self._head, argv, text)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise not_understood(self._head, argv, text)
        return [{str(name): str(value) for name, value in row.items()} for row in rows]


def table_rows(text: str) -> list[dict[str, str]]:
    """The rows of a table as old clients draw it, by their headers."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=False)) for row in cells[1:]]


def service_of(node: str, services: Mapping[str, Service]) -> Service | None:
    """The nova-compute of a node, whose host may be called with its domain."""
    if node in services:
        return services[node]
    short = node.partition(".")[0]
    return next((one for host, one in services.items() if host.partition(".")[0] == short), None)
