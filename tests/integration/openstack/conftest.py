"""A neutron-server that has read the generated ml2_conf.ini, started once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from generated import ML2, cluster, ini
from neutron_server import Neutron, neutron_server


@pytest.fixture(scope="session")
def neutron(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neutron]:
    with neutron_server(tmp_path_factory.mktemp("neutron"), ini(cluster(), ML2)) as server:
        yield server
