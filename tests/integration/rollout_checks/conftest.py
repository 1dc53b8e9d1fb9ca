"""What the tests of a rollout's checks share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cluster_site import Cluster, make_site


@pytest.fixture
def site(tmp_path: Path) -> Cluster:
    """A project beside a head node."""
    return make_site(tmp_path)
