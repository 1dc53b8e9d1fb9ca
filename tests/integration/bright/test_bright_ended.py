"""Nothing waits for ever, and nothing goes on writing when nobody waits for it."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from pipeline.cluster.drivers.bright.driver import Bright
from pipeline.cluster.head import Head
from pipeline.errors import MachineError
from tests.integration.bright.ended import goes_on_when_we_are_killed
from tests.integration.bright_head import LabHead


def test_a_cmsh_that_hangs_while_it_reads_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    lab = LabHead(tmp_path / "head")
    lab.faults(latency=20)
    begun = time.monotonic()
    with pytest.raises(MachineError, match="cmsh did not end within 1 s"):
        Bright(msgspec.structs.replace(lab.head, answer_seconds=1)).read([])
    assert time.monotonic() - begun < 8
    assert list(temporary.iterdir()) == []


def test_a_program_ends_when_we_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    assert not goes_on_when_we_are_killed(Head(), tmp_path)
    assert list(temporary.iterdir()) == []
