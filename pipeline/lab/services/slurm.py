"""``scontrol``, ``sinfo`` and ``squeue``: what they say and refuse was seen with Slurm 22.05."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.lab.head.errors import CommandError
from pipeline.lab.head.nodes import expand
from pipeline.lab.services import state as states
from pipeline.lab.services.options import RefusedError, parse
from pipeline.lab.services.state import Hosts, State
from pipeline.lab.services.switches import Services

SILENT = "Unable to contact slurm controller (connect failure)"
FIELD = re.compile(r"%(\.?\d*)([a-zA-Z])")
REBOOTED = "Node unexpectedly rebooted"

HELD: dict[str, dict[str, Any]] = {
    "drain": {"drain": True},
    "down": {"down": True, "held": "down"},
    "fail": {"held": "fail"},
}
"""What somebody makes of a node; ``held`` stays when it comes back."""


def scontrol(directory: str) -> int:
    return states.run(directory, "scontrol", _scontrol)


def sinfo(directory: str) -> int:
    return states.run(directory, "sinfo", _sinfo)


def squeue(directory: str) -> int:
    return states.run(directory, "squeue", _squeue)


def _scontrol(argv: Sequence[str], state: State, hosts: Hosts, services: Services) -> str:
    _settle("slurm_update error", state, hosts, services)
    if [word.lower() for word in argv[:1]] == ["update"]:
        pairs = (word.partition("=") for word in argv[1:])
        _update(state, {name.lower(): value for name, _, value in pairs}, hosts, services)
        return ""
    if [word.lower() for word in argv[:2]] == ["show", "node"] and len(argv) == 3:
        for name in _names(argv[2], state, "Node {} not found"):
            word = _word(state, hosts, services, name).upper()
            reason = state["slots"][name]["reason"]
            return f"NodeName={name} CPUAlloc=0 CPUTot=16\n   State={word}\n   Reason={reason}"
    raise RefusedError(f"invalid keyword: {' '.join(argv)}")


def _update(state: State, given: Mapping[str, str], hosts: Hosts, services: Services) -> None:
    wrong = given.keys() - {"nodename", "state", "reason"}
    if wrong or "nodename" not in given:
        raise RefusedError(f"Update of this parameter is not supported: {' '.join(sorted(wrong))}")
    names = _names(given["nodename"], state, "slurm_update error: Invalid node name specified")
    reason = given.get("reason", "").strip("\"'")
    match given.get("state", "").lower():
        case "drain" | "down" | "fail" as word:
            if not reason:
                raise RefusedError(
                    "You must specify a reason when DOWNING or DRAINING a node. Request denied"
                )
            for name in names:
                state["slots"][name] |= {**HELD[word], "reason": reason}
        case "resume":
            idle = [name for name in names if not _is_closed(state["slots"][name])]
            for name in names:
                state["slots"][name] |= {"drain": False, "down": False, "held": "", "reason": ""}
            if idle:
                raise RefusedError("slurm_update error: Invalid node state specified")
        case _:
            raise RefusedError("Invalid input: state")


def _sinfo(argv: Sequence[str], state: State, hosts: Hosts, services: Services) -> str:
    _settle("slurm_load_partitions", state, hosts, services)
    takes = {"-h": False, "-a": False, "-N": False, "-n": True, "-o": True}
    also = {"--noheader": "-h", "--all": "-a", "--Node": "-N", "--nodes": "-n", "--format": "-o"}
    options = _parsed("sinfo", argv, takes, also)
    wanted = None if "-n" not in options else set(expand(options["-n"], _no_file))
    lines = [] if "-h" in options else ["NODELIST STATE REASON"]
    for name in sorted(state["slots"]):
        if wanted is None or name in wanted:
            reason = state["slots"][name]["reason"] or "none"
            values = {"N": name, "T": _word(state, hosts, services, name), "E": reason, "P": "all*", "D": "1"}
            lines.append(_formatted("sinfo", options.get("-o", "%N %T %E"), values))
    return "\n".join(lines)


def _squeue(argv: Sequence[str], state: State, hosts: Hosts, services: Services) -> str:
    _settle("slurm_load_jobs error", state, hosts, services)
    takes = {"-h": False, "-w": True, "-o": True, "-t": True}
    also = {"--noheader": "-h", "--nodelist": "-w", "--format": "-o", "--states": "-t"}
    options = _parsed("squeue", argv, takes, also)
    wanted = None
    if "-w" in options:
        wanted = set(_names(options["-w"], state, "squeue: error: Invalid node name {}"))
    lines = [] if "-h" in options else ["JOBID USER STATE NODELIST"]
    for job in state["jobs"]:
        if wanted is None or wanted & {*job["nodes"]}:
            values = {"i": job["id"], "u": job["user"], "T": "RUNNING", "N": ",".join(job["nodes"])}
            lines.append(_formatted("squeue", options.get("-o", "%i %u %T %N"), values))
    return "\n".join(lines)


def _settle(program: str, state: State, hosts: Hosts, services: Services) -> None:
    """Jobs end; a node that went away loses its jobs and is down; one that booted says so."""
    if "slurm" in services.silent:
        raise RefusedError(f"{program}: {SILENT}")
    now = time.time()
    for name, slot in state["slots"].items():
        boots = hosts.boots.get(name, 0)
        rebooted = boots != slot["boots"]
        if not _answers(name, hosts, services):
            slot |= {"down": True, "away": True}
        elif slot["away"] or rebooted:
            _back(slot, services, rebooted)
        if rebooted or not _answers(name, hosts, services):
            state["jobs"] = [job for job in state["jobs"] if name not in job["nodes"]]
        if _answers(name, hosts, services):
            slot["boots"] = boots
    state["jobs"] = [job for job in state["jobs"] if not job["ends"] or job["ends"] > now]


def _back(slot: dict[str, Any], services: Services, rebooted: bool) -> None:
    """A drained node stays as it was; another one needs somebody unless ReturnToService is 2."""
    slot["away"] = False
    if slot.get("held"):
        return
    slot["down"] = rebooted and not slot["drain"] and services.returns != 2
    if slot["down"]:
        slot["reason"] = REBOOTED


def _is_closed(slot: Mapping[str, Any]) -> bool:
    return bool(slot["drain"] or slot["down"] or slot.get("held"))


def _answers(name: str, hosts: Hosts, services: Services) -> bool:
    return hosts.is_up(name) and name not in services.stubborn


def _word(state: State, hosts: Hosts, services: Services, name: str) -> str:
    slot = state["slots"][name]
    busy = any(name in job["nodes"] for job in state["jobs"])
    if slot["drain"]:
        word = "draining" if busy else "drained"
    elif slot.get("held") == "fail":
        word = "failing" if busy else "fail"
    elif slot["down"]:
        word = "down"
    else:
        word = "allocated" if busy else "idle"
    return word if _answers(name, hosts, services) else f"{word}*"


def _names(text: str, state: State, refusal: str) -> list[str]:
    """The nodes of a list; ``refusal`` is what is said of one that is none of Slurm's."""
    try:
        names = list(expand(text, _no_file))
    except CommandError:
        raise RefusedError(refusal.format(text)) from None
    for name in names:
        if name not in state["slots"]:
            raise RefusedError(refusal.format(name))
    return names


def _no_file(path: str) -> str:
    raise CommandError(f"no such file: {path}")


def _parsed(
    program: str, argv: Sequence[str], takes: Mapping[str, bool], also: Mapping[str, str]
) -> Mapping[str, str]:
    try:
        words = parse(argv, takes, also)
    except RefusedError as error:
        raise RefusedError(
            f'{program}: unrecognized option\nTry "{program} --help" for more information'
        ) from error
    if words.rest:
        raise RefusedError(f"{program}: error: Unrecognized option: {words.rest[0]}")
    return words.options


def _formatted(program: str, text: str, values: Mapping[str, str]) -> str:
    for _, letter in FIELD.findall(text):
        if letter not in values:
            raise RefusedError(f"{program}: error: Invalid job format specification: {letter}")
    return FIELD.sub(lambda field: str(values[field[2]]), text)
