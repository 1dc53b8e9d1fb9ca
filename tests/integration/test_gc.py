"""``gc`` on a project: what stays, what goes, and how it and builds wait for each other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from published_versions import marked, private_mounts

from pipeline.build.collecting import collect, collectable
from pipeline.build.entering import root_of
from pipeline.build.releasing import ALL
from pipeline.chroot import syscalls
from pipeline.cluster import record, rolled
from pipeline.events import ignore
from pipeline.publish.publication import publish, rollback
from pipeline.publish.record import Publication, publication, remember
from pipeline.rollout import folder as folders
from pipeline.rollout.model import Node, Policy
from pipeline.store.presence import alone, occupied
from tests.integration.small_project import STAGES, SmallProject, make_small_project
from tests.simulated_rollout import WAITS, Scene, World

WHOLE = Policy(canary=1, max_unavailable=1, waits=WAITS)


@pytest.fixture
def project(tmp_path: Path) -> SmallProject:
    return make_small_project(tmp_path / "project")


def build(project: SmallProject, *contents: str) -> None:
    """A version of ``web`` for each of ``contents``."""
    for content in contents:
        project.recipe(STAGES.replace('create = "3"', f'create = "{content}"'))
        project.built("web")


def labels(project: SmallProject) -> list[str]:
    versions = project.store.versions
    return [version.label for image in versions.images() for version in versions.all(image)]


def gone(project: SmallProject, keep: int | None = None, *, unpublish: bool = False) -> list[tuple[str, str]]:
    removed = collect(project.site, project.store, keep, ignore, unpublish=unpublish)
    return [
        (each.kind, each.name) for each in removed if each.kind in ("version", "layer", "base", "leftover")
    ]


def test_without_keep_every_version_stays_and_a_build_still_finds_all(project: SmallProject) -> None:
    build(project, "a", "b")
    project.recipe(STAGES.replace('create = "1"', 'create = "lost"') + "\n[[stage]]\n" + 'name = "bad"\n'
                   'type = "edit"\nfile = "/etc/none"\nafter = "x"\ninsert = "y"\n')  # fmt: skip
    assert project.run("build", "web").exit_code == 1
    assert gone(project) == []  # the layers below the failure are kept with it
    project.store.forget_failure("web")
    assert [kind for kind, _ in gone(project)] == ["layer"] * 3
    assert labels(project) == ["web@1", "web@2"]
    project.recipe(STAGES.replace('create = "3"', 'create = "a"'))
    assert all(stage["cached"] for stage in project.built("--json").json()["images"][0]["stages"])
    assert project.run("fsck").exit_code == 0


def test_layers_that_builds_use_stay_though_the_version_has_older_ones(project: SmallProject) -> None:
    project.recipe(STAGES, name="under")
    project.recipe(STAGES.replace("/etc/", "/etc/over-"), name="web", base="under")
    project.built()
    before = project.store.versions.resolve("under").layers
    (project.path / "overlays/two/etc/two.conf").chmod(0o664)  # as in a clone under another umask
    project.built()
    assert labels(project) == ["under@1", "web@1"]
    there = project.store.layers()
    assert len(there) > len({*before, *project.store.versions.resolve("web").layers})
    assert gone(project) == [] and project.store.layers() == there
    images = project.built("--json").json()["images"]
    assert all(stage["cached"] for image in images for stage in image["stages"])
    assert project.run("fsck").exit_code == 0
    project.recipe(STAGES.replace('create = "3"', 'create = "new"'), name="under")
    assert {kind for kind, _ in gone(project)} == {"layer"}  # builds find another way now
    assert set(before) < set(project.store.layers())


def test_keep_keeps_the_newest_and_says_what_it_freed(project: SmallProject) -> None:
    build(project, "a", "b", "c")
    planned = project.run("gc", "--keep", "2", "--dry-run", "--json").json()
    assert labels(project) == ["web@1", "web@2", "web@3"]
    done = project.run("gc", "--keep", "2", "--json").json()
    assert done["removed"] == planned["removed"]
    assert done["bytes"] == sum(each["bytes"] for each in done["removed"]) > 0
    assert labels(project) == ["web@2", "web@3"]
    assert [each["kind"] for each in done["removed"]].count("layer") == 1
    assert project.run("gc").out == "nothing to remove\n"
    assert project.run("fsck").exit_code == 0


def test_what_is_published_or_was_stays(project: SmallProject) -> None:
    build(project, "a", "b", "c", "d")
    remember(project.store, "web", Publication(history=(1, 2), directories={2: "copy"}))
    (project.path / "images/web-3").mkdir(parents=True)
    assert gone(project, 1) == []
    (project.path / "images/web-3").rmdir()
    assert ("version", "web@3") in gone(project, 1)
    assert labels(project) == ["web@1", "web@2", "web@4"]


@pytest.mark.parametrize("mode", ["overlay", "copy"])
def test_published_versions_that_nobody_uses_go_when_asked_to(tmp_path: Path, mode: str) -> None:
    project = make_small_project(tmp_path / "project", mode)
    images = project.path / "images"
    with private_mounts():
        for number, content in enumerate("abcdef", 1):
            build(project, content)
            publish(project.site, project.store, project.store.versions.resolve("web"), unverified=True)
            assert (images / "web/etc/three").read_text() == content, number
        publish(project.site, project.store, project.store.versions.resolve("web@2"), unverified=True)
        assert gone(project, 1) == []
        with (images / "web-3/etc/passwd").open():
            syscalls.mount("tmpfs", str(images / "web-4/etc"), "tmpfs")
            told = project.run("gc", "--keep", "1", "--unpublish", "--dry-run").out
            shows = "fuser -vm" if mode == "overlay" else "lsof +D"
            assert f"web@3 stays: {images}/web-3 is in use; to release it: {shows} {images}/web-3\n" in told
            left = f"{images}/web-4 is in use: something is mounted at {images}/web-4/etc"
            assert f"web@4 stays: {left}; to release it: umount {images}/web-4/etc\n" in told
            syscalls.unmount(str(images / "web-4/etc"))
            assert ("version", "web@1") in gone(project, 1, unpublish=True)
        assert labels(project) == ["web@2", "web@3", "web@6"]  # current, in use, newest and one before
        assert sorted(os.listdir(images)) == ["web", "web-2", "web-3", "web-6"]
        assert publication(project.store, "web").history == (3, 6, 2)
        rollback(project.site, project.store, "web")
        assert (images / "web/etc/three").read_text() == "f"
        assert ("version", "web@2") in gone(project, 1, unpublish=True)
        assert labels(project) == ["web@3", "web@6"]
        assert project.run("fsck").exit_code == 0


def test_a_mounted_version_that_was_changed_by_hand_stays_and_its_paths_are_named(
    project: SmallProject,
) -> None:
    images = project.path / "images"
    with private_mounts():
        for content in "abcde":
            build(project, content)
            publish(project.site, project.store, project.store.versions.resolve("web"), unverified=True)
        (images / "web-1/etc/precious").write_text("precious")
        for words in (["--dry-run"], []):
            told = project.run("gc", "--keep", "1", "--unpublish", *words).out
            why = "its directory was changed by hand: /etc/precious"
            assert f"web@1 stays: {why} ({ALL}); to release it: pipeline unpublish --force web@1\n" in told
            assert "edits" not in told
        assert labels(project) == ["web@1", "web@4", "web@5"]
        assert (images / "web-1/etc/precious").read_text() == "precious"
        assert project.run("unpublish", "--force", "web@1").exit_code == 0
        assert "edits web-1: " in project.run("gc", "--keep", "1", "--unpublish").out
        assert labels(project) == ["web@4", "web@5"]


@pytest.mark.parametrize("mode", ["overlay", "copy"])
def test_versions_that_were_changed_by_hand_go_by_force(tmp_path: Path, mode: str) -> None:
    """As after ``createramdisk``, which writes into the directory of every version that it was run for."""
    project = make_small_project(tmp_path / "project", mode)
    images = project.path / "images"
    with private_mounts():
        for content in "abcd":
            build(project, content)
            publish(project.site, project.store, project.store.versions.resolve("web"), unverified=True)
            (images / "web/etc/initrd-cm").write_text("made by the cluster manager")
        assert labels(project) == ["web@1", "web@2", "web@3", "web@4"]
        assert gone(project, 1, unpublish=True) == []
        assert project.run("gc", "--keep", "1", "--force").exit_code == 2
        words = ("--keep", "1", "--unpublish", "--force")
        planned = project.run("gc", *words, "--dry-run", "--json").json()
        assert [each["version"] for each in planned["published"]] == ["web@3"]  # rollback goes back to it
        with (images / "web-2/etc/passwd").open():
            assert "web@2 stays: " in project.run("gc", *words).out
        assert labels(project) == ["web@2", "web@3", "web@4"]
        done = project.run("gc", *words).out
        assert ("edits web-2: " in done) == (mode == "overlay") and "directory web-2: " in done
        assert labels(project) == ["web@3", "web@4"]
        assert sorted(os.listdir(images)) == ["web", "web-3", "web-4"]


def test_it_tells_what_stays_because_it_is_published_and_what_releases_it(project: SmallProject) -> None:
    build(project, "a", "b", "c", "d")
    link = project.path / "images/web"
    link.parent.mkdir()
    link.symlink_to("web-3")
    remember(
        project.store, "web", Publication(history=(1, 2, 3), directories=dict.fromkeys((1, 2, 3), "copy"))
    )
    told = project.run("gc", "--keep", "1", "--dry-run").out
    assert "web@1 stays: it is published; to release it: pipeline gc --keep 1 --unpublish\n" in told
    assert "web@2 stays: rollback goes back to it; to release it: pipeline unpublish web@2\n" in told
    assert f"web@3 stays: {link} points to it; to release it: pipeline publish web\n" in told
    planned = project.run("gc", "--keep", "1", "--unpublish", "--dry-run", "--json").json()
    assert [each["version"] for each in planned["published"]] == ["web@2", "web@3"]
    assert "web-1" in [each["name"] for each in planned["removed"] if each["kind"] == "directory"]
    assert labels(project) == ["web@1", "web@2", "web@3", "web@4"]
    assert project.run("gc", "--unpublish").exit_code == 2


def test_what_a_rollout_needs_that_is_not_at_its_end_stays(project: SmallProject) -> None:
    build(project, "a", "b", "c", "d")
    images = project.path / "images"
    scene = Scene(project.site.store, World(["node001"]), WHOLE)
    (images / "web-1").mkdir(parents=True)
    remember(project.store, "web", Publication(directories=dict.fromkeys((1, 2), "copy")))
    command = "pipeline rollout status lab --number 1"
    for words in (("web@1",), ("web",), ("web@2", "--dry-run")):
        refused = project.run("unpublish", *words)
        assert refused.exit_code == 1 and f"run: {command}" in refused.err, words
    told = project.run("gc", "--keep", "1", "--unpublish", "--dry-run").out
    why = "rollout 1 of lab is not at its end, and takes nodes to it or back to it"
    assert f"web@1 stays: {why}; to release it: {command}\n" in told
    assert ("version", "web@3") in gone(project, 1, unpublish=True)
    assert labels(project) == ["web@1", "web@2", "web@4"] and (images / "web-1").is_dir()
    (scene.folder / "order.json").write_text("{")
    refused = project.run("unpublish", "web@1")
    assert "rollout 1 of lab can't be read, and may need it" in refused.err
    assert gone(project, 1, unpublish=True) == []
    folders.abandon(scene.folder, "me")
    assert project.run("unpublish", "web@1").exit_code == 0
    assert ("version", "web@2") in gone(project, 1, unpublish=True)


def test_what_clusters_have_and_go_back_to_after_rollouts_that_ended_stays(project: SmallProject) -> None:
    build(project, *"abcdefg")
    store, images = project.site.store, project.path / "images"
    old = [Node(name, "web", "web-1") for name in ("node001", "node002")]
    world = World([node.name for node in old])
    assert Scene(store, world, WHOLE, old[1:]).run().outcome == "ended"
    next_one = Scene(store, world, WHOLE, old[:1])
    assert next_one.run().outcome == "ended"
    rolled.note(store, "lab", "hosts", "web", "web-3")
    at_four = {"image/web": {"path": str(images / "web-4")}, "category/past": {"image": "mine"}}
    record.save(store, "lab", record.Record(applied=at_four))
    rolled.note(store, "lab", "past", "web", "web-6")  # since then the category was given another image
    (images / "web-1").mkdir(parents=True)
    remember(project.store, "web", Publication(directories=dict.fromkeys(range(1, 7), "copy")))
    project.write("recipes/clusters/lab.toml", "[cluster]\nname = 'lab'\n")
    to_other = "pipeline rollout start lab"
    kept = {
        1: ("rollback of rollout 2 of lab goes back to it", "pipeline unpublish --force web@1"),
        2: ("node[001-002] of lab have it, as rolled out", to_other),
        3: ("the category hosts of lab has it, as rolled out", to_other),
        4: ("the image web of lab has its directory, as was applied", "pipeline cluster apply lab"),
    }
    for words in ((), ("--unpublish",)):
        told = project.run("gc", "--keep", "1", "--dry-run", *words).out
        for number, (why, command) in kept.items():
            assert f"web@{number} stays: {why}; to release it: {command}\n" in told
    assert [name for kind, name in gone(project, 1, unpublish=True) if kind == "version"] == [
        "web@5",
        "web@6",
    ]
    for number, (why, command) in kept.items():
        refused = project.run("unpublish", f"web@{number}")
        assert refused.exit_code == 1 and f"web@{number}: {why}" in refused.err, refused
        assert "--force takes it away all the same" in refused.err and f"run: {command}\n" in refused.err
    assert project.run("unpublish", "web", "--dry-run").err.count("--force takes it away") == 4
    assert project.run("unpublish", "web@1", "--force").exit_code == 0
    assert ("version", "web@1") in gone(project, 1, unpublish=True)  # somebody has let go of it, and said so
    next_one.take_back()  # nodes have what they had before, and nothing goes back to the other
    assert "node002 of lab has it" in project.run("unpublish", "web@2").err
    (store / "clusters/lab" / rolled.RECORD).write_text("{")
    assert "what lab has can't be read, and it may be this one" in project.run("unpublish", "web@3").err


def test_what_a_renamed_cluster_had_before_newer_rollouts_does_not_stay(project: SmallProject) -> None:
    build(project, *"abcdef")
    store, clusters = project.site.store, project.site.store / "clusters"
    remember(project.store, "web", Publication(directories=dict.fromkeys(range(1, 6), "copy")))
    place = {number: {"path": str(project.site.images / f"web-{number}")} for number in (3, 5)}
    world = World(["node001"])
    scene = Scene(store, world, WHOLE)
    scene.run()
    clusters.joinpath("lab").rename(clusters / "old")
    order = clusters / "old/rollouts/rollout-1" / folders.ORDER
    text = order.read_bytes().replace(b"web-2", b"web-4").replace(b'"version":2', b'"version":4')
    order.write_bytes(text)
    rolled.note(store, "old", "web", "web", "web-4")
    record.save(store, "old", record.Record(when=1.0, applied={"image/web": place[3]}))
    force, cannot = "pipeline unpublish --force web", "--force takes it away"
    said = project.run("unpublish", "web", "--dry-run").err
    assert [f"run: {force}@{number}\n" in said for number in (1, 3, 4)] == [True] * 3
    assert said.count(cannot) == 3 and "rollout start" not in said and "cluster apply" not in said

    project.write("recipes/clusters/lab.toml", "[cluster]\nname = 'lab'\n")
    Scene(store, world, WHOLE, [Node("node001", "web", "web-4")]).run()
    rolled.note(store, "lab", "web", "web", "web-2")
    record.save(store, "lab", record.Record(when=2.0, applied={"image/web": place[5]}))
    said = project.run("unpublish", "web", "--dry-run").err
    assert "web@2: the category web of lab has it" in said and "web@5: the image web of lab has" in said
    assert said.count(cannot) == 2, said
    assert [name for kind, name in gone(project, 1, unpublish=True) if kind == "version"] == [
        "web@1",
        "web@3",
        "web@4",
    ]


def test_what_a_cluster_has_by_the_link_of_an_image_stays(project: SmallProject) -> None:
    build(project, "a", "b", "c")
    link = project.path / "images/web"
    link.parent.mkdir()
    link.symlink_to("web-2")
    remember(project.store, "web", Publication(history=(2,), directories=dict.fromkeys((1, 2), "copy")))
    record.save(
        project.site.store, "lab", record.Record(applied={"image/web": {"path": f"{link.parent}//web"}})
    )
    why = "web@2: the image web of lab has its directory, as was applied"
    for words in (("web", "--dry-run"), ("web",)):
        refused = project.run("unpublish", *words)
        assert refused.exit_code == 1 and why in refused.err and "web@1:" not in refused.err, words
    assert link.is_symlink() and project.run("unpublish", "web@1").exit_code == 0
    assert project.run("unpublish", "web", "--force").exit_code == 0 and not link.is_symlink()


def test_the_base_of_a_version_that_stays_stays(project: SmallProject) -> None:
    build(project, "a")
    shop = '[[stage]]\nname = "own"\ntype = "file"\npath = "/etc/own"\ntouch = true\n'
    project.recipe(shop, "shop", "web")
    project.built("shop")
    recipe = project.path / "recipes/shop/recipe.toml"
    recipe.unlink()
    build(project, "b", "c")
    assert ("version", "web@2") in gone(project, 1)
    assert labels(project) == ["shop@1", "web@1", "web@3"]


def test_a_version_that_somebody_is_in_stays_until_it_is_left(project: SmallProject) -> None:
    build(project, "a", "b")
    with root_of(project.store, "web@1", None):
        assert gone(project, 1) == []
    assert ("version", "web@1") in gone(project, 1)


def test_an_imported_base_goes_when_no_recipe_and_no_version_uses_it(project: SmallProject) -> None:
    build(project, "a")
    shutil.copytree(project.path / "base", project.path / "other")
    project.write("other/etc/x", "x")
    project.write(
        "pipeline.toml",
        '[site]\nstore = "store"\nimages = "images"\n\n[bases]\nsmall = "base"\nother = "other"\n',
    )
    project.recipe(name="more", base="other")
    project.built("more")
    assert gone(project) == []
    for name in ("recipe.toml", "recipe.lock"):
        (project.path / "recipes/more" / name).unlink()
    assert gone(project) == []  # more@1 is based on it
    version = project.store.versions.directory(project.store.versions.resolve("more@1"))
    for path in version.iterdir():
        path.unlink()
    version.rmdir()
    assert ("base", "other") in gone(project)
    assert project.store.base("small") is not None


def test_what_interrupted_publications_left_goes(project: SmallProject) -> None:
    build(project, "a")
    images = project.path / "images"
    (images / ".web-1.tree/etc").mkdir(parents=True)
    (images / ".web.link").symlink_to("web-1")
    (images / ".other-1.tree").mkdir()
    (images / "web-x").mkdir()
    assert gone(project) == [("leftover", ".web-1.tree"), ("leftover", ".web.link")]
    assert sorted(path.name for path in images.iterdir()) == [".other-1.tree", "web-x"]


def test_a_leftover_that_cannot_be_removed_is_told_and_the_rest_goes(project: SmallProject) -> None:
    build(project, "a", "b")
    left = project.path / "images/.web-7.tree/etc/hosts"
    left.parent.mkdir(parents=True)
    left.touch()
    with marked(left):
        done = project.run("gc", "--keep", "1")
        assert done.exit_code == 0 and "version web@1: " in done.out
        assert f"{left}: the leftover .web-7.tree cannot be removed: Operation not permitted" in done.err
        assert f"lsattr -d {left} {left.parent} shows i or a" in done.err
    assert gone(project) == [("leftover", ".web-7.tree")]


def test_downloads_that_a_lock_names_stay(project: SmallProject) -> None:
    build(project, "a")
    kept, lost = "a" * 64, "b" * 64
    for digest in (kept, lost):
        place = project.store.path / "downloads/sha256" / digest[:2] / digest
        place.parent.mkdir(parents=True)
        place.write_text("x")
    lock = project.path / "recipes/web/recipe.lock"
    source = f'[[sources]]\nlocation = "http://a/b"\nsha256 = "{kept}"\nsize = 1\n'
    lock.write_text(f"{lock.read_text()}\n{source}")
    found = [each.name for each in collectable(project.site, project.store, None) if each.kind == "download"]
    assert found == [lost]


def test_a_wrong_recipe_stops_it_before_anything_is_removed(project: SmallProject) -> None:
    build(project, "a", "b")
    project.write("recipes/web/recipe.toml", "[image]\nnam = 1\n")
    assert project.run("gc", "--keep", "1").exit_code == 2
    assert labels(project) == ["web@1", "web@2"]


def test_keep_takes_no_zero(project: SmallProject) -> None:
    build(project, "a")
    assert project.run("gc", "--keep", "0").exit_code == 2


def started(project: SmallProject, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *words],
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(process: subprocess.Popen[str], text: str) -> None:
    """Read what ``process`` says until a line has ``text``."""
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line)
        if text in line:
            return
    pytest.fail(f"ended without {text!r}: {heard}")


def test_it_waits_for_a_build_and_says_so(project: SmallProject) -> None:
    build(project, "a", "b")
    with occupied(project.store, lambda: None):
        process = started(project, "gc", "--keep", "1")
        until(process, "waiting for builds that run now to end")
        assert labels(project) == ["web@1", "web@2"]
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert labels(project) == ["web@2"]


def test_a_build_waits_for_it_and_says_so(project: SmallProject) -> None:
    build(project, "a")
    project.recipe(STAGES.replace('create = "3"', 'create = "b"'))
    with alone(project.store, lambda: None):
        process = started(project, "build", "--no-publish")
        until(process, "pipeline gc is removing things from the store; waiting")
        assert labels(project) == ["web@1"]
    process.communicate(timeout=60)
    assert labels(project) == ["web@1", "web@2"]


def test_builds_and_removals_at_once_leave_a_store_in_which_all_is_right(project: SmallProject) -> None:
    build(project, "a")
    processes = []
    for number in range(4):
        project.recipe(STAGES.replace('create = "3"', f'create = "{number}"'), f"web{number}")
        processes.append(started(project, "build", "--no-publish", f"web{number}"))
        processes.append(started(project, "gc", "--keep", "1"))
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        assert process.returncode in (0, 5), err
    assert labels(project) == ["web@1", "web0@1", "web1@1", "web2@1", "web3@1"]
    assert project.run("fsck").exit_code == 0
