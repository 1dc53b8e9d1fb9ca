"""Keys and configuration of ssh, made for the lab's nodes and of use nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
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


def ensure(home: Path) -> Path:
    """The directory of keys below ``home``: ``host_key`` is the nodes', ``id`` the administrator's."""
    keys = home / "keys"
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("host_key", "id"):
        if not (keys / f"{name}.pub").exists():
            (keys / name).unlink(missing_ok=True)
            # Killed here, there is a key without its public half, and the next call makes both anew.
            programs.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", ALIAS, "-f", str(keys / name)])
    return keys


def write_node(keys: Path, folder: Path, address: str, port: int) -> None:
    """What a node's sshd needs, into ``folder``, which the node sees at /run/lab."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "host_key": (keys / "host_key").read_text(),
        "authorized_keys": (keys / "id.pub").read_text(),
        "sshd_config": SSHD.format(port=port, address=address),
        "capabilities": ",".join(["-all", *(f"+{name}" for name in CAPABILITIES.split())]),
    }
    for name, text in files.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)


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
    """``file`` for ``ssh -F``: every node by its name. ``nodes`` maps names to address and port."""
    (keys / "known_hosts").write_text(f"{ALIAS} {(keys / 'host_key.pub').read_text()}")
    lines = []
    for name, (address, port) in nodes.items():
        lines += [f"Host {name}", f"    HostName {address}", f"    Port {port}"]
        lines += [f"    {' '.join(option.split('=', 1))}" for option in options(keys)]
    file.write_text("\n".join(lines) + "\n")
