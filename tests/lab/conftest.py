"""The lab that all its tests share: built when it is missing, kept afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.lab.bases import ensure_bases

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def lab_home() -> Path:
    return Path(os.environ.get("PIPELINE_LAB_HOME", REPOSITORY / ".pipeline/lab"))


@pytest.fixture(scope="session")
def trees(lab_home: Path) -> dict[str, Path]:
    return ensure_bases(lab_home, lambda line: None)
