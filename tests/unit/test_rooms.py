"""What imports what, deferred imports too, is what the table of docs/architecture.md says."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("rooms")
"""So that one process reads all of the program, and not each."""

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "pipeline"
ROW = re.compile(r"^\| `(\w+)/` \|[^|]*\|([^|]*)\|$", re.MULTILINE)
KNOWN = re.compile(r"`([\w/]+?)(\.py)?`")
UPWARDS = {"packaging": "stages/base"}
"""Plain data; it knows only ``chroot``."""
OF_IMAGES = ("lab/el6", "lab/vendor")
"""Files of the images, and no modules of this program."""


@cache
def table() -> dict[str, frozenset[str]]:
    """Room → the rooms and ``room/module`` that it knows, in the order of the table."""
    rows = ROW.findall((REPOSITORY / "docs/architecture.md").read_text())
    names = [name for name, _ in rows]
    return {
        name: frozenset(names[number + 1 :])
        if "all below" in knows
        else frozenset(found for found, _ in KNOWN.findall(knows))
        for number, (name, knows) in enumerate(rows)
    }


@cache
def imports() -> dict[str, frozenset[tuple[str, str]]]:
    """Room → (file that imports, module imported as ``room/module``) for all that leads to another room."""
    found: dict[str, set[tuple[str, str]]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = str(file.relative_to(PACKAGE))
        if name.startswith(OF_IMAGES):
            continue
        room = name.split("/")[0] if "/" in name else ""
        modules = {
            module for node in ast.walk(ast.parse(file.read_bytes())) for module in _imported(node, file)
        }
        found.setdefault(room, set()).update(
            (name, module) for module in modules if module.split("/")[0] != room
        )
    return {room: frozenset(edges) for room, edges in found.items()}


def _imported(node: ast.AST, file: Path) -> list[str]:
    """Modules in the rooms of this program that ``node`` imports, each as ``room/module``."""
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{file}: a relative import"
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    places = [name.split(".")[1:3] for name in names if name.split(".")[0] == "pipeline"]
    return ["/".join(place) for place in places if place and (PACKAGE / place[0]).is_dir()]


def _is_of(module: str, known: str) -> bool:
    return module == known or module.startswith(f"{known}/")


def test_the_table_has_every_folder() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(table()) == folders


@pytest.mark.parametrize("room", table())
def test_a_room_imports_only_what_the_table_says(room: str) -> None:
    wrong = [
        f"{file} imports {module}"
        for file, module in sorted(imports().get(room, ()))
        if not any(_is_of(module, known) for known in table()[room])
    ]
    assert not wrong


@pytest.mark.parametrize("room", [room for room in table() if room not in ("cli", "build")])
def test_the_table_says_only_what_is_imported(room: str) -> None:
    modules = [module for _, module in imports().get(room, ())]
    idle = [known for known in table()[room] if not any(_is_of(module, known) for module in modules)]
    assert not idle


def test_nothing_imports_upwards() -> None:
    order = list(table())
    above = [
        f"{room} knows {known}"
        for room, all_known in table().items()
        for known in all_known - {UPWARDS.get(room, "")}
        if order.index(known.split("/")[0]) <= order.index(room)
    ]
    assert not above
    plain = {module for file, module in imports()["stages"] if file == "stages/base.py"}
    assert {module.split("/")[0] for module in plain} <= {"chroot"}


def test_what_lies_beside_the_rooms_knows_none_of_them() -> None:
    assert imports()[""] == {("__main__.py", "cli/run")}
