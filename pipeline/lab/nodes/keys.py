"""Keys and configuration of ssh, made for the lab's nodes and of use nowhere else."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline import programs

ALIAS = "pipeline-lab-node"
"""The name by which ssh knows the key of all nodes."""

SSHD = """\
Port {port}
ListenAddress {address}
HostKey /run/lab/host_key
AuthorizedKeysFile /run/lab/authorized_keys
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
StrictModes no
PidFile none
MaxStartups 200
PrintMotd no
"""

CAPABILITIES = (
    "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service sys_chroot mknod "
    "audit_write setfcap"
)
"""Of a node's root: what packages and sshd need. Not those that reach this machine's hardware or mounts."""

OWN_NETWORK = "net_admin net_raw"
"""More of them, where the network is the node's own."""

OTHERS = ("rsa", "ecdsa")
"""Host keys that an init script of sshd would make at the first start, which takes a second."""


def ensure(home: Path) -> Path:
    """The directory of keys below ``home``: ``host_key`` is the nodes', ``id`` the administrator's.

    Several may call it at once, while others log in: what is there is not written again.
    """
    keys = home / "keys"
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(keys):
        _make(keys, "host_key", "ed25519")
        _make(keys, "id", "ed25519")
        known, text = keys / "known_hosts", f"{ALIAS} {(keys / 'host_key.pub').read_text()}"
        if not known.exists() or known.read_text() != text:
            known.write_text(text)
    return keys


@contextmanager
def _alone(keys: Path) -> Iterator[None]:
    fd = os.open(keys, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _make(keys: Path, name: str, kind: str) -> None:
    if not (keys / f"{name}.pub").exists():
        (keys / name).unlink(missing_ok=True)
        # Killed here, there is a key without its public half, and the next call makes both anew.
        programs.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", ALIAS, "-f", str(keys / name)])


def write_node(keys: Path, folder: Path, address: str, port: int, *, own_network: bool = False) -> None:
    """What a node's sshd needs, into ``folder``, which the node sees at /run/lab."""
    allowed = f"{CAPABILITIES} {OWN_NETWORK}" if own_network else CAPABILITIES
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "host_key": (keys / "host_key").read_text(),
        "authorized_keys": (keys / "id.pub").read_text(),
        "sshd_config": SSHD.format(port=port, address=address),
        "capabilities": ",".join(["-all", *(f"+{name}" for name in allowed.split())]),
    }
    for name, text in files.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)


def write_disk(keys: Path, disk: Path) -> None:
    """What a node-installer puts on a disk after it was filled: the node's host keys, and who may log in."""
    with _alone(keys):
        for kind in OTHERS:
            _make(keys, f"host_{kind}", kind)
    names = {"ed25519": "host_key", **{kind: f"host_{kind}" for kind in OTHERS}}
    for kind, name in names.items():
        for end, mode in (("", 0o600), (".pub", 0o644)):
            _put(disk / f"etc/ssh/ssh_host_{kind}_key{end}", (keys / f"{name}{end}").read_text(), mode)
    (disk / "root/.ssh").mkdir(mode=0o700, parents=True, exist_ok=True)
    _put(disk / "root/.ssh/authorized_keys", (keys / "id.pub").read_text(), 0o600)


def _put(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode)
    path.write_text(text)


def options(keys: Path) -> tuple[str, ...]:
    """ssh's options for all nodes, as ``Key=Value``."""
    return (
        "User=root",
        f'IdentityFile="{keys / "id"}"',
        "IdentitiesOnly=yes",
        f'UserKnownHostsFile="{keys / "known_hosts"}"',
        "GlobalKnownHostsFile=/dev/null",
        f"HostKeyAlias={ALIAS}",
        "StrictHostKeyChecking=yes",
    )


def write_clients(keys: Path, file: Path, nodes: Mapping[str, tuple[str, int]]) -> None:
    """``file`` for ``ssh -F``: every node by its name. ``nodes`` maps names to address and port.

    Names of other machines are connected nowhere.
    """
    lines = []
    for name, (address, port) in nodes.items():
        lines += [f"Host {name}", f"    HostName {address}", f"    Port {port}"]
        lines += ["    ProxyCommand none", "    LogLevel INFO"]
        lines += [f"    {' '.join(option.split('=', 1))}" for option in options(keys)]
    refuse = """sh -c 'echo "it is not up in the lab" >&2'"""
    lines += ["Match all", "    LogLevel QUIET", f"    ProxyCommand {refuse}"]
    file.write_text("\n".join(lines) + "\n")
