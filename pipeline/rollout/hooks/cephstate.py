"""How a Ceph cluster is: ``ceph status``, ``ceph osd dump``, ``tree`` and ``metadata`` of all releases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from pipeline.cluster.head import Head, Ran
from pipeline.rollout.hooks.asking import ODD, answered, asked, document, failed, not_understood, some

CLEAN = "active+clean"
"""With whatever comes behind it: scrubbing, snaptrim, remapped."""

FLAGS = re.compile(r"([\w,]+) flag\(s\) set")
"""``noout,noscrub flag(s) set``, in the summary of OSDMAP_FLAGS and of releases without names of checks."""

OSD_FLAGS = "OSD_FLAGS"
"""The check that tells of flags of single OSDs; which ones they are it doesn't say."""

FORMAT = ("-f", "json")

EINVAL = 22
"""What ceph ends with, among others, for a command that its release doesn't have."""

NO_COMMAND = ("no valid command", "invalid command", "unused arguments")


class Look(msgspec.Struct, frozen=True):
    """``health`` is HEALTH_OK, HEALTH_WARN or HEALTH_ERR; ``checks`` its checks, name (before Luminous the
    text) → text. ``unclean`` counts the placement groups in each state that isn't active+clean. ``known``
    are the numbers of all OSDs; ``up``, ``inside`` and ``noout`` of those that are so, ``everywhere`` are the
    flags of all.
    """

    health: str
    checks: Mapping[str, str]
    unclean: Mapping[str, int]
    known: frozenset[int]
    up: frozenset[int]
    inside: frozenset[int]
    noout: frozenset[int]
    everywhere: frozenset[str]

    def not_whole(self) -> str:
        """Which OSDs are down and which placement groups aren't clean; "" when all is well.

        An OSD that is out holds no data: it may be down.
        """
        down = sorted(self.inside - self.up)
        if down:
            return f"{some([f'osd.{number}' for number in down])} {'is' if len(down) == 1 else 'are'} down"
        if self.unclean:
            states = [f"{count} {state}" for state, count in sorted(self.unclean.items())]
            return f"placement groups are not active+clean: {some(states)}"
        return ""

    def unwell(self, accept: Sequence[str]) -> str:
        """What its health complains of, but for noout and what ``accept`` names; "" for nothing."""
        if self.health == "HEALTH_OK":
            return ""
        left = [
            f"{name}: {text}" if name != text else text
            for name, text in self.checks.items()
            if self.health == "HEALTH_ERR" or not (_is_noout(name, text) or _is_accepted(name, text, accept))
        ]
        return f"{self.health}: {some(left)}" if left or not self.checks else ""


def look(head: Head, program: Sequence[str]) -> Look:
    """How it is now; two calls. Raises ``PipelineError`` when it can't be asked."""
    argv = (*program, "status", *FORMAT)
    text = answered(head, argv)
    try:
        health, checks, unclean = _status(document(head, argv, text))
    except ODD:
        raise not_understood(head, argv, text) from None
    argv = (*program, "osd", "dump", *FORMAT)
    text = answered(head, argv)
    try:
        known, up, inside, noout, everywhere = _dump(document(head, argv, text))
    except ODD:
        raise not_understood(head, argv, text) from None
    return Look(health, checks, unclean, known, up, inside, noout, everywhere)


def osds_of(head: Head, program: Sequence[str] = ("ceph",)) -> dict[str, tuple[int, ...]]:
    """The OSDs of each host; two calls. Raises ``PipelineError`` when it can't be asked.

    A host has those below its name in the CRUSH map, and those that say that they run there: a site may have
    a bucket for each kind of disk. Names are a node's, or its full name with the domain: see ``osds_on``.
    """
    argv = (*program, "osd", "tree", *FORMAT)
    text = answered(head, argv)
    try:
        found = _tree(document(head, argv, text))
    except ODD:
        raise not_understood(head, argv, text) from None
    for host, osds in _running(head, program).items():
        found.setdefault(host, set()).update(osds)
    return {host: tuple(sorted(osds)) for host, osds in found.items() if osds}


def _tree(said: Any) -> dict[str, set[int]]:
    return {
        str(one["name"]): {int(child) for child in one.get("children", ()) if int(child) >= 0}
        for one in said["nodes"]
        if one["type"] == "host"
    }


def _running(head: Head, program: Sequence[str]) -> dict[str, set[int]]:
    """The OSDs by the names of the machines on which they were last started; {}: it can't tell."""
    argv = (*program, "osd", "metadata", *FORMAT)
    ran = asked(head, argv)
    if ran.code and is_unknown(ran):
        return {}
    if ran.code:
        raise failed(head, argv, ran)
    found: dict[str, set[int]] = {}
    try:
        for one in document(head, argv, ran.out):
            if one.get("hostname"):
                found.setdefault(str(one["hostname"]), set()).add(int(one["id"]))
    except ODD:
        raise not_understood(head, argv, ran.out) from None
    return found


def is_unknown(ran: Ran) -> bool:
    """Whether a release doesn't have this command."""
    return ran.code == EINVAL and any(words in ran.err.lower() for words in NO_COMMAND)


def osds_on(node: str, hosts: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The OSDs of a node, whether its hosts are called with a domain or without."""
    short = node.partition(".")[0]
    mine = [osds for host, osds in hosts.items() if host == node or host.partition(".")[0] == short]
    return tuple(sorted({osd for osds in mine for osd in osds}))


def strange_hosts(nodes: Iterable[str], hosts: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Hosts that are no node but are called like one with something behind, and have OSDs of which no node
    is known to have them: host → node."""
    short = {node.partition(".")[0]: node for node in nodes}
    known = {osd for node in short.values() for osd in osds_on(node, hosts)}
    found = {}
    for host, osds in hosts.items():
        begins = [name for name in short if re.match(rf"{re.escape(name)}[-_]", host)]
        if begins and host.partition(".")[0] not in short and not known.issuperset(osds):
            found[host] = short[max(begins, key=len)]
    return found


def _status(said: Any) -> tuple[str, dict[str, str], dict[str, int]]:
    """Luminous has both words of health; the old one says HEALTH_WARN there whatever the health is."""
    health = said["health"]
    word = health.get("status") or health["overall_status"]
    checks = {
        name: str(check.get("summary", {}).get("message", name))
        for name, check in (health.get("checks") or {}).items()
        if check.get("muted") is not True
    }
    if "status" not in health:
        texts = [str(one["summary"]) for one in health.get("summary", ())]
        checks = {text: text for text in texts}
    groups = said["pgmap"]
    counts = {str(one["state_name"]): int(one["count"]) for one in groups.get("pgs_by_state", ())}
    unclean = {
        state: count
        for state, count in counts.items()
        if count and state != CLEAN and not state.startswith(f"{CLEAN}+")
    }
    lacking = int(groups["num_pgs"]) - sum(counts.values())
    return str(word), checks, unclean | ({"unknown": lacking} if lacking > 0 else {})


def _dump(
    said: Any,
) -> tuple[frozenset[int], frozenset[int], frozenset[int], frozenset[int], frozenset[str]]:
    osds = said["osds"]
    return (
        frozenset(int(one["osd"]) for one in osds),
        frozenset(int(one["osd"]) for one in osds if _is_set(one["up"])),
        frozenset(int(one["osd"]) for one in osds if _is_set(one["in"])),
        frozenset(int(one["osd"]) for one in osds if "noout" in one.get("state", ())),
        frozenset(str(said.get("flags", "")).split(",")),
    )


def _is_set(flag: Any) -> bool:
    """0 or 1, or a truth value; any other thing is no answer."""
    if flag not in (0, 1):
        raise ValueError(flag)
    return bool(flag)


def _is_noout(name: str, text: str) -> bool:
    flags = FLAGS.search(text)
    return name == OSD_FLAGS or (flags is not None and set(flags[1].split(",")) == {"noout"})


def _is_accepted(name: str, text: str, accept: Sequence[str]) -> bool:
    return name in accept or (name == text and any(part in text for part in accept))
