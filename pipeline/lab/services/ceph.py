"""``ceph``: status, health, and what is said and set of OSDs, as each release has it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.lab.services import state as states
from pipeline.lab.services.options import RefusedError, parse
from pipeline.lab.services.osds import Health, health, may_stop, settle_osds
from pipeline.lab.services.state import Hosts, State
from pipeline.lab.services.switches import CEPHS, Services

EINVAL, EBUSY, ENOENT = 22, 16, 2

OPTIONS = {"-f": True, "--connect-timeout": True, "--cluster": True, "--id": True, "--conf": True}
ALSO = {"--format": "-f", "-c": "--conf"}

SINCE = {
    "metadata": "luminous",
    "ok-to-stop": "luminous",
    "add-noout": "luminous",
    "rm-noout": "luminous",
} | {
    "set-group": "nautilus",
    "unset-group": "nautilus",
}

FLAGS = frozenset({"noout", "noup", "nodown", "noin", "nobackfill", "norebalance", "norecover", "noscrub"})


def main(directory: str) -> int:
    return states.run(directory, "ceph", ceph)


def ceph(argv: Sequence[str], state: State, hosts: Hosts, services: Services) -> str:
    now = time.time()
    settle_osds(state, hosts, services, now)
    if "ceph" in services.silent:
        raise RefusedError("[errno 110] error connecting to the cluster", 1)
    try:
        words = parse(argv, {**OPTIONS, "-s": False}, ALSO)
    except RefusedError as error:
        raise RefusedError(f"{error.text}\nError EINVAL: invalid command", EINVAL) from None
    as_json = _format(words.options.get("-f", "plain"))
    call = Call(state, services, now, as_json)
    if "-s" in words.options and not words.rest:
        return call.status()
    match words.rest:
        case ("status",):
            return call.status()
        case ("health", *detail) if detail in ([], ["detail"]):
            return call.health()
        case ("osd", verb, *rest) if verb in OSD and not _is_later(SINCE.get(verb, "icehouse"), services):
            return OSD[verb](call, rest)
    raise _unknown(words.rest)


class Call:
    """One call, with the state as it is by now."""

    def __init__(self, state: State, services: Services, now: float, as_json: bool) -> None:
        self.state = state
        self.services = services
        self.now = now
        self.as_json = as_json

    def status(self) -> str:
        found = health(self.state, self.services, self.now)
        osds = self.state["osds"].values()
        counts = {
            "epoch": 118,
            "num_osds": len(osds),
            "num_up_osds": sum(osd["up"] for osd in osds),
            "num_in_osds": sum(osd["in"] for osd in osds),
        }
        if not self.as_json:
            return (
                f"  cluster:\n    health: {found.word}\n\n  services:\n    osd: {counts['num_osds']} osds: "
                f"{counts['num_up_osds']} up, {counts['num_in_osds']} in\n\n  data:\n    pgs: "
                + "\n         ".join(f"{count} {name}" for name, count in found.groups.items() if count)
            )
        groups = [{"state_name": name, "count": count} for name, count in found.groups.items() if count]
        return json.dumps(
            {
                "fsid": "6a1f0f5e-4c1f-4d0e-9df0-2f3f6d8a9d11",
                "health": _health(found, self.services),
                "osdmap": counts if self.services.ceph == "quincy" else {"osdmap": counts},
                "pgmap": {"pgs_by_state": groups, "num_pgs": sum(found.groups.values())},
            }
        )

    def health(self) -> str:
        found = health(self.state, self.services, self.now)
        if self.as_json:
            return json.dumps(_health(found, self.services))
        return " ".join([found.word, "; ".join(text for _, text in found.checks.values())]).strip()

    def dump(self, rest: list[str]) -> str:
        _none_left(rest)
        flags = [*self.state["flags"], "sortbitwise"]
        osds = [self._osd(number, osd) for number, osd in self.state["osds"].items()]
        if not self.as_json:
            return "\n".join(
                [f"flags {','.join(flags)}", *(f"osd.{one['osd']} {one['state']}" for one in osds)]
            )
        told: dict[str, Any] = {"epoch": 118, "flags": ",".join(flags), "osds": osds}
        if self.services.ceph in ("nautilus", "quincy"):
            told |= {"flags_set": flags, "crush_node_flags": self.state["groups"], "device_class_flags": {}}
        return json.dumps(told)

    def _osd(self, number: str, osd: dict[str, Any]) -> dict[str, Any]:
        words = ["exists", *(["up"] if osd["up"] else []), *(["noout"] if osd["noout"] else [])]
        return {"osd": int(number), "up": int(osd["up"]), "in": int(osd["in"]), "state": words}

    def tree(self, rest: list[str]) -> str:
        _none_left(rest)
        hosts = sorted({_bucket(osd) for osd in self.state["osds"].values()})
        nodes: list[dict[str, Any]] = [
            {"id": -1, "name": "default", "type": "root", "type_id": 10, "children": _ids(hosts)}
        ]
        for at, host in zip(_ids(hosts), hosts, strict=True):
            own = [int(number) for number, osd in self.state["osds"].items() if _bucket(osd) == host]
            nodes.append({"id": at, "name": host, "type": "host", "type_id": 1, "children": own[::-1]})
            for number in own:
                up = "up" if self.state["osds"][str(number)]["up"] else "down"
                nodes.append(
                    {"id": number, "name": f"osd.{number}", "type": "osd", "type_id": 0, "status": up}
                )
        if self.as_json:
            return json.dumps({"nodes": nodes, "stray": []})
        return "\n".join(
            f"{one['id']:>3} {one['type']} {one['name']} {one.get('status', '')}" for one in nodes
        )

    def metadata(self, rest: list[str]) -> str:
        """Of all OSDs: the hosts have a disk for each, from /dev/sdb on; Luminous has another word for it."""
        _none_left(rest)
        key = "bluestore_bdev_dev_node" if self.services.ceph == "luminous" else "devices"
        own: dict[str, int] = {}
        told = []
        for number, osd in self.state["osds"].items():
            place = own[osd["host"]] = own.get(osd["host"], 0) + 1
            disk = f"sd{'abcdefghijklmnopqrstuvwxyz'[place]}"
            told.append(
                {"id": int(number), "hostname": osd["host"], "osd_objectstore": "bluestore", key: disk}
            )
        return json.dumps(told)

    def ok_to_stop(self, rest: list[str]) -> str:
        numbers = self._numbers(rest)
        ok = may_stop(self.state, self.services, numbers, self.now)
        bad = 0 if ok else 37
        why = (
            f"Error EBUSY: unsafe to stop osd(s) at this time ({bad} PGs are or would become offline)"
            if self.services.ceph != "luminous"
            else f"Error EBUSY: {bad} PGs are already too degraded, would become too degraded or might "
            "become unavailable"
        )
        if self.services.ceph == "luminous":
            if not ok:
                raise RefusedError(why, EBUSY)
            return f"OSD(s) {','.join(numbers)} are ok to stop without reducing availability or risking data"
        told = json.dumps(
            {
                "ok_to_stop": ok,
                "osds": [int(number) for number in numbers],
                "num_ok_pgs": 96 - bad,
                "num_not_ok_pgs": bad,
            }
        )
        if not ok:
            raise RefusedError(why, EBUSY, told if self.as_json else "")
        return told

    def flag(self, rest: list[str]) -> str:
        self.state["flags"] = sorted({*self.state["flags"], self._flag(rest)})
        return ""

    def unflag(self, rest: list[str]) -> str:
        self.state["flags"] = [flag for flag in self.state["flags"] if flag != self._flag(rest)]
        return ""

    def _flag(self, rest: list[str]) -> str:
        if len(rest) != 1 or rest[0] not in FLAGS:
            raise _unknown(("osd", "set", *rest))
        return rest[0]

    def group(self, rest: list[str]) -> str:
        return self._grouped(rest, True)

    def ungroup(self, rest: list[str]) -> str:
        return self._grouped(rest, False)

    def _grouped(self, rest: list[str], on: bool) -> str:
        """OSDs by ``osd.N``, and hosts by their names."""
        if len(rest) < 2 or rest[0] != "noout":
            raise _unknown(("osd", "set-group", *rest))
        hosts = {osd["host"] for osd in self.state["osds"].values()}
        numbers = self._numbers([name for name in rest[1:] if name not in hosts])
        for name in hosts & {*rest[1:]}:
            self.state["groups"].pop(name, None)
            if on:
                self.state["groups"][name] = ["noout"]
        return self._each(numbers, on)

    def add(self, rest: list[str]) -> str:
        return self._each(self._numbers(rest), True)

    def remove(self, rest: list[str]) -> str:
        return self._each(self._numbers(rest), False)

    def _each(self, numbers: list[str], on: bool) -> str:
        for number in numbers:
            self.state["osds"][number]["noout"] = on
        return ""

    def _numbers(self, names: list[str]) -> list[str]:
        """``5`` or ``osd.5``."""
        if not names:
            raise _unknown(("osd",))
        numbers = [name.removeprefix("osd.") for name in names]
        for name, number in zip(names, numbers, strict=True):
            if not number.isdigit():
                raise RefusedError(f"Error EINVAL: {name} is not a valid osd id", EINVAL)
            if number not in self.state["osds"]:
                raise RefusedError(f"Error ENOENT: osd.{number} does not exist", ENOENT)
        return numbers


OSD: dict[str, Callable[[Call, list[str]], str]] = {
    "dump": Call.dump,
    "tree": Call.tree,
    "metadata": Call.metadata,
    "ok-to-stop": Call.ok_to_stop,
    "set": Call.flag,
    "unset": Call.unflag,
    "set-group": Call.group,
    "unset-group": Call.ungroup,
    "add-noout": Call.add,
    "rm-noout": Call.remove,
}


def _health(found: Health, services: Services) -> dict[str, Any]:
    """Luminous still has the old word, and it is always HEALTH_WARN there."""
    if services.ceph == "icehouse":
        summary = [{"severity": severity, "summary": text} for severity, text in found.checks.values()]
        return {"overall_status": found.word, "summary": summary, "detail": []}
    checks = {
        name: {"severity": severity, "summary": {"message": text, "count": 1}, "muted": False}
        for name, (severity, text) in found.checks.items()
    }
    old: dict[str, Any] = {"overall_status": "HEALTH_WARN"} if services.ceph == "luminous" else {}
    return {"status": found.word, "checks": checks, **old}


def _bucket(osd: dict[str, Any]) -> str:
    """Below which host of the CRUSH map it is: its own, unless somebody has put it below another name."""
    return str(osd.get("bucket", osd["host"]))


def _ids(hosts: Sequence[str]) -> list[int]:
    return [-2 - at for at in range(len(hosts))]


def _format(name: str) -> bool:
    if name not in ("json", "json-pretty", "plain"):
        raise RefusedError(f"ceph: error: argument -f/--format: invalid choice: '{name}'", EINVAL)
    return name != "plain"


def _is_later(release: str, services: Services) -> bool:
    return CEPHS.index(release) > CEPHS.index(services.ceph)


def _none_left(rest: list[str]) -> None:
    if rest:
        raise RefusedError(
            f"Invalid command: unused arguments: {rest}\nError EINVAL: invalid command", EINVAL
        )


def _unknown(words: Sequence[str]) -> RefusedError:
    return RefusedError(
        "no valid command found; 10 closest matches:\nosd set <key>\nosd unset <key>\n"
        f"Error EINVAL: invalid command{'' if words else ': nothing'}",
        EINVAL,
    )
