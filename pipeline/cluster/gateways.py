"""ClusterShell's tree mode, in which a gateway that is lost costs no more than the nodes behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cluster.head import SSH_FAILED
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from ClusterShell.Task import Task

GATEWAY_LOST = 76
"""How a node ends whose gateway broke off (ClusterShell's EX_PROTOCOL): what was run there is not known."""


def use(task: Task, topology: Path | None) -> bool:
    """Load this topology, or one from ClusterShell's own places; whether there is one."""
    file = topology or _usual(task)
    if file is None:
        return False
    with _told(file):
        task.load_topology(str(file))
    return True


def refuse_wrong(file: Path) -> None:
    """Raise ``UsageError`` for what is no topology, before anything is run with it."""
    from ClusterShell.Topology import TopologyParser

    with _told(file):
        TopologyParser(str(file))


@contextmanager
def _told(file: Path) -> Iterator[None]:
    from ClusterShell.Topology import TopologyError

    try:
        yield
    except (TopologyError, OSError) as error:
        raise UsageError(f"no topology of ClusterShell: {error}", where=str(file)) from None


def _usual(task: Task) -> Path | None:
    files = [Path(file) for file in reversed(task.TOPOLOGY_CONFIGS)] if task.default("auto_tree") else []
    return next((file for file in files if file.exists()), None)


def worker(command: str, nodes: Sequence[str], handler: Any, seconds: float | None) -> Any:
    """What runs ``command`` on ``nodes`` through gateways, once it is scheduled.

    ClusterShell's own raises an error, and so ends everything, when no gateway is left to a node.
    """
    from ClusterShell.NodeSet import NodeSet
    from ClusterShell.Worker.Tree import TreeWorker

    class Worker(TreeWorker):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(NodeSet.fromlist(nodes), handler, seconds, command=command)
            self._said: dict[str, str] = {}
            self._is_eof = False

        def set_write_eof(self) -> None:
            self._is_eof = True
            super().set_write_eof()

        def _launch(self, targets: Any) -> None:
            cut = _cut_off(self.router, targets)
            super()._launch(targets - cut)
            for node in cut:
                self._target_count += 1
                self._on_node_close(node, SSH_FAILED)  # as there, nothing was run
            if cut:
                self._check_fini()

        def _relaunch(self, gateway: str) -> None:
            self._tell(gateway)
            super()._relaunch(gateway)
            if self._is_eof:  # the gateway that failed had been told, the next one has not
                self._set_write_eof_remote()

        def _gateway_abort(self, gateway: str) -> None:
            if not self._aborted:
                self._tell(gateway)
            super()._gateway_abort(gateway)

        def _on_remote_node_msgline(self, node: str, line: bytes, stream: str, gateway: Any) -> None:
            if stream != self.SNAME_STDERR:  # that of nodes is not kept apart, so this is the gateway's own
                super()._on_remote_node_msgline(node, line, stream, gateway)
            elif text := line.decode(errors="replace").strip():
                self._said[str(gateway)] = text

        def _tell(self, gateway: str) -> None:
            """Say at each node that goes through it what became of its gateway."""
            line = f"gateway {gateway}: {self._said.get(gateway, 'the connection ended')}".encode()
            for node in sorted(self.gwtargets.get(gateway, ())):
                self._on_node_msgline(node, line, self.SNAME_STDOUT)

    return Worker()


def _cut_off(router: Any, nodes: Any) -> Any:
    """Those of ``nodes`` that are reached through gateways of which none answers."""
    from ClusterShell.NodeSet import NodeSet

    cut = NodeSet()
    for behind, gateways in router.table:
        if not gateways.difference(router._unreachable_hosts):
            cut.update(behind & nodes)
    return cut
