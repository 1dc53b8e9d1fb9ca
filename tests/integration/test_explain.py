"""``plan`` and ``explain``: which stages would run, why, and that looking changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.small_project import STAGES, SmallProject, make_small_project


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose images ``web`` and ``shop``, which is based on it, are built."""
    project = make_small_project(tmp_path_factory.mktemp("explain") / "project")
    project.recipe('[[stage]]\nname = "own"\ntype = "file"\npath = "/etc/own"\ntouch = true\n', "shop", "web")
    project.built()
    return project.path


@pytest.fixture
def project(built_once: Path, tmp_path: Path) -> SmallProject:
    """A copy of it. Its base is a link, so that it is the directory that was imported."""
    path = tmp_path / "project"
    shutil.copytree(built_once, path, ignore=shutil.ignore_patterns("base"))
    copied = SmallProject(path)
    copied.write(
        "pipeline.toml",
        f'[site]\nstore = "store"\nimages = "images"\n\n[bases]\nsmall = "{built_once / "base"}"\n',
    )
    return copied


def states(project: SmallProject, image: str = "web", exit_code: int = 0) -> dict[str, str]:
    result = project.run("plan", image, "--json")
    assert result.exit_code == exit_code, result.err
    document = next(each for each in result.json()["images"] if each["image"] == image)
    return {stage["name"]: stage["state"] for stage in document["stages"]}


def reasons(project: SmallProject, image: str = "web") -> dict[str, list[tuple[str, str, list[str]]]]:
    """Stage → (kind, message, details), for stages that would run."""
    result = project.run("explain", image, "--json")
    assert result.exit_code == 0, result.err
    return {
        stage["name"]: [(each["kind"], each["message"], each["details"]) for each in stage["reasons"]]
        for stage in result.json()["stages"]
        if stage["state"] != "cached"
    }


def picture(folder: Path) -> dict[str, Any]:
    """Everything below ``folder``, with contents and times."""
    return {
        str(path): (
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted([folder, *folder.rglob("*")])
        if not path.is_relative_to(folder / "store/work")
    }


def test_with_nothing_to_do_all_is_cached_and_the_version_is_named(project: SmallProject) -> None:
    assert set(states(project).values()) == set(states(project, "shop").values()) == {"cached"}
    result = project.run("plan")
    assert "web, on small: would be web@1, which is there" in result.out
    assert "3 of 3 stages are cached" in result.out
    out = project.run("explain", "web", "one").out
    assert "cached since" in out
    assert "first in web@1" in out


@pytest.mark.parametrize("words", [("plan",), ("explain", "web"), ("explain", "shop", "--json")])
def test_looking_changes_nothing(project: SmallProject, words: tuple[str, ...]) -> None:
    project.recipe(STAGES.replace('"1"', '"one"'))
    before = picture(project.path)
    assert project.run(*words).exit_code == 0
    assert picture(project.path) == before


@pytest.mark.parametrize("words", [("plan",), ("explain", "web")])
def test_where_nothing_was_ever_built_it_says_so_and_makes_no_store(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    project = make_small_project(tmp_path / "project")
    project.write("archive.tar", "old enough to be remembered")
    os.utime(project.path / "archive.tar", (1, 1))
    source = '[[stage]]\nname = "unpack"\ntype = "archive"\nsource = "archive.tar"\ndestination = "/opt"\n'
    project.recipe(STAGES + source)
    before = picture(project.path)
    result = project.run(*words)
    assert result.exit_code == 0, result.err
    assert "the base small is not imported yet, and no lock says what it is" in result.out
    assert "unpack" in result.out
    assert "not locked" in result.out
    assert picture(project.path) == before


def test_without_a_store_the_lock_says_what_the_base_is(project: SmallProject) -> None:
    shutil.rmtree(project.path / "store")
    assert set(states(project).values()) == {"would run"}
    assert "taken to be the one of recipe.lock" in project.run("plan", "web").out
    assert reasons(project)["one"][0][0] == "first"


def test_an_option_is_named_with_old_and_new_value_and_what_follows_names_it(project: SmallProject) -> None:
    project.recipe(STAGES.replace('create = "1"', 'create = "one"\nmode = "0600"'))
    assert states(project) == {"one": "would run", "two": "would run", "three": "would run"}
    assert reasons(project) == {
        "one": [
            ("option", 'option create: "1" → "one"', []),
            ("option", 'option mode: not given → "0600"', []),
        ],
        "two": [("parent", "it stands on the stage 'one', which runs again", [])],
        "three": [("parent", "it stands on the stage 'two', which runs again", [])],
    }


def test_the_layer_of_the_newest_version_is_what_is_compared_with(project: SmallProject) -> None:
    project.recipe(STAGES.replace('"1"', '"one"'))
    project.built("web")
    project.recipe(STAGES.replace('"1"', '"eins"'))
    assert reasons(project)["one"][0][1] == 'option create: "one" → "eins"'
    assert "compared with web@2" in project.run("explain", "web", "one").out


def test_a_stage_put_in_between_is_new_and_the_next_says_on_what_it_stood(project: SmallProject) -> None:
    extra = '[[stage]]\nname = "extra"\ntype = "file"\npath = "/etc/extra"\ntouch = true\n\n'
    first, rest = STAGES.split('[[stage]]\nname = "two"')
    project.recipe(f'{first}{extra}[[stage]]\nname = "two"{rest}')
    found = reasons(project)
    assert found["extra"] == [("first", "first build of a stage of this name", [])]
    assert found["two"] == [("parent", "it stands on the stage 'extra', which runs again", [])]


def test_a_stage_taken_out_is_named_as_what_the_next_stood_on(project: SmallProject) -> None:
    first, rest = STAGES.split('[[stage]]\nname = "two"')
    project.recipe(first + rest[rest.index("[[stage]]") :])
    assert reasons(project) == {
        "three": [("parent", "it stands on the stage 'one' now; before, on the stage 'two'", [])]
    }


def test_the_files_of_an_overlay_that_changed_are_named(project: SmallProject) -> None:
    project.write("overlays/two/etc/two.conf", "a = 2\n")
    project.write("overlays/two/etc/new", "n")
    (project.path / "overlays/two/etc/two.d/more").unlink()
    assert reasons(project)["two"] == [
        (
            "tree",
            "the content of overlays/two has changed",
            ["+ /etc/new", "~ /etc/two.conf", "- /etc/two.d/more"],
        )
    ]


def test_the_parameter_of_a_template_is_named(project: SmallProject) -> None:
    project.write("overlays/two/etc/vfs.j2", "{{ vfs }}\n")
    project.recipe(head="[parameters]\nvfs = 16")
    project.built("web")
    project.recipe(head="[parameters]\nvfs = 8")
    assert reasons(project)["two"] == [("parameter", "parameter vfs: 16 → 8", [])]


def test_changed_code_is_told_with_the_modules_written_since(
    project: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.build import prospect as ahead
    from pipeline.build.explaining import explain
    from pipeline.build.session import recipes_of

    monkeypatch.setattr("pipeline.build.plan.code_digest", lambda _: "changed")
    site, store = project.site, project.store
    (found,) = ahead.prospects(site, recipes_of(site, ("web",)), store)
    (code,) = explain(found, store)[0].reasons
    assert (code.kind, code.details) == ("code", ())
    module = Path(__file__).parent.parent.parent / "pipeline/stages/file.py"
    real = Path.stat
    made = project.store.versions.resolve("web").created

    def later(path: Path, **rest: Any) -> os.stat_result:
        found = real(path, **rest)
        fields = list(found)
        fields[8] = int(made) + 100
        return os.stat_result(fields) if path == module else found

    monkeypatch.setattr(Path, "stat", later)
    (code,) = explain(found, store)[0].reasons
    assert code.details == ("pipeline.stages.file",)


def test_a_layer_that_was_lost_is_told(project: SmallProject) -> None:
    version = project.store.versions.resolve("web")
    shutil.rmtree(project.path / "store/layers" / version.stages[1].layer)
    assert states(project) == {"one": "cached", "two": "would run", "three": "cached"}
    assert reasons(project)["two"] == [
        ("gone", f"its layer {version.stages[1].layer} is not in the store any more", [])
    ]


def test_after_an_unfinished_build_the_layer_in_the_store_is_compared_with(project: SmallProject) -> None:
    late = '[[stage]]\nname = "late"\ntype = "file"\npath = "/etc/late"\ncreate = "a"\n'
    bad = '[[stage]]\nname = "bad"\ntype = "edit"\nfile = "/etc/none"\nafter = "x"\ninsert = "y"\n'
    project.recipe(STAGES + late + bad)
    assert project.run("build", "web").exit_code == 1
    project.recipe(STAGES + late.replace('"a"', '"b"') + bad)
    found = reasons(project)
    assert found["late"] == [("option", 'option create: "a" → "b"', [])]
    assert found["bad"][0][0] == "first"
    assert "compared with the layer of 20" in project.run("explain", "web", "late").out


def test_an_image_on_one_that_would_run_is_told_to_wait_for_it(project: SmallProject) -> None:
    project.recipe(STAGES.replace('"3"', '"three"'))
    assert states(project, "shop") == {"own": "would run"}
    assert "its base web would be built first" in project.run("plan", "shop").out
    kind, message, _ = reasons(project, "shop")["own"][0]
    assert (kind, message) == ("parent", "the base 'web' has changed: its stage 'three' runs again")


def test_an_image_on_one_that_would_run_keeps_its_lock(project: SmallProject) -> None:
    project.recipe(STAGES.replace('"3"', '"three"'))
    assert "recipe.lock" not in project.run("plan", "shop").out
    project.built("web")
    assert project.run("lock", "--check", "shop").exit_code == 0
    kind, message, _ = reasons(project, "shop")["own"][0]
    assert (kind, message) == ("parent", "the base 'web' has changed: its stage 'three' is another one now")


def test_a_stage_taken_out_of_the_base_is_named(project: SmallProject) -> None:
    project.recipe(STAGES[: STAGES.rindex("[[stage]]")])
    message = reasons(project, "shop")["own"][0][1]
    assert message == "the base 'web' has changed: its stage 'three' is there no more"


def test_an_image_that_stands_on_another_base_now_is_told_of_both(project: SmallProject) -> None:
    project.recipe(STAGES.replace('"3"', '"three"'), name="other")
    shop = project.path / "recipes/shop/recipe.toml"
    shop.write_text(shop.read_text().replace('base = "web"', 'base = "other"'))
    message = reasons(project, "shop")["own"][0][1]
    assert message == "it stands on the base 'other' now; before, on the stage 'three' of 'web'"


def test_where_lock_and_recipe_differ_the_line_is_told(project: SmallProject) -> None:
    project.write("file.tar", "content")
    stage = '[[stage]]\nname = "unpack"\ntype = "archive"\nsource = "file.tar"\ndestination = "/opt"\n'
    recipe = project.recipe(STAGES + stage)
    line = recipe.read_text().splitlines().index('name = "unpack"')
    result = project.run("plan", "web")
    assert result.exit_code == 0
    assert f'recipes/web/recipe.toml:{line}: the source "file.tar" is asked for' in result.out
    assert states(project)["unpack"] == "not locked"
    assert reasons(project)["unpack"][0][0] == "lock"


def test_a_base_that_changed_since_the_lock_ends_with_4_as_a_build_would(
    project: SmallProject, tmp_path: Path
) -> None:
    lock = project.path / "recipes/web/recipe.lock"
    text = lock.read_text()
    digest = text.partition('digest = "')[2][:64]
    lock.write_text(text.replace(digest, "0" * 64))
    for words in (("plan", "web"), ("explain", "web")):
        result = project.run(*words)
        assert result.exit_code == 4
        assert 'recipe.toml:3: the base "small" has changed since' in result.err
    assert project.run("build", "web").exit_code == 4


def test_a_base_that_was_touched_is_said_to_be_imported_again(
    built_once: Path, project: SmallProject
) -> None:
    record = project.path / "store/bases/small.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "fingerprint": "old"}))
    out = project.run("plan", "web").out
    assert f"the base small has changed since {built_once}/base was imported; what it holds is " in out
    assert "3 of 3 stages are cached" in out


def test_a_base_that_is_missing_is_refused(project: SmallProject) -> None:
    project.write("pipeline.toml", '[site]\nstore = "store"\nimages = "images"\n\n[bases]\nsmall = "none"\n')
    for words in (("plan", "web"), ("lock", "--check", "web")):
        result = project.run(*words)
        assert result.exit_code == 1
        assert "base 'small'" in result.err
        assert f"{project.path}/none does not exist" in result.err
        assert "hint: the site file says where bases are" in result.err


@pytest.mark.parametrize(
    ("made", "missing"),
    [(("other",), "etc and no bin or usr/bin"), (("other/etc",), "bin or usr/bin"), (("other/bin",), "etc")],
)
@pytest.mark.parametrize("words", [("plan", "web"), ("explain", "web"), ("lock", "--check", "web")])
def test_a_base_that_is_no_root_is_refused_as_a_build_would(
    project: SmallProject, words: tuple[str, ...], made: tuple[str, ...], missing: str
) -> None:
    for name in made:
        (project.path / name).mkdir(parents=True)
    project.write("pipeline.toml", '[site]\nstore = "store"\nimages = "images"\n\n[bases]\nsmall = "other"\n')
    result = project.run(*words)
    assert result.exit_code == 1
    told = f"base 'small': {project.path}/other is not the root of a system: it has no {missing}"
    assert told in result.err


def test_a_base_at_another_place_is_told_with_the_place_that_was_imported(
    built_once: Path, project: SmallProject
) -> None:
    base = project.path / "moved"
    shutil.copytree(built_once / "base", base)
    project.write("pipeline.toml", '[site]\nstore = "store"\nimages = "images"\n\n[bases]\nsmall = "moved"\n')
    out = project.run("plan", "web").out
    assert f"the base small was imported from {built_once}/base, and the site file names {base} now; " in out
    assert "has changed since" not in out


def test_an_unknown_stage_or_image_is_refused_with_the_nearest(project: SmallProject) -> None:
    result = project.run("explain", "web", "tow")
    assert (result.exit_code, 'did you mean "two"' in result.err) == (2, True)
    assert project.run("plan", "wbe").exit_code == 2


def test_a_lab_that_is_not_built_is_not_built_by_looking(tmp_path: Path) -> None:
    project = make_small_project(tmp_path / "project")
    project.write("pipeline.toml", '[site]\nstore = "store"\nimages = "images"\n\n[lab]\nhome = "lab"\n')
    project.recipe(base="openstack-image")
    result = project.run("plan", "web")
    assert result.exit_code == 0, result.err
    assert "the lab is not built yet; a build does that first" in result.out
    assert not (project.path / "lab").exists()
