"""The head node over ssh: the commands arrive as a file there, and nothing of it is left."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pipeline.cluster.drivers.bright.driver import Bright
from pipeline.cluster.head import Head
from pipeline.errors import MachineError, PipelineError
from tests.integration import aside
from tests.integration.bright.ended import goes_on_when_we_are_killed
from tests.integration.bright_head import LabHead, seed

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/id.pub
StrictModes no
UsePAM no
PidFile none
SetEnv TMPDIR={folder}/tmp
"""

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


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Head, Path]]:
    """This machine, as a real sshd on the loopback shows it, and the directory of its temporary files."""
    folder = tmp_path_factory.mktemp("sshd")
    (folder / "tmp").mkdir()
    for name in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
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
    quiet = ("-o", f"UserKnownHostsFile={folder}/known", "-o", "LogLevel=ERROR")
    try:
        until = time.monotonic() + 10
        while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < until:
            time.sleep(0.02)
        yield Head("root@127.0.0.1", ssh_options=(*options, *quiet)), folder / "tmp"
    finally:
        daemon.terminate()
        daemon.wait()


def test_all_goes_over_ssh_and_no_file_is_left(tmp_path: Path, there: tuple[Head, Path]) -> None:
    head, temporary = there
    lab = LabHead(tmp_path / "it's a head; node")
    over = msgspec.structs.replace(head, root=lab.head.root, programs=lab.head.programs)
    todo, found = lab.plan(seed(), Bright(over))
    Bright(over).write(todo, found)
    assert lab.plan(seed(), Bright(over))[0] == ()
    assert all(str(temporary) in " ".join(call["argv"]) for call in lab.calls())
    assert list(temporary.iterdir()) == []


def test_a_missing_cmsh_over_ssh_is_told(tmp_path: Path, there: tuple[Head, Path]) -> None:
    with pytest.raises(MachineError, match="'cmsh' is missing"):
        Bright(there[0]).read([])


def test_a_head_node_that_ssh_does_not_reach_is_told(tmp_path: Path, there: tuple[Head, Path]) -> None:
    with pytest.raises(PipelineError, match="could not be reached") as caught:
        Bright(msgspec.structs.replace(there[0], address="root@127.0.0.1", ssh_options=("-p", "1"))).read([])
    assert caught.value.exit_code == MachineError.exit_code


def test_a_program_over_ssh_ends_when_we_are_killed(tmp_path: Path, there: tuple[Head, Path]) -> None:
    head, temporary = there
    assert not goes_on_when_we_are_killed(head, tmp_path)
    assert list(temporary.iterdir()) == []


def test_a_head_node_that_stops_answering_is_noticed() -> None:
    command = " ".join(Head("root@head")._command(("true",)))
    assert "-o ServerAliveInterval=5 -o ServerAliveCountMax=3 " in command
