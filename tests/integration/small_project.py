"""A project whose base is a directory of a few files, so that its images are built in a second."""

from __future__ import annotations

from pathlib import Path

from pipeline.recipe.model import Site
from pipeline.recipe.site import load_site
from pipeline.store.store import Store
from tests.lab.project import Project, Result

STAGES = """
[[stage]]
name = "one"
type = "file"
path = "/etc/one"
create = "1"

[[stage]]
name = "two"
type = "overlay"
tree = "two"

[[stage]]
name = "three"
type = "file"
path = "/etc/three"
create = "3"
"""


class SmallProject(Project):
    """The command run in a project of the images that a test writes."""

    @property
    def site(self) -> Site:
        return load_site(self.path / "pipeline.toml")

    @property
    def store(self) -> Store:
        return Store.open(self.path / "store")

    def recipe(self, stages: str = STAGES, name: str = "web", base: str = "small", head: str = "") -> Path:
        """Write the recipe of ``name``; ``head`` are more tables."""
        text = f'[image]\nname = "{name}"\nbase = "{base}"\nsummary = "a test"\n{head}\n{stages}'
        return self.write(f"recipes/{name}/recipe.toml", text)

    def built(self, *words: str) -> Result:
        """``pipeline lock``, which builds versions as well, and does not test them."""
        result = self.run("lock", *words)
        assert result.exit_code == 0, result.err
        return result


def make_small_project(path: Path, mode: str = "overlay") -> SmallProject:
    """A project in the new folder ``path``: the recipe ``web``, of three stages, published by ``mode``."""
    project = SmallProject(path)
    project.write("base/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
    project.write("base/etc/group", "root:x:0:\n")
    project.write("base/etc/deep/in/it", "it\n")
    (path / "base/bin").mkdir()
    project.write("overlays/two/etc/two.conf", "a = 1\nb = 2\n")
    project.write("overlays/two/etc/two.d/more", "more\n")
    site = f'[site]\nstore = "store"\nimages = "images"\npublish = "{mode}"\n'
    project.write("pipeline.toml", f'{site}\n[bases]\nsmall = "base"\n')
    project.recipe()
    return project
