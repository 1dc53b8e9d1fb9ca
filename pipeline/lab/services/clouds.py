"""``openstack``, ``nova`` and ``neutron``: computes and their guests, and the agents on the network."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pipeline.lab.services import state as states
from pipeline.lab.services.options import RefusedError, Words, parse
from pipeline.lab.services.state import Hosts, State
from pipeline.lab.services.switches import Services
from pipeline.lab.services.tables import printed

COMPUTE = "nova-compute"
AGENTS = "agents.json"
"""In the head node's directory, written by whoever runs nodes: ``[{"host", "binary", "alive"}]``."""

TYPES = {
    "neutron-mlnx-agent": "Mellanox plugin agent",
    "neutron-linuxbridge-agent": "Linux bridge agent",
    "neutron-openvswitch-agent": "Open vSwitch agent",
    "neutron-dhcp-agent": "DHCP agent",
    "neutron-l3-agent": "L3 agent",
    "neutron-metadata-agent": "Metadata agent",
}

Row = Mapping[str, Any]


def openstack(directory: str) -> int:
    return states.run(directory, "openstack", partial(_openstack, directory))


def nova(directory: str) -> int:
    return states.run(directory, "nova", _nova)


def neutron(directory: str) -> int:
    return states.run(directory, "neutron", partial(_neutron, directory))


def _openstack(directory: str, argv: Sequence[str], state: State, hosts: Hosts, services: Services) -> str:
    cloud = ""
    words = list(argv)
    if words[:1] == ["--os-cloud"] and len(words) > 1:
        cloud = words[1]
        del words[:2]
    if cloud not in ("", "lab"):
        raise RefusedError(f"Cloud {cloud} was not found.")
    _let_in("openstack", services, bool(cloud or os.environ.get("OS_CLOUD") == "lab"))
    match words:
        case ["compute", "service", "list", *rest]:
            options = parse(
                rest, {"--service": True, "--host": True, "--long": False, **FORMAT}, ALSO
            ).options
            return printed(_computes(state, hosts, services, options, "--service"), options)
        case ["compute", "service", "set", *rest]:
            return _set(state, rest)
        case ["server", "list", *rest]:
            options = parse(
                rest, {"--all-projects": False, "--host": True, "--long": False, **FORMAT}, ALSO
            ).options
            return printed(_guests(state, options), options)
        case ["network", "agent", "list", *rest]:
            options = parse(rest, {**FORMAT, "--host": True}, ALSO).options
            return printed(_agents(directory, options, ("Agent Type", "Host", "Alive", "Binary")), options)
    raise RefusedError(
        f"openstack: '{' '.join(words)}' is not an openstack command. See 'openstack --help'.", 2
    )


FORMAT = {"-f": True, "-c": True}
ALSO = {"--format": "-f", "--column": "-c"}


def _set(state: State, rest: Sequence[str]) -> str:
    words = parse(rest, {"--enable": False, "--disable": False, "--disable-reason": True})
    if len(words.rest) != 2 or ("--enable" in words.options) == ("--disable" in words.options):
        raise RefusedError("openstack compute service set: error: the following arguments are required", 2)
    if "--disable-reason" in words.options and "--disable" not in words.options:
        raise RefusedError("Cannot specify option --disable-reason without --disable specified.")
    _switch(state, words, "--disable" in words.options, words.options.get("--disable-reason", ""))
    return ""


def _nova(argv: Sequence[str], state: State, hosts: Hosts, services: Services) -> str:
    _let_in("nova", services, False)
    match list(argv):
        case ["service-list", *rest]:
            options = parse(rest, {"--host": True, "--binary": True}).options
            return printed(_computes(state, hosts, services, {**options, "--long": ""}, "--binary"), {})
        case ["service-disable", *rest]:
            words = parse(rest, {"--reason": True})
            return printed([_switch(state, words, True, words.options.get("--reason", ""))], {})
        case ["service-enable", *rest]:
            return printed([_switch(state, parse(rest, {}), False, "")], {})
        case ["list", *rest]:
            words = parse(rest, {"--all-tenants": True, "--host": True})
            rows = _guests(state, words.options)
            return printed(
                [{"ID": row["ID"], "Name": row["Name"], "Status": row["Status"]} for row in rows], {}
            )
    raise RefusedError(f"error: argument <subcommand>: invalid choice: u'{' '.join(argv)}'", 2)


def _switch(state: State, words: Words, disabled: bool, reason: str) -> Row:
    host, binary = words.rest if len(words.rest) == 2 else ("", "")
    if host not in state["computes"] or binary != COMPUTE:
        raise RefusedError(f"ERROR: Could not find binary {binary} on host {host}. (HTTP 404)")
    state["computes"][host] = {"disabled": disabled, "reason": reason if disabled else ""}
    status = {"Status": "disabled" if disabled else "enabled"}
    return {"Host": host, "Binary": binary, **status, **({"Disabled Reason": reason} if disabled else {})}


def _computes(
    state: State, hosts: Hosts, services: Services, options: Mapping[str, str], binary: str
) -> list[Row]:
    if options.get(binary, COMPUTE) != COMPUTE:
        return []
    rows: list[Row] = []
    for number, (host, one) in enumerate(sorted(state["computes"].items()), start=1):
        if options.get("--host", host) != host:
            continue
        row = {
            "ID": number,
            "Binary": COMPUTE,
            "Host": host,
            "Zone": "nova",
            "Status": "disabled" if one["disabled"] else "enabled",
            "State": "up" if hosts.is_up(host) and host not in services.stubborn else "down",
            "Updated At": "2014-10-17T09:26:11.000000",
        }
        rows.append({**row, "Disabled Reason": one["reason"] or None} if "--long" in options else row)
    return rows


def _guests(state: State, options: Mapping[str, str]) -> list[Row]:
    if "--all-projects" not in options and "--all-tenants" not in options:
        return []
    return [
        {"ID": one["id"], "Name": one["name"], "Status": one["status"], "Networks": "ibnetwork=192.168.80.11"}
        for one in state["guests"]
        if options.get("--host", one["host"]) == one["host"]
    ]


def _neutron(directory: str, argv: Sequence[str], state: State, hosts: Hosts, services: Services) -> str:
    _let_in("neutron", services, False)
    if list(argv[:1]) != ["agent-list"]:
        raise RefusedError(f"Unknown command {list(argv)!r}", 2)
    options = parse(argv[1:], {**FORMAT, "--host": True}, ALSO).options
    names = ("agent_type", "host", "alive", "binary")
    rows = _agents(directory, options, names)
    if options.get("-f", "table") == "table":
        rows = [{**row, "alive": ":-)" if row["alive"] else "xxx"} for row in rows]
    return printed(rows, options)


def _agents(directory: str, options: Mapping[str, str], names: Sequence[str]) -> list[Row]:
    """By host and kind, with ids that stay the same."""
    try:
        with open(f"{directory}/{AGENTS}") as file:
            known = json.load(file)
    except FileNotFoundError:
        known = []
    kind, host, alive, binary = names
    is_old = kind == "agent_type"
    return [
        {
            "id" if is_old else "ID": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{one['binary']}.{one['host']}")),
            kind: TYPES.get(one["binary"], one["binary"]),
            host: one["host"],
            alive: bool(one["alive"]),
            "admin_state_up" if is_old else "State": True,
            binary: one["binary"],
        }
        for one in sorted(known, key=lambda one: (one["host"], one["binary"]))
        if options.get("--host", one["host"]) == one["host"]
    ]


def _let_in(program: str, services: Services, has_cloud: bool) -> None:
    if program in services.silent:
        raise RefusedError(
            "Unable to establish connection to http://masterdoop:8774/v2.1: Connection refused"
        )
    known = has_cloud or (os.environ.get("OS_AUTH_URL") and os.environ.get("OS_PASSWORD"))
    if services.credentials and not known:
        raise RefusedError(
            "Missing value auth-url required for auth plugin password"
            if program == "openstack"
            else "ERROR (CommandError): You must provide a username via --os-username or env[OS_USERNAME]"
        )
