"""The head node over ssh: the commands arrive as a file there, and nothing of it is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pipeline.cluster.drivers.bright.driver import Bright
from pipeline.cluster.head import Head
from pipeline.errors import MachineError, PipelineError
from tests.integration.bright.ended import goes_on_when_we_are_killed
from tests.integration.bright_head import LabHead, seed
from tests.integration.loopback_sshd import loopback_sshd


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Head, Path]]:
    """This machine over ssh, and the directory of its temporary files."""
    with loopback_sshd(tmp_path_factory.mktemp("sshd")) as found:
        yield found


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


@pytest.mark.parametrize(
    ("then", "message"),
    [
        (
            'echo "Error: the certificate is not valid any more"; exit 0',
            "cmsh did not answer as expected: .*the certificate is not valid any more",
        ),
        ("kill -9 $$", "cmsh's answer came only in part"),
        (
            'echo "Not connected!"; exit 1',
            "cmsh has no connection to CMDaemon: Not connected!",
        ),
    ],
    ids=["refused", "cut", "daemon lost"],
)
def test_what_ssh_says_is_not_taken_for_cmshs(
    tmp_path: Path, there: tuple[Head, Path], then: str, message: str
) -> None:
    cmsh = tmp_path / "cmsh"
    cmsh.write_text(f"#!/bin/sh\n{then}\n")
    cmsh.chmod(0o755)
    over = msgspec.structs.replace(there[0], programs=(str(tmp_path),))
    with pytest.raises(PipelineError, match=message) as caught:
        Bright(over).read([])
    assert "post-quantum" not in str(caught.value)
