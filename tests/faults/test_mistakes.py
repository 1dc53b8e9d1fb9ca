"""Recipes, site files and locks with mistakes: all told at once, with their places, and nothing is run."""

from __future__ import annotations

import os

import pytest

from tests.faults.archives import tar_with
from tests.faults.site import Site, archive_stage, file_stage

WRONG = """\
[image]
name = "web"
base = "smal"

[parameters]
prefix = "/etc"

[[stage]]
name = "one"
type = "file"
path = "/etc/one"
creat = "1"

[[stage]]
name = "one"
type = "fil"

[[stage]]
name = "three"
type = "overlay"
tree = "nowhere"

[[stage]]
name = "four"
type = "file"
path = "{{ prefx }}/four"
touch = 1
"""


def test_every_mistake_of_a_recipe_is_told_with_its_line_and_nothing_runs(site: Site) -> None:
    site.write("recipes/web/recipe.toml", WRONG)
    ended = site.run("build")
    assert ended.exit_code == 2
    for number, words in {
        3: '"smal" (did you mean "small"?)',
        12: 'stage 1 "one": unknown option "creat" (did you mean "create"?)',
        15: 'stage 2 "one": the name "one" is taken by the stage at recipes/web/recipe.toml:8',
        16: 'stage 2 "one": unknown stage type "fil" (did you mean "file"?)',
        21: 'stage 3 "three": no overlay "nowhere"',
        26: 'stage 4 "four": undefined parameter "prefx" (did you mean "prefix"?)',
        27: 'stage 4 "four": option "touch" expects true or false, got the integer 1',
    }.items():
        assert any(
            line.startswith(f"pipeline: recipes/web/recipe.toml:{number}: ") and words in line
            for line in ended.err.splitlines()
        ), (number, ended.err)
    site.check_nothing_ran()


def test_mistakes_of_several_recipes_are_told_together(site: Site) -> None:
    for image in ("one", "two"):
        site.recipe(file_stage("a").replace("path", "pat"), image=image)
    ended = site.run("build")
    assert ended.exit_code == 2
    for image in ("one", "two"):
        assert f"{site.line('pat =', image)}: " in ended.err
    site.check_nothing_ran()


def test_a_good_image_is_not_built_when_another_recipe_is_wrong(site: Site) -> None:
    site.recipe(file_stage("a"), image="good")
    site.recipe(file_stage("a").replace("path", "pat"), image="wrong")
    assert site.run("build").exit_code == 2
    site.check_nothing_ran()


def test_every_mistake_of_the_site_file_is_told_with_its_line(site: Site) -> None:
    site.recipe(file_stage("a"))
    site.write("pipeline.toml", '[site]\nstor = "store"\nimages = "images"\n[mirrors]\n"htp://x" = "here"\n')
    ended = site.run("build")
    assert ended.exit_code == 2
    for told in (
        'pipeline.toml:1: [site]: key "store" is missing',
        'pipeline.toml:2: [site]: unknown key "stor" (did you mean "store"?)',
        'pipeline.toml:5: [mirrors]: "htp://x" is no beginning of a URL',
    ):
        assert f"pipeline: {told}" in ended.err
    site.check_nothing_ran()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"[image\nname = 1\n", ":1: not valid TOML: "),
        (b"\n\xff\xfe\n", ":2: is not UTF-8 text: byte 0xff"),
        (b'x = 1\nname = "\x00"\n', ":2: not valid TOML: "),
        (b"", "is missing"),
    ],
)
@pytest.mark.parametrize("name", ["pipeline.toml", "recipes/web/recipe.toml"])
def test_what_is_no_toml_is_told_with_its_file(site: Site, name: str, text: bytes, told: str) -> None:
    site.recipe(file_stage("a"))
    (site.path / name).write_bytes(text)
    ended = site.run("build")
    assert ended.exit_code == 2
    assert any(line.startswith(f"pipeline: {name}:") and told in line for line in ended.err.splitlines()), (
        ended.err
    )
    site.check_nothing_ran()


@pytest.mark.parametrize("verb", ["build", "lock", "plan"])
def test_an_image_that_nobody_described_is_told_with_the_nearest_name(site: Site, verb: str) -> None:
    site.recipe(file_stage("a"))
    ended = site.run(verb, "wbe")
    assert ended.exit_code == 2
    assert 'no recipe "wbe" (did you mean "web"?)' in ended.err
    site.check_nothing_ran()


@pytest.mark.parametrize("name", ["../web", "/etc", "", ".", "a/b", "web\n"])
def test_an_image_name_that_is_no_file_name_goes_nowhere(site: Site, name: str) -> None:
    site.recipe(file_stage("a"))
    site.write("web/recipe.toml", (site.path / "recipes/web/recipe.toml").read_text())
    ended = site.run("build", name)
    assert ended.exit_code == 2
    assert "is no safe file name" in ended.err if name else "is empty" in ended.err
    site.check_nothing_ran()


@pytest.mark.parametrize("name", ["web@1", "recipes/web", "recipes/web/recipe.toml"])
def test_who_names_a_version_or_a_file_instead_of_a_recipe_is_told_its_name(site: Site, name: str) -> None:
    site.recipe(file_stage("a"))
    ended = site.run("plan", name)
    assert ended.exit_code == 2
    assert 'a recipe goes by its name alone (did you mean "web"?)' in ended.err


def test_locked_without_a_lock_exits_4_and_runs_nothing(site: Site) -> None:
    recipe = site.recipe(file_stage("a"))
    ended = site.run("build", "--locked")
    assert ended.exit_code == 4
    assert f"pipeline: web: {os.path.relpath(recipe, site.path)}: web has no recipe.lock" in ended.err
    checked = site.run("lock", "--check")
    assert checked.exit_code == 4
    assert f"pipeline: {os.path.relpath(recipe, site.path)}: web has no recipe.lock" in checked.err
    assert "run: pipeline lock web" in ended.err
    assert "a" not in site.layers()
    assert not site.lock().exists()


def test_one_lock_that_holds_is_told_in_the_singular(site: Site) -> None:
    site.recipe(file_stage("a"))
    assert site.run("lock").exit_code == 0
    assert site.run("lock", "--check").out == "1 lock holds\n"


def test_locked_with_a_stale_lock_exits_4_says_where_and_keeps_the_lock(site: Site) -> None:
    source = site.path / "a.tar"
    source.write_bytes(tar_with({"a": b"x"}))
    site.recipe(archive_stage("a.tar"))
    assert site.run("build").exit_code == 0
    before = site.lock().read_bytes()
    source.write_bytes(tar_with({"b": b"x"}))
    ended = site.run("build", "--locked")
    assert ended.exit_code == 4
    assert site.line("[[stage]]") in ended.err or site.line("source") in ended.err
    assert site.lock().read_bytes() == before
    assert site.run("build").exit_code == 0
    assert site.lock().read_bytes() != before


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda text: text.replace("version = 1", "version = 9"), 4),
        (lambda text: text.replace('name = "small"', "name = 5"), 7),
        (lambda text: text.replace("epoch", "epcoh"), 9),
        (lambda text: text + "[[", 10),
    ],
)
def test_a_lock_damaged_by_hand_is_refused_with_its_line(site: Site, change: object, line: int) -> None:
    assert callable(change)
    site.recipe(file_stage("a"))
    assert site.run("build").exit_code == 0
    damaged = change(site.lock().read_text())
    site.lock().write_text(damaged)
    site.recipe(file_stage("a"), file_stage("b"))
    ended = site.run("build")
    assert ended.exit_code == 2, ended.err
    assert f"recipes/web/recipe.lock:{line}: " in ended.err
    assert site.lock().read_text() == damaged
    assert "b" not in site.layers()


def test_sources_that_cannot_be_had_are_all_told_before_anything_runs(site: Site) -> None:
    site.write("files/there.tar", "")
    site.recipe(
        file_stage("first"),
        archive_stage("gopher://x/y.tgz", name="scheme"),
        archive_stage("files/missing.tgz", name="missing"),
        archive_stage("files", name="folder"),
        archive_stage("../../../etc/passwd", name="outside"),
        '\n[[stage]]\nname = "rpm"\ntype = "packages"\ninstall = ["files/none.rpm"]\n',
    )
    ended = site.run("build")
    assert ended.exit_code == 2, ended.err
    for words in (
        'stage 2 "scheme": "gopher://x/y.tgz" cannot be fetched: unknown scheme "gopher"',
        'stage 3 "missing": "files/missing.tgz" does not exist',
        'stage 4 "folder": "files" is no file',
        'stage 5 "outside": "../../../etc/passwd" leads out of the project',
        'stage 6 "rpm": "files/none.rpm" does not exist',
    ):
        assert words in ended.err
    assert not site.store.exists()


def test_a_url_that_is_none_is_refused_at_loading_with_its_line(site: Site) -> None:
    urls = ["http://[bad/x", "http://server:99999/x", "ftp://server:ftp/x", "http:///x", "https://a b/x"]
    repository = '\n[[stage]]\nname = "keys"\ntype = "repository"\n'
    site.recipe(
        *(archive_stage(url, name=f"s{number}") for number, url in enumerate(urls)),
        repository + 'source = "http://[bad/x.repo"\n',
        repository.replace("keys", "inline") + 'id = "a"\nbaseurl = "http://server:$releasever:1/x"\n',
    )
    ended = site.run("build")
    assert ended.exit_code == 2, ended.err
    for url, fault in zip(urls, ["host", "port", "port", "names no host", "host"], strict=True):
        [told] = [line for line in ended.err.splitlines() if f'"{url}" is no URL: ' in line]
        assert told.startswith(f"pipeline: {site.line(url)}: ") and fault in told, told
    assert '"keys": "http://[bad/x.repo" is no URL: its host cannot be read' in ended.err
    assert '"http://server:$releasever:1/x" is no URL: its port' in ended.err
    assert "defect" not in ended.err
    site.check_nothing_ran()


def test_an_exit_code_that_no_program_has_is_refused(site: Site) -> None:
    site.recipe('\n[[stage]]\nname = "a"\ntype = "command"\nshell = "true"\nexit_codes = [300]\n')
    ended = site.run("build")
    assert ended.exit_code == 2
    assert f"{site.line('exit_codes')}: " in ended.err and "300 is no exit code" in ended.err
    site.check_nothing_ran()


def test_a_project_without_recipes_is_an_error_and_no_success(site: Site) -> None:
    for verb in ("build", "lock"):
        ended = site.run(verb)
        assert ended.exit_code == 2
        assert "there are no recipes" in ended.err


def test_lock_replaces_a_damaged_lock(site: Site) -> None:
    site.recipe(file_stage("a"))
    assert site.run("build").exit_code == 0
    site.lock().write_text("x = [")
    assert site.run("build").exit_code == 2
    ended = site.run("lock")
    assert ended.exit_code == 0, ended.err
    assert "the damaged recipe.lock is replaced" in ended.err
    assert site.run("build", "--locked").exit_code == 0


def test_a_failure_that_was_mended_is_not_entered_any_more(site: Site) -> None:
    good = site.recipe(file_stage("a"))
    assert site.run("build").exit_code == 0
    text = good.read_text()
    edit = '\n[[stage]]\nname = "b"\ntype = "edit"\nfile = "/etc/passwd"\nafter = "nowhere"\ninsert = "x"\n'
    good.write_text(text + edit)
    assert site.run("build").exit_code == 1
    assert (site.store / "failed/web").exists()
    good.write_text(text)
    assert site.run("build").exit_code == 0
    assert not (site.store / "failed/web").exists()
