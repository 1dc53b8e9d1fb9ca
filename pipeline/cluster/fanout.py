"""One command on many nodes at once, over ssh, through ClusterShell; or on this machine.

Where a topology.conf of ClusterShell is there (its own places, or one that is named) the nodes are reached
through the gateways that it names: tree mode, for thousands. Gateways need ClusterShell, and must reach the
nodes by name: an address, port or option that is given here is known on this machine only.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from pipeline.cluster import gateways
from pipeline.cluster.head import SSH_FAILED
from pipeline.errors import MachineError, UsageError

if TYPE_CHECKING:
    from ClusterShell.Task import Task

FANOUT = 64
CONNECT_SECONDS = 10
ALIVE = ("ServerAliveInterval=15", "ServerAliveCountMax=4")
"""A node that vanishes is noticed after a minute."""


class Target(msgspec.Struct, frozen=True):
    """A node and how ssh gets there: without ``address`` by its name and ssh's own configuration.

    ``options`` are those of ssh_config(5), as ``Key=Value``. ``local`` is this machine, without ssh.
    """

    name: str
    address: str = ""
    port: int = 0
    options: tuple[str, ...] = ()
    local: bool = False


class Way(msgspec.Struct, frozen=True):
    """How all nodes are reached: at most ``fanout`` at once, each for at most ``seconds`` (0: for ever).

    ``options`` are for ssh, ``Key=Value``. ``configuration`` is a file of ssh_config(5) that is read instead
    of the user's and the system's: names of which it has nothing, or all while it is not there, are connected
    nowhere, and ``otherwise`` is said of each. ``topology`` is a topology.conf; ``ssh`` is the program.
    """

    fanout: int = FANOUT
    seconds: float = 0
    connect_seconds: int = CONNECT_SECONDS
    options: tuple[str, ...] = ()
    configuration: Path | None = None
    otherwise: str = "no way to it is known"
    topology: Path | None = None
    ssh: str = "ssh"


class Listener(Protocol):
    """Who is told what happens; all calls come from one thread."""

    def started(self, node: str) -> None: ...

    def line(self, node: str, line: bytes) -> None: ...

    def ended(self, node: str, code: int) -> None: ...

    def timed_out(self, node: str) -> None: ...


def run(command: str, targets: Sequence[Target], way: Way, folder: Path, listener: Listener) -> None:
    """Run ``command`` on all of them; returns when each has ended or its time is over.

    ``folder`` gets the configuration for ssh. However this is left, no ssh goes on.
    """
    over_ssh = [target for target in targets if not target.local]
    with own_task() as task:
        tree = prepare(task, over_ssh, way, folder)
        names = [target.name for target in over_ssh]
        if names:
            start(task, command, names, handler_of(listener, names), tree, seconds=way.seconds)
        for name in (target.name for target in targets if target.local):
            start(task, command, (), handler_of(listener, [name], name), seconds=way.seconds)
        task.run()


def start(
    task: Task,
    command: str,
    nodes: Sequence[str],
    handler: Any,
    tree: bool = False,
    *,
    seconds: float = 0,
    stdin: bool = False,
) -> Any:
    """ClusterShell's worker that runs ``command`` on ``nodes``; on this machine when there are none."""
    from ClusterShell.NodeSet import NodeSet

    if not tree or not nodes:
        over = {"nodes": NodeSet.fromlist(nodes), "tree": False} if nodes else {}
        return task.shell(command, handler=handler, timeout=seconds or None, stdin=stdin, **over)
    worker = gateways.worker(command, nodes, handler, seconds or None)
    if not stdin:
        worker.set_write_eof()
    task.schedule(worker)
    return worker


@contextmanager
def own_task() -> Iterator[Task]:
    """ClusterShell's task of this thread; what it started is ended with it, and nothing of other threads."""
    try:
        from ClusterShell.Task import task_self
    except ImportError:
        raise MachineError(
            "ClusterShell is missing in this Python", hint="it comes with this program", command="make setup"
        ) from None
    task = task_self()
    try:
        yield task
    finally:
        task.abort(kill=True)


def prepare(task: Task, over_ssh: Sequence[Target], way: Way, folder: Path) -> bool:
    """Tell ``task`` how nodes are reached; whether that is through gateways."""
    configuration = _configure(over_ssh, way, folder)
    tree = _is_tree(task, way, configuration)
    _prepare(task, way, configuration, tree)
    return tree


def _is_tree(task: Task, way: Way, configuration: Path | None) -> bool:
    """Whether nodes are reached through gateways, which have none of the files of this machine."""
    if configuration is not None and way.topology is not None:
        raise UsageError(
            "a topology can't be used here: some nodes have an address, port or option of their own, which "
            "gateways don't know",
            where=str(way.topology),
            hint="run this on the head node, where nodes are known by their names",
        )
    return configuration is None and gateways.use(task, way.topology)


def _prepare(task: Task, way: Way, configuration: Path | None, tree: bool) -> None:
    words = [word for option in (*way.options, *ALIVE) for word in ("-o", option)]
    if configuration:
        words = ["-F", str(configuration), *words]
    ssh = _dying_with_us(way.ssh)
    task.set_info("fanout", way.fanout)
    task.set_info("connect_timeout", way.connect_seconds)
    task.set_info("ssh_options", shlex.join(words))
    task.set_info("ssh_path", way.ssh if tree else ssh)
    task.set_default("stdout_msgtree", False)
    task.set_default("stderr_msgtree", False)
    task.set_default("stderr", False)


def _dying_with_us(ssh: str) -> str:
    """So that a kill of this process leaves no ssh behind, where setpriv knows how (util-linux 2.33)."""
    program = shutil.which(ssh)
    if program is None:
        raise MachineError(
            f"the program {ssh!r} is missing on this machine",
            hint="install openssh-client (EL: openssh-clients)",
        )
    setpriv = shutil.which("setpriv")
    return shlex.join([setpriv, "--pdeathsig", "KILL", program] if setpriv else [program])


def handler_of(listener: Listener, names: Sequence[str], local: str = "") -> Any:
    """ClusterShell's events as those of ``listener``; a worker on this machine knows no name of a node."""
    from inspect import signature

    from ClusterShell.Event import EventHandler

    class Handler(EventHandler):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.waiting = set(names)

        def ev_pickup(self, worker: Any, node: Any) -> None:
            listener.started(local or str(node))

        def ev_read(self, worker: Any, node: Any, sname: str, msg: bytes) -> None:
            listener.line(local or str(node), msg)

        def ev_hup(self, worker: Any, node: Any, rc: int) -> None:
            self.waiting.discard(local or str(node))
            listener.ended(local or str(node), rc if rc is not None else SSH_FAILED)

        def ev_close(self, worker: Any, timedout: bool) -> None:
            for name in sorted(self.waiting) if timedout else ():
                listener.timed_out(name)

    # For each line ClusterShell asks for the method's signature: known, it costs half as much.
    Handler.ev_read.__signature__ = signature(Handler.ev_read)  # type: ignore[attr-defined]
    return Handler()


def _configure(targets: Sequence[Target], way: Way, folder: Path) -> Path | None:
    """ssh's configuration for those that are not reached by name alone, and then for all others: what ssh
    reads anyway, or nowhere. Entries of ``way.configuration`` have a ``ProxyCommand`` and a ``LogLevel``."""
    special = [target for target in targets if target.address or target.port or target.options]
    if not special and way.configuration is None:
        return None
    lines = [f'Include "{way.configuration}"'] if way.configuration else []
    for target in special:
        lines.append(f"Host {target.name}")
        lines += [f"    HostName {target.address}"] if target.address else []
        lines += [f"    Port {target.port}"] if target.port else []
        lines += [
            f"    {key} {value}" for key, _, value in (option.partition("=") for option in target.options)
        ]
    if way.configuration:
        refuse = shlex.join(["sh", "-c", 'echo "$1" >&2', "sh", way.otherwise]).replace("%", "%%")
        lines += ["Match all", "    LogLevel QUIET", f"    ProxyCommand {refuse}"]
    else:
        lines += ["Match all", "    Include ~/.ssh/config", "Match all", "    Include /etc/ssh/ssh_config"]
    file = folder / "ssh_config"
    file.write_text("\n".join(lines) + "\n")
    return file
