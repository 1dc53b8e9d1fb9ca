"""What a right recipe comes to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from recipes.tables import Case, cases
from recipes.types import Command, Overlay, Packages

from pipeline.errors import UsageError
from pipeline.recipe.findings import where
from pipeline.recipe.load import load_recipe, load_recipes, recipe_names
from pipeline.recipe.model import Place, Site
from pipeline.recipe.site import load_site
from pipeline.sources import lock as locks
from recipes import types

GOOD = {case.about: case for case in cases("good")}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def site_of(case: Case, project: Path) -> Site:
    case.write(project)
    return load_site(None)


@pytest.mark.parametrize("case", GOOD.values(), ids=lambda case: case.about)
def test_a_right_recipe_is_loaded(case: Case, project: Path) -> None:
    site = site_of(case, project)

    recipes = load_recipes(recipe_names(site), site, types=types)

    assert tuple(recipe.name for recipe in recipes) == recipe_names(site)


def test_the_smallest_recipe_is_its_base(project: Path) -> None:
    recipe = load_recipe("x", site_of(GOOD["the smallest"], project), types=types)

    assert (recipe.base, recipe.base_recipe, recipe.stages, recipe.tests) == (
        "openstack-image",
        False,
        (),
        (),
    )
    assert recipe.file == project / "recipes/x/recipe.toml"
    assert recipe.lock_file == project / "recipes/x/recipe.lock"
    assert recipe.files == (recipe.file,)


def test_parameters_are_put_in_with_their_types(project: Path) -> None:
    case = GOOD["parameters keep their types, lists are spliced, other parameters are put in"]
    recipe = load_recipe("x", site_of(case, project), types=types)

    assert recipe.kernel_parameters == ("iommu=pt", "a", "b", "vfs=16", "16")
    assert recipe.parameters["full"] == "2.3-1"
    assert recipe.parameters["nets"] == ("x", "a", "b", "y")
    packages, command = (placed.stage for placed in recipe.stages)
    assert packages == Packages(
        name="mlnx-2.3",
        install=("ofed-2.3-1", "x", "a", "b", "y", "{{"),
        remove=("1", "2"),
        gpg=False,
    )
    assert command == Command(
        name="run",
        argv=("x", "a", "b", "y"),
        env={"VFS": "16", "GPG": "false", "RELEASE": "r1"},
        jobs=16,
        wait=1.0,
    )


def test_fragments_take_values_from_with_then_from_around_then_their_defaults(project: Path) -> None:
    case = GOOD["fragments in fragments, with values from here and there"]
    recipe = load_recipe("x", site_of(case, project), types=types)

    assert [placed.stage for placed in recipe.stages] == [
        Overlay(name="outer-tree", tree="o"),
        Packages(name="inner-outer", install=("outer2",), gpg=False),
        Overlay(name="again-tree", tree="o"),
        Packages(name="inner-again", install=("again3",), gpg=False),
    ]
    assert [dict(placed.parameters) for placed in recipe.stages] == [
        {"net": "of the fragment, outer", "vfs": 2},
        {},
        {"net": "of the fragment, again", "vfs": 3},
        {},
    ]
    assert [file.name for file in recipe.files] == ["recipe.toml", "inner.toml", "outer.toml"]
    assert recipe.base_recipe
    assert [file.name for file in recipe.tests] == ["test_image.py"]


def test_every_stage_knows_where_it_was_written(project: Path) -> None:
    case = GOOD["fragments in fragments, with values from here and there"]
    recipe = load_recipe("x", site_of(case, project), types=types)

    assert [where(placed.place) for placed in recipe.stages] == [
        "recipes/fragments/outer.toml:7",
        "recipes/fragments/inner.toml:5",
        "recipes/fragments/outer.toml:7",
        "recipes/fragments/inner.toml:5",
    ]


def test_a_place_outside_the_current_directory_is_told_by_its_whole_path(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = project / "recipe.toml"
    recipe.write_text("[[stage]]\n\n[[stage]]\n")
    monkeypatch.chdir("/")
    assert where(Place(recipe, 2, 2)) == f"{str(recipe).lstrip('/')}:3"
    (project / "here").mkdir()
    monkeypatch.chdir(project / "here")
    assert where(Place(recipe, 2, 2)) == f"{recipe}:3"


def test_a_place_in_a_file_with_a_mistake_is_still_told(project: Path) -> None:
    (project / "recipe.toml").write_text("[[stage]]\na = = 1\n\n[[stage]]\n")
    assert where(Place(project / "recipe.toml", 2, 2)) == "recipe.toml:4"


def test_a_place_that_is_gone_is_told_by_its_file(project: Path) -> None:
    (project / "recipe.toml").write_text("[[stage]]\n")
    assert where(Place(project / "recipe.toml", 2, 2)) == "recipe.toml"
    assert where(Place(project / "other.toml", 2, 2)) == "other.toml"


def test_the_order_of_the_asked_names_is_kept_and_each_is_there_once(project: Path) -> None:
    site = site_of(GOOD["fragments in fragments, with values from here and there"], project)
    assert [recipe.name for recipe in load_recipes(["y", "x", "y"], site, types=types)] == ["y", "x"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("xx", 'recipes: no recipe "xx" (did you mean "x"?)'),
        ("fragments", 'recipes: no recipe "fragments" (there are: x, y)'),
        ("../x", 'recipes: the name "../x" is no safe file name'),
    ],
)
def test_a_recipe_that_is_not_there_is_refused(name: str, says: str, project: Path) -> None:
    site = site_of(GOOD["fragments in fragments, with values from here and there"], project)
    with pytest.raises(UsageError) as caught:
        load_recipe(name, site, types=types)
    assert str(caught.value).startswith(says)


def test_files_that_cannot_be_read_are_refused(project: Path) -> None:
    site = site_of(GOOD["the smallest"], project)
    (project / "recipes/x/recipe.toml").write_bytes(b'[image]\nname = "\xff"\n')
    (project / "recipes/y/recipe.toml").mkdir(parents=True)
    (project / "recipes/z").mkdir()
    (project / "recipes/z/recipe.toml").symlink_to("nowhere")
    with pytest.raises(UsageError) as caught:
        load_recipes(["x", "y", "z"], site, types=types)
    assert str(caught.value).splitlines() == [
        "recipes/x/recipe.toml:2: is not UTF-8 text: byte 0xff",
        "recipes/y/recipe.toml: is a directory, not a file",
        "recipes/z/recipe.toml: cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "9" * 5000], ids=["nested", "digits"])
def test_toml_that_is_too_much_for_its_reader_is_refused(text: str, project: Path) -> None:
    site = site_of(GOOD["the smallest"], project)
    (project / "recipes/x/recipe.toml").write_text(text)
    with pytest.raises(UsageError, match=r"^recipes/x/recipe\.toml: not TOML that can be read: "):
        load_recipe("x", site, types=types)


@pytest.mark.parametrize("value", ["9" * 40, "1e999", "nan"])
def test_numbers_that_are_out_of_bounds_are_no_traceback(value: str, project: Path) -> None:
    site = site_of(GOOD["the smallest"], project)
    with (project / "recipes/x/recipe.toml").open("a") as file:
        file.write(f'[[stage]]\nname = "a"\ntype = "command"\nargv = ["a"]\njobs = {value}\nwait = "x"\n')
    with pytest.raises(UsageError, match="wait"):
        load_recipe("x", site, types=types)


def test_an_overlay_that_is_a_link_out_of_overlays_is_refused(project: Path) -> None:
    case = GOOD["fragments in fragments, with values from here and there"]
    site = site_of(case, project)
    (project / "overlays/o").rename(project / "elsewhere")
    (project / "overlays/o").symlink_to(project / "elsewhere")
    with pytest.raises(UsageError) as caught:
        load_recipe("x", site, types=types)
    assert 'stage 1 "{{ label }}-tree": overlay "o" leads out of overlays/' in str(caught.value)


def test_links_in_an_overlay_are_no_templates(project: Path) -> None:
    site = site_of(GOOD["fragments in fragments, with values from here and there"], project)
    (project / "overlays/o/link.j2").symlink_to("/nowhere")
    assert load_recipe("x", site, types=types)


def test_loading_a_right_recipe_imports_nothing_slow(project: Path) -> None:
    site_of(GOOD["parameters keep their types, lists are spliced, other parameters are put in"], project)
    program = (
        "import sys; from recipes import types\n"
        "from pipeline.recipe.load import load_recipe; from pipeline.recipe.site import load_site\n"
        "load_recipe('x', load_site(None), types=types)\n"
        "slow = {'jinja2', 'tree_sitter', 'tree_sitter_toml', 'jsonschema', 'difflib', 'requests'}\n"
        "print(slow & set(sys.modules))"
    )
    here = Path(__file__).parent
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project,
        env={"PYTHONPATH": f"{here}:{here.parents[1]}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "set()\n"


@pytest.fixture
def impatient() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise AssertionError("it reads and reads")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("impatient")
def test_what_would_never_end_is_not_read(project: Path) -> None:
    case = GOOD["the smallest"]
    site = site_of(case, project)
    for name in ("recipes/y/recipe.toml", "recipes/x/test_pipe.py", "recipes/x/recipe.lock"):
        (project / name).parent.mkdir(exist_ok=True)
        os.mkfifo(project / name)
    (project / "recipes/x/test_zero.py").symlink_to("/dev/zero")
    with pytest.raises(UsageError) as caught:
        load_recipes(["x", "y"], site, types=types)
    assert sorted(str(caught.value).splitlines()) == [
        "recipes/x/test_pipe.py: cannot be read: a named pipe, not a file",
        "recipes/x/test_zero.py: cannot be read: a device, not a file",
        "recipes/y/recipe.toml: cannot be read: a named pipe, not a file",
    ]
    with pytest.raises(UsageError, match="cannot read the lock: a named pipe, not a file"):
        locks.read(project / "recipes/x/recipe.lock")
    site.file.unlink()
    os.mkfifo(site.file)
    with pytest.raises(UsageError, match="cannot be read: a named pipe, not a file"):
        load_site(site.file)
