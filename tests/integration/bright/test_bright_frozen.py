"""Files that CMDaemon leaves alone, and the finalize scripts that set keys of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.lab.head.switches import Switches
from tests.integration.bright_head import COMPUTE, MELLANOX, LabHead, bridge_settings, seed

PYTHON = "#!/usr/bin/python3\nprint('hello')\n"


def with_script(lab: LabHead, category: str, script: str) -> None:
    file = lab.directory / "script"
    file.write_text(script)
    typed = f"category use {category}\nset finalizescript {file}\ncommit\n"
    ran = lab.head.run_file(("cmsh", "-q", "-f"), typed)
    assert ran.code == 0, ran


def test_a_finalize_script_that_is_no_shells_is_told_before_anything_is_changed(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, Switches(release="old"))
    with_script(lab, COMPUTE, PYTHON)
    before = lab.snapshot()
    with pytest.raises(PipelineError, match=f"finalize script of category/{COMPUTE} is run by '/usr/bin/py"):
        lab.plan(bridge_settings(f"category/{COMPUTE}", "eth6"))
    # A clone's script is its source's, of which nothing is wanted.
    todo, found = lab.plan(seed())
    with pytest.raises(PipelineError, match=f"finalize script of category/{MELLANOX} is run by '/usr/bin/py"):
        lab.driver.write(todo, found)
    assert lab.snapshot() == before
