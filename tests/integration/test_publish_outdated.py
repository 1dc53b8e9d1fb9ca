"""A layer that is removed under a published version, and made again: the mount does not see the new one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from published_versions import Place, make_place, motd, private_mounts, says

from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.publish.publication import publish
from pipeline.publish.restoring import outdated, restore
from pipeline.store.records import Version
from tests.small_store import commit_layer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with private_mounts():
        yield make_place(tmp_path)


def published(place: Place) -> tuple[Version, Path]:
    version = place.version(lambda root: (root / "below").touch(), says("one"))
    return version, publish(place.site, place.store, version)


def made_again(place: Place, version: Version) -> None:
    """What ``fsck`` says of a damaged layer, and the next build."""
    for name, parents, fill in (
        (version.layers[1], version.layers[:1], says("one")),
        (version.layers[0], (), lambda root: (root / "below").touch()),
    ):
        layer = place.store.layer_called(name)
        assert layer is not None
        shutil.rmtree(place.store.path / "layers" / name)
        commit_layer(place.store, layer.key, fill, parents)


@pytest.mark.parametrize("verb", ["publish", "restore"])
def test_a_mount_of_layers_that_were_made_again_is_told_and_mounted_anew(
    place: Place, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    version, target = published(place)
    (target / "by-hand").write_text("kept")
    assert outdated(place.site, place.store) == ()
    made_again(place, version)
    assert outdated(place.site, place.store) == (target,)
    at = ["--site", str(place.site.file)]
    for words, said in (
        (["doctor"], f"mounted of layers that are gone: {target}\n"),
        (["versions"], "published, MOUNTED OF LAYERS THAT ARE GONE: pipeline publish --restore"),
        (["show", "web"], f"{target} is MOUNTED OF LAYERS THAT ARE GONE"),
        (["publish", "--restore", "--dry-run"], f"{target} would be mounted"),
    ):
        main([*words, *at])
        assert said in capsys.readouterr().out, words
    if verb == "restore":
        assert restore(place.site, place.store) == (target,)
    else:
        publish(place.site, place.store, version)
    assert outdated(place.site, place.store) == ()
    assert motd(place) == "one"
    assert {"below", "by-hand", "etc", "motd"} <= set(os.listdir(target))
    assert restore(place.site, place.store) == ()


def test_it_stays_as_it_is_while_it_is_in_use_or_a_layer_is_missing(place: Place) -> None:
    version, target = published(place)
    made_again(place, version)
    (target / "upper").touch()
    with (target / "upper").open(), pytest.raises(PipelineError, match="web-1 is in use"):
        publish(place.site, place.store, version)
    shutil.rmtree(place.store.path / "layers" / version.layers[1])
    missing = rf"web@1 needs the layer {version.layers[1]}, which is missing\n  run: pipeline fsck"
    for act in (
        lambda: publish(place.site, place.store, version),
        lambda: restore(place.site, place.store),
    ):
        with pytest.raises(PipelineError, match=missing):
            act()
    assert (target / "upper").exists()


def test_fsck_says_how_a_layer_that_is_mounted_is_made_again(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    version, _ = published(place)
    other = place.of_layers(version.layers[:1], image="apps")
    publish(place.site, place.store, place.of_layers(version.layers))
    publish(place.site, place.store, version)
    (place.store.layer_tree(version.layers[0]) / "extra").touch()
    main(["fsck", "--site", str(place.site.file)])
    layer = place.store.path / "layers" / version.layers[0]
    assert (
        f"{other.label}, web@1, web@2 stand on it; web@2, web@1 are mounted: unpublish, remove it, build and "
        "publish again (a version whose layer does not come out the same is lost, and refused; a build makes "
        f"a new one): pipeline unpublish web && rm -r {layer} && pipeline build --no-publish web; "
        "pipeline publish web@2; pipeline publish web@1 || pipeline publish web\n"
    ) in capsys.readouterr().out
