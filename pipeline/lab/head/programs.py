"""The head node's other programs: ``cmd -v``, ``service`` and ``chkconfig``."""

from __future__ import annotations

import sys

from pipeline.lab.head.files import write_head_files
from pipeline.lab.head.session import head_name
from pipeline.lab.head.state import Store
from pipeline.lab.head.switches import read_switches

SYSTEM = frozenset({"cmd", "neutron-server", "openibd", "opensm", "opensmd"})
"""Services that the head node has beside those that are configured in cmsh."""
SAYS = {"start": ("Starting",), "stop": ("Stopping",), "restart": ("Stopping", "Starting")}
SAME = {"opensmd": "opensm"}
"""Two scripts, one daemon."""


def cmd(directory: str) -> int:
    """``cmd -v`` prints the daemon's revision."""
    if sys.argv[1:] != ["-v"]:
        sys.stderr.write("cmd: only -v is known here\n")
        return 1
    print(f"CMDaemon 7.0 (r{read_switches(directory).revision})")
    return 0


def service(directory: str) -> int:
    """``service NAME start|stop|restart|status``; restarting ``cmd`` writes the files that aren't frozen."""
    if len(sys.argv) != 3:
        sys.stderr.write("Usage: service < option > | --status-all | [ service_name [ command ] ]\n")
        return 1
    store = Store(directory)
    head, name, action = head_name(store), SAME.get(sys.argv[1], sys.argv[1]), sys.argv[2]
    if not _is_known(store, head, name):
        sys.stderr.write(f"{name}: unrecognized service\n")
        return 1
    if action == "status":
        up = store.state["running"].get(head, {}).get(name, name == "cmd")
        print(f"{name} is {'running' if up else 'stopped'}...")
        return 0 if up else 3
    if action not in ("start", "stop", "restart"):
        print(f"Usage: /etc/init.d/{name} {{start|stop|restart|status}}")
        return 2
    with store.changing() as state:
        state["running"].setdefault(head, {})[name] = action != "stop"
        if name == "cmd" and action != "stop":
            knows = read_switches(directory).release == "new"
            write_head_files(store, state["objects"]["device"][head], knows)
        store.touch()
    store.record(node=head, service=name, action=action, by="service")
    for verb in SAYS[action]:
        print(f"{verb} {name}:".ljust(60) + "[  OK  ]")
    return 0


def chkconfig(directory: str) -> int:
    """``chkconfig NAME on|off``."""
    store = Store(directory)
    known = len(sys.argv) == 3 and sys.argv[2] in ("on", "off")
    if not known or not _is_known(store, head_name(store), sys.argv[1]):
        sys.stderr.write("usage: chkconfig <name> <on|off>\n")
        return 1
    with store.changing() as state:
        state["at_boot"][sys.argv[1]] = sys.argv[2] == "on"
        store.touch()
    store.record(node=head_name(store), service=sys.argv[1], action=f"chkconfig {sys.argv[2]}")
    return 0


def _is_known(store: Store, head: str, name: str) -> bool:
    return name in SYSTEM or name in store.state["objects"]["device"][head]["sub"].get("services", {})
