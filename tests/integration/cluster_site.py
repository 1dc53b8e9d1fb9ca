"""A project beside a head node of the lab, as somebody has it who has no lab."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pipeline.lab.head import start, state
from pipeline.lab.head.switches import Faults, read_switches, write_faults, write_switches
from pipeline.recipe.model import Site
from pipeline.recipe.site import load_site
from tests.lab.project import REPOSITORY, Project, Result

NAME = "openstack-mellanox"
COMPUTE = "openstack-compute-hosts-mellanox"


class Cluster(Project):
    """A project beside a head node; its site is that of somebody who has no lab."""

    @property
    def head(self) -> Path:
        return self.path / "head"

    def cluster(self, *words: str) -> Result:
        return self.run("cluster", *words)

    def cmsh(self, text: str) -> str:
        """What an administrator types."""
        file = self.write("typed", text)
        command = [self.head / "bin/cmsh", "-n", "--color=no", "--hide-events", "-q", "-f", file]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def faults(self, **what: object) -> None:
        write_faults(str(self.head), Faults(**what))  # type: ignore[arg-type]

    def copied(self) -> None:
        """Let the copying of an image end that goes on, however long it was to last."""
        write_switches(str(self.head), read_switches(str(self.head))._replace(copy_seconds=0))

    def objects(self) -> dict[str, dict[str, dict[str, object]]]:
        found: dict[str, dict[str, dict[str, object]]] = state.snapshot(str(self.head))["objects"]
        return found

    def left(self) -> list[str]:
        """The objects of the next plan."""
        return [change["object"] for change in self.cluster("plan", "--json").json()["changes"]]


def make_site(tmp_path: Path) -> Cluster:
    """The shipped files, and a head node as it is at first."""
    import shutil

    project = Cluster(tmp_path)
    for name in ("recipes", "overlays"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    start.make(project.head)
    for base in ("openstack-image", "virtual-node-image"):
        (tmp_path / "bases" / base).mkdir(parents=True)
    project.write(
        "pipeline.toml",
        '[site]\nstore = "store"\nimages = "images"\n'
        '[bases]\nopenstack-image = "bases/openstack-image"\n'
        'virtual-node-image = "bases/virtual-node-image"\n'
        f'[head]\nroot = "{project.head}/root"\nprograms = ["{project.head}/bin"]\n',
    )
    return project


def applied(project: Cluster) -> Site:
    """The project's site once its cluster is applied; it publishes copies, which its head node sees."""
    file = project.path / "pipeline.toml"
    file.write_text(file.read_text().replace("[bases]", 'publish = "copy"\n[bases]'))
    site = load_site(file)
    assert project.cluster("apply").exit_code == 0
    seen = project.head / "root" / str(site.images).lstrip("/")
    seen.parent.mkdir(parents=True, exist_ok=True)
    seen.symlink_to(site.images)
    return site


def edit(site: Cluster, *pairs: tuple[str, str]) -> str:
    """Change the cluster file; its text before."""
    recipe = site.path / "recipes/clusters" / f"{NAME}.toml"
    before = recipe.read_text()
    text = before
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    recipe.write_text(text)
    return before


NODE2 = """[[node]]
names = "node002"
parameters = { local_ip = "10.161.0.2" }

"""

OVERRIDE = """[[node]]
names = "node003"
parameters = { ib_interface = "eth4" } # its card came up under another name
"""
