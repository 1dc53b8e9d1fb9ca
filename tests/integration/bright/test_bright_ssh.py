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
from tests.integration.bright_head import LabHead, seed

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

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

pytestmark = pytest.mark.skipif(
    SSHD is None or os.getuid() != 0, reason="no sshd here (openssh-server), or no root"
)


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
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    daemon = subprocess.Popen(
        [str(SSHD), "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL
    )
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
