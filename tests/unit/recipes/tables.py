"""Reads the tables of cases: ``*.txt`` files in this folder.

A case begins with ``######## what it is about``. In it ``==== PATH`` begins a file of the project,
``==== says`` the lines that are expected, without hints, and ``==== hints`` some of the hints.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SITE = """
[site]
store = "store"
images = "images"
[bases]
openstack-image = "bases/openstack-image"
"""


@dataclass(frozen=True)
class Case:
    """A project, and what loading it says."""

    about: str
    files: dict[str, str]
    says: list[str]
    hints: list[str]

    def write(self, project: Path) -> None:
        """Put the files into the directory ``project``."""
        for name, text in {"pipeline.toml": SITE, **self.files}.items():
            file = project / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)


def cases(table: str) -> list[Case]:
    """The cases of ``TABLE.txt``."""
    text = (Path(__file__).parent / f"{table}.txt").read_text()
    found = []
    for block in text.split("######## ")[1:]:
        about, _, rest = block.partition("\n")
        parts = dict(part.split("\n", 1) for part in rest.split("==== ")[1:])
        says, hints = (parts.pop(name, "").splitlines() for name in ("says", "hints"))
        found.append(Case(about, parts, [line for line in says if line], [line for line in hints if line]))
    return found
