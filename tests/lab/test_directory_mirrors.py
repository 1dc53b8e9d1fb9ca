"""A site whose mirrors are directories, as on a head node without the internet."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from tests.lab.project import make_project, unmount_all


def test_packages_are_locked_from_directories_and_keep_their_urls(
    tmp_path: Path, lab_home: Path, lab_images: Mapping[str, Path], lab_mirror: Path
) -> None:
    project = make_project(tmp_path / "project", lab_home)
    hosts = {
        "http://www.mellanox.com/downloads": lab_mirror / "http/www.mellanox.com/downloads",
        "http://repos.fedorapeople.org/repos": lab_mirror / "http/repos.fedorapeople.org/repos",
        "ftp://ftp.pbone.net/mirror": lab_mirror / "ftp/ftp.pbone.net/mirror",
    }
    bases = "".join(f'{name} = "{path}"\n' for name, path in lab_images.items())
    mirrors = "".join(f'"{prefix}" = "{path}"\n' for prefix, path in hosts.items())
    project.write(
        "pipeline.toml",
        f'[site]\nstore = "store"\nimages = "images"\n\n[bases]\n{bases}\n[mirrors]\n{mirrors}',
    )
    try:
        ended = project.run("lock", "openstack-image-mellanox")
        assert ended.exit_code == 0, ended.err
        lock = tomllib.loads((project.path / "recipes/openstack-image-mellanox/recipe.lock").read_text())
        places = [package["location"] for stage in lock["stages"] for package in stage["answer"]["install"]]
        assert len(places) >= 5
        assert all(place.startswith(("http://", "ftp://")) and "127.0.0.1" not in place for place in places)
        built = project.run("build", "openstack-image-mellanox", "--locked")
        assert built.exit_code == 0, built.err
    finally:
        unmount_all(project)
