"""The OSDs as their hosts are, and what that makes of the data: two copies of each group, on two hosts."""

from __future__ import annotations

from typing import Any, NamedTuple

from pipeline.lab.services.state import Hosts, State
from pipeline.lab.services.switches import Services

GROUPS = 96

OSDS_HAVE = "OSDs or CRUSH {nodes, device-classes} have {NOUP,NODOWN,NOIN,NOOUT} flags set"


class Health(NamedTuple):
    """``groups`` counts placement groups by state; ``checks`` are name → (severity, text)."""

    groups: dict[str, int]
    checks: dict[str, tuple[str, str]]

    @property
    def word(self) -> str:
        severities = {severity for severity, _ in self.checks.values()}
        worst = [word for word in ("HEALTH_ERR", "HEALTH_WARN") if word in severities]
        return worst[0] if worst else "HEALTH_OK"


def settle_osds(state: State, hosts: Hosts, services: Services, now: float) -> None:
    """Bring OSDs to where they are by now; one whose host booted unseen was down meanwhile."""
    for number, osd in state["osds"].items():
        boots = hosts.boots.get(osd["host"], 0)
        is_there = hosts.is_up(osd["host"])
        if not is_there or boots != osd["boots"]:
            osd["was_away"] = True
        stuck = int(number) in services.stuck and osd["was_away"]
        if is_there and not stuck and (not osd["up"] or boots != osd["boots"]):
            osd.update({"up": True, "in": True, "since": now, "was_away": False})
        elif (not is_there or stuck) and osd["up"]:
            osd.update({"up": False, "since": now})
        osd["boots"] = boots
        if not osd["up"] and osd["in"] and now - osd["since"] >= services.out_seconds:
            osd["in"] = has_noout(state, osd)
    state["most_away"] = max(state["most_away"], len(_away(state)))


def has_noout(state: State, osd: dict[str, Any]) -> bool:
    """Whether it stays in although it is down."""
    return "noout" in state["flags"] or osd["noout"] or "noout" in state["groups"].get(osd["host"], ())


def health(state: State, services: Services, now: float) -> Health:
    """How the data is, and what there is to complain of."""
    groups = _groups(state, services, now)
    checks = {
        name: ("HEALTH_ERR" if name in services.errors else "HEALTH_WARN", text)
        for name, text in services.health.items()
    }
    down = [osd for osd in state["osds"].values() if osd["in"] and not osd["up"]]
    if down:
        checks["OSD_DOWN"] = ("HEALTH_WARN", f"{len(down)} osds down")
    if lost := groups.get("down", 0):
        text = f"Reduced data availability: {lost} pgs inactive, {lost} pgs down"
        checks["PG_AVAILABILITY"] = ("HEALTH_ERR", text)
    unclean = sum(count for name, count in groups.items() if not name.startswith("active+clean"))
    if unclean:
        checks["PG_DEGRADED"] = ("HEALTH_WARN", f"Degraded data redundancy: {unclean} pgs degraded")
    if state["flags"]:
        checks["OSDMAP_FLAGS"] = ("HEALTH_WARN", f"{','.join(state['flags'])} flag(s) set")
    flagged = sum(bool(osd["noout"]) for osd in state["osds"].values()) + len(state["groups"])
    if flagged:
        checks["OSD_FLAGS"] = ("HEALTH_WARN", f"{flagged} {OSDS_HAVE}")
    return Health(groups, checks)


def may_stop(state: State, services: Services, numbers: list[str], now: float) -> bool:
    """Whether every placement group stays available without these: no second host, and no copy is behind."""
    groups = _groups(state, services, now)
    clean = all(name.startswith("active+clean") for name in groups)
    stopped = {state["osds"][number]["host"] for number in numbers}
    away = _away(state)
    return len(stopped | away) <= 1 and (clean or stopped <= away)


def _away(state: State) -> set[str]:
    return {osd["host"] for osd in state["osds"].values() if osd["in"] and not osd["up"]}


def _groups(state: State, services: Services, now: float) -> dict[str, int]:
    """One is being scrubbed, as always."""
    counts: dict[str, int] = {}
    away = _away(state)
    behind = [
        osd for osd in state["osds"].values() if osd["up"] and now - osd["since"] < services.clean_seconds
    ]
    if len(away) > 1:
        counts["down"] = GROUPS // 2
    elif away:
        counts["active+undersized+degraded"] = GROUPS // 2
    elif behind:
        counts["active+recovering+degraded"] = GROUPS // 8
    if services.unclean:
        counts["active+remapped+backfill_wait"] = services.unclean
    counts["active+clean+scrubbing+deep"] = 1
    counts["active+clean"] = GROUPS - sum(counts.values())
    return counts
