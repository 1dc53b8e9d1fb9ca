"""A repository of packages made for a test, and a site on the lab's image that reaches it by a mirror."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.lab.mirror import Mirror
from tests.faults.site import Site, make_site

HOST = "http://packages.invalid"
URL = f"{HOST}/repo"
REPOSITORY = f"""
[[stage]]
name = "repository"
type = "repository"
id = "tests"
gpgcheck = false
baseurl = "{URL}"
"""

needs_programs = pytest.mark.skipif(
    not all(map(shutil.which, ("rpmbuild", "createrepo_c"))),
    reason="rpmbuild and createrepo_c are needed",
)


@contextmanager
def site_beside(root: Path, folder: Path, base: Path) -> Iterator[Site]:
    """A site in ``folder`` with the base ``lab`` at ``base``; ``HOST`` shows the directory ``root``."""
    made = make_site(folder)
    with Mirror(root) as mirror:
        made.settle(f'[mirrors]\n"{HOST}" = "{mirror.url}"\n', bases=f'lab = "{base}"\n')
        yield made
    made.unmount()
