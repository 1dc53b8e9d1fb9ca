"""What the tests of hooks share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.hooks.services_lab import ServicesLab


@pytest.fixture
def lab(tmp_path: Path) -> ServicesLab:
    return ServicesLab(tmp_path)
