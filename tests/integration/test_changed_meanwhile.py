"""Files of the project that somebody writes to while they are built from: refused, and never kept wrongly."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pipeline.build.image import build_image
from pipeline.build.job import BuildOptions, Job
from pipeline.build.outcome import ImageOutcome
from pipeline.build.plan import PlannedStage, plan_stage
from pipeline.events import Event, Note, StageStarted
from pipeline.recipe.load import load_recipe
from pipeline.recipe.model import PlacedStage
from tests.integration.small_project import STAGES, SmallProject, make_small_project

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="building takes root")

ARCHIVE = '[[stage]]\nname = "unpacked"\ntype = "archive"\nsource = "src/pk.tar"\ndestination = "/opt"\n'
UNTESTED = BuildOptions(verify=False)


@pytest.fixture
def project(tmp_path: Path) -> SmallProject:
    return make_small_project(tmp_path / "project")


def pack(project: SmallProject, text: str, name: str = "src/pk.tar") -> Path:
    content = project.write("content", text)
    path = project.path / name
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        archive.add(content, "content")
    return path


def build(
    project: SmallProject, stage: str = "", meanwhile: Callable[[], object] = lambda: None
) -> ImageOutcome:
    """Build ``web``; ``meanwhile`` is called when ``stage`` begins."""

    def hear(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == stage:
            meanwhile()

    return build_image(Job(project.site, load_recipe("web", project.site), UNTESTED), hear)


def content(project: SmallProject, path: str) -> str:
    """A file of the uppermost layer of the newest version."""
    version = project.store.versions.resolve("web")
    return (project.store.layer_tree(version.layers[-1]) / path).read_text()


def refused(outcome: ImageOutcome) -> str:
    """What is said of the one stage that failed, when nothing of it is kept."""
    assert outcome.exit_code == 1 and outcome.version is None
    [problem] = outcome.problems
    assert problem.hint is not None and "run the same command again" in problem.hint
    return problem.message


@pytest.mark.parametrize("back", [False, True], ids=["replaced", "replaced and put back"])
def test_an_archive_that_is_replaced_while_its_stage_runs_makes_no_layer(
    project: SmallProject, back: bool
) -> None:
    project.recipe(ARCHIVE)
    good, evil = pack(project, "good"), pack(project, "evil", "src/evil.tar")
    wanted = good.read_bytes()

    def replace() -> None:
        os.replace(evil, good)

    def replace_and_restore() -> None:
        os.replace(good, project.path / "aside")
        os.replace(project.path / "aside", good)

    message = refused(build(project, "unpacked", replace_and_restore if back else replace))
    assert message.startswith('stage "unpacked": ') and "src/pk.tar was changed" in message
    assert project.store.failed("web") is None
    good.write_bytes(wanted)
    assert build(project).exit_code == 0
    assert content(project, "opt/content") == "good"


def test_an_archive_that_is_written_over_while_its_stage_runs_makes_no_layer(project: SmallProject) -> None:
    project.recipe(ARCHIVE)
    path = pack(project, "good")
    evil = pack(project, "evil", "src/evil.tar").read_bytes()
    assert "src/pk.tar was changed" in refused(build(project, "unpacked", lambda: path.write_bytes(evil)))
    assert build(project).exit_code == 0
    assert content(project, "opt/content") == "evil"


CHANGES: dict[str, Callable[[Path], object]] = {
    "two.conf": lambda tree: (tree / "etc/two.conf").write_text("a = 1\nb = 3\n"),
    "two.d/more": lambda tree: (tree / "etc/two.d/more").unlink(),
    "new": lambda tree: (tree / "etc/new").write_text("new\n"),
    "two.d": lambda tree: (tree / "etc/two.d").chmod(0o700),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_overlay_that_is_changed_while_it_is_laid_makes_no_layer(project: SmallProject, name: str) -> None:
    tree = project.path / "overlays/two"
    message = refused(build(project, "two", lambda: CHANGES[name](tree)))
    assert message.startswith('stage "two": ') and f"overlays/two/etc/{name}" in message
    assert [stage.name for stage in build(project).stages if stage.cached] == ["one"]
    assert project.run("fsck").exit_code == 0


def test_an_overlay_that_was_changed_before_its_stage_began_makes_no_layer(project: SmallProject) -> None:
    file = project.path / "overlays/two/etc/two.conf"

    def planned_and_changed(placed: PlacedStage, *rest: Any) -> PlannedStage:
        found = plan_stage(placed, *rest)
        if placed.stage.name == "two":
            file.write_text("a = 7\n")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.build.image.plan_stage", planned_and_changed)
        assert "overlays/two was changed" in refused(build(project))
    assert build(project).exit_code == 0


@pytest.mark.parametrize("there", [True, False], ids=["one before", "none before"])
def test_a_lock_that_came_while_a_build_ran_stays_and_that_is_said(
    project: SmallProject, there: bool
) -> None:
    lock = project.path / "recipes/web/recipe.lock"
    project.built()
    pulled = lock.read_bytes() + b"# theirs\n"
    old = lock.read_bytes().replace(b"epoch = ", b"epoch = 1")
    lock.write_bytes(old) if there else lock.unlink()
    said: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "three":
            lock.write_bytes(pulled)
        if isinstance(event, Note):
            said.append(event.text)

    project.recipe(STAGES.replace('create = "3"', 'create = "4"'))
    options = BuildOptions(verify=False, relock=there)
    outcome = build_image(Job(project.site, load_recipe("web", project.site), options), hear)
    assert (outcome.exit_code, outcome.version, outcome.lock) == (0, 2, "kept")
    assert lock.read_bytes() == pulled
    [text] = [text for text in said if "was changed while this ran, and stays so" in text]
    assert text.endswith(f"run: pipeline {'lock' if there else 'build'} web")
    version = project.store.versions.resolve("web@2")
    kept = project.store.versions.directory(version) / "recipe.lock"
    assert version.lock_digest == sha256(kept.read_bytes()).hexdigest() and kept.read_bytes() != pulled


def test_what_a_version_says_of_its_recipe_and_lock_is_what_it_was_built_of(project: SmallProject) -> None:
    plain = build(project)
    recipe, lock = (project.path / "recipes/web" / name for name in ("recipe.toml", "recipe.lock"))
    version = project.store.versions.resolve("web@1")
    assert plain.version == 1 and version.lock_digest == sha256(lock.read_bytes()).hexdigest()
    project.recipe(STAGES.replace('create = "3"', 'create = "4"'))
    of_recipe = recipe.read_text()
    of_lock = lock.read_bytes()

    def scribble() -> None:
        recipe.write_text("no recipe")
        lock.write_text("no lock")

    assert build(project, "three", scribble).version == 2
    recipe.write_text(of_recipe)
    lock.write_bytes(of_lock)
    found = project.store.versions.resolve("web@2")
    assert found.lock_digest == sha256(of_lock).hexdigest()
    assert project.run("fsck").exit_code == 0
    project.recipe(STAGES.replace('create = "3"', 'create = "4"') + "[parameters]\nunused = 1\n")
    recipe.write_text(of_recipe + '\n[[stage]]\nname = "more"\ntype = "file"\npath = "/x"\ncreate = "x"\n')
    assert build(project).version == 3
    digests = {project.store.versions.resolve(f"web@{number}").recipe_digest for number in (1, 2, 3)}
    assert len(digests) == 3
    assert found.recipe_digest == sha256(sha256(of_recipe.encode()).digest()).hexdigest()


def test_a_recipe_that_is_renamed_away_while_it_is_built_ends_with_a_table(project: SmallProject) -> None:
    project.built("web")
    project.recipe(STAGES.replace('create = "3"', 'create = "4"'))
    folder = project.path / "recipes/web"
    outcome = build(project, "three", lambda: folder.rename(project.path / "recipes/away"))
    assert (outcome.version, outcome.exit_code, len(outcome.stages)) == (2, 0, 3)


def test_a_base_in_which_only_times_changed_is_told_as_that_by_build_and_diff(project: SmallProject) -> None:
    project.built("web")
    os.utime(project.path / "base/etc/passwd", (1, 1))
    project.write("base/etc/deep/new", "new\n").unlink()
    assert project.run("plan", "web").out.startswith("web, on small\n")
    for words in (("plan", "web"), ("explain", "web"), ("build", "web")):
        refused = project.run(*words)
        assert refused.exit_code == 4, words
        assert 'recipe.toml:3: the base "small" has changed since recipes/web/recipe.lock was' in refused.err
        assert "hint: what changed in it: only times: /etc/deep, /etc/passwd\n" in refused.err
        assert "run: pipeline lock web" in refused.err
    project.built("web")
    told = project.run("diff", "web@1", "web@2").out.splitlines()
    assert told[1].startswith("  base_digest: ")
    assert told[2:] == ["  changed in the base: only times: /etc/deep, /etc/passwd"]


def test_plan_finds_what_changed_behind_a_time_that_was_set_back(project: SmallProject) -> None:
    project.built("web")
    passwd = project.path / "base/etc/passwd"
    status = passwd.stat()
    passwd.chmod(0o600)
    passwd.chmod(status.st_mode & 0o777)
    same = project.run("plan", "web")
    assert same.exit_code == 0
    assert "web, on small: would be web@1, which is there" in same.out
    what = f"the base small has changed since {project.path}/base was imported; what it holds is the one of"
    assert f"note: {what} recipe.lock, and a build imports it anew\n" in same.out
    passwd.write_text(passwd.read_text().replace("root:x", "root:y"))
    os.utime(passwd, ns=(status.st_atime_ns, status.st_mtime_ns))
    for verb in ("plan", "build"):
        refused = project.run(verb, "web")
        assert refused.exit_code == 4
        assert "hint: what changed in it: /etc/passwd\n" in refused.err


def test_plan_promises_no_version_on_a_base_that_it_could_not_compare(project: SmallProject) -> None:
    project.built("web")
    project.write("base/etc/new", "new\n")
    shutil.rmtree(project.path / "store/layers" / project.store.versions.resolve("web").layers[0])
    planned = project.run("plan", "web")
    assert planned.exit_code == 0
    assert planned.out.startswith("web, on small\n")
    ends = "a build imports it first, and ends with 4 if it is not the one of recipe.lock"
    assert f"taken to be the one of recipe.lock; {ends}\n" in planned.out


def test_plan_of_a_changed_base_without_a_lock_does_not_know_what_runs(project: SmallProject) -> None:
    project.built("web")
    (project.path / "recipes/web/recipe.lock").unlink()
    project.write("base/etc/new", "new\n")
    planned = project.run("plan", "web")
    assert planned.exit_code == 0
    assert "was imported, and a build imports it anew; what changed in it: /etc/new\n" in planned.out
    assert "0 of 3 stages are cached" in planned.out
    assert "unknown" in planned.out


def test_a_base_that_has_changed_since_it_was_locked_is_told_with_what_changed(project: SmallProject) -> None:
    project.built("web")
    project.write("base/etc/passwd", "root:x:0:0::/root:/bin/bash\n")
    project.write("base/etc/new", "new\n")
    os.utime(project.path / "base/etc/group", (1, 1))
    refused = project.run("build", "web")
    assert refused.exit_code == 4
    assert "hint: what changed in it: /etc/new, /etc/passwd\n" in refused.err
    for number in range(9):
        project.write(f"base/etc/a{number}", "a\n")
    told = "what changed in it: /etc/a0, /etc/a1, /etc/a2, /etc/a3, /etc/a4 and more\n"
    assert told in project.run("build", "web").err
    lock = project.path / "recipes/web/recipe.lock"
    digest = lock.read_text().partition('digest = "')[2][:64]
    lock.write_text(lock.read_text().replace(digest, "0" * 64))
    unknown = "what changed in it is not known here: the store does not have it as it was locked\n"
    assert unknown in project.run("build", "web").err
