"""A real sshd of this machine on the loopback, for what is asked over ssh."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.cluster.head import Head
from tests.integration import aside

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/id.pub
StrictModes no
UsePAM no
PidFile none
SetEnv TMPDIR={folder}/tmp
Banner {folder}/banner
"""

BANNER = """\
** WARNING: connection is not using a post-quantum key exchange algorithm.
** The server may need to be upgraded.
"""
"""What ssh shows of each connection, beside its own words of a host that it did not know."""

RUN = """
set -e
mount --make-rprivate /
{ cat /etc/passwd; echo "sshd:x:65533:65534::/run/sshd:/bin/false"; } > "$1/passwd"
mount --bind "$1/passwd" /etc/passwd
mount -t tmpfs none /run
mkdir -m 755 /run/sshd
exec "$2" -D -e -f "$1/config"
"""
"""For a shell in a mount namespace of its own: the account that sshd asks for is not on every machine."""


def sshd() -> tuple[str, dict[str, str]]:
    """This machine's sshd, or an unpacked one; and the environment for it."""
    there = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if there:
        return there, dict(os.environ)
    root = aside.unpacked("sshd", ("openssh-server",))
    libraries = ":".join(str(folder) for folder in root.glob("usr/lib/*-linux-gnu*"))
    return str(root / "usr/sbin/sshd"), {**os.environ, "LD_LIBRARY_PATH": libraries}


@contextmanager
def loopback_sshd(folder: Path) -> Iterator[tuple[Head, Path]]:
    """This machine, as a real sshd on the loopback shows it, and the directory of its temporary files."""
    (folder / "tmp").mkdir()
    for name in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "banner").write_text(BANNER)
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
    program, environment = sshd()
    apart = [
        "unshare",
        "--mount",
        "setpriv",
        "--pdeathsig",
        "KILL",
        "sh",
        "-c",
        RUN,
        "sh",
        str(folder),
        program,
    ]
    daemon = subprocess.Popen(apart, stderr=subprocess.DEVNULL, env=environment)
    options = ("-F", "none", "-p", str(port), "-i", str(folder / "id"), "-o", "StrictHostKeyChecking=no")
    known = ("-o", f"UserKnownHostsFile={folder}/known")
    try:
        until = time.monotonic() + 10
        while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < until:
            time.sleep(0.02)
        yield Head("root@127.0.0.1", ssh_options=(*options, *known)), folder / "tmp"
    finally:
        daemon.terminate()
        daemon.wait()
