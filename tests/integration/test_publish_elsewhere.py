"""What is published where the site file no longer points to, and what of it is gone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from published_versions import Place, make_place, make_site, motd, private_mounts, reboot, says

from pipeline.build.collecting import collect, collectable, held_back
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.events import ignore
from pipeline.publish.publication import publication, publish, rollback
from pipeline.publish.record import remember
from pipeline.publish.restoring import not_mounted, restore
from pipeline.publish.unpublishing import unpublish

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with private_mounts():
        yield make_place(tmp_path)


def pointed_elsewhere(place: Place, *, there: bool = True) -> Place:
    """The same after the site file has come to name another images directory."""
    images = place.site.images.with_name("images2")
    if there:
        images.mkdir()
    folder = place.site.file.parent
    site = make_site(folder, place.site.publish_mode, place.store.path, images)
    return Place(site, place.store, place.keys)


@pytest.mark.parametrize("mode", ["overlay", "copy"])
def test_verbs_refuse_when_the_site_names_another_images_directory(
    tmp_path: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with private_mounts():
        old = make_place(tmp_path, mode)
        for text in ("one", "two"):
            publish(old.site, old.store, old.version(says(text)))
        third = old.version(says("three"))
        place = pointed_elsewhere(old)
        site, store = place.site, place.store
        told = rf"web is published in {old.site.images}, .* images = '{site.images}'[^$]*set images = "
        for act in (
            lambda: publish(site, store, third),
            lambda: rollback(site, store, "web"),
            lambda: unpublish(site, store, "web", None),
            lambda: unpublish(site, store, "web", 1),
            lambda: collectable(site, store, 1, unpublish=True),
            lambda: collect(site, store, 1, ignore, unpublish=True),
        ):
            with pytest.raises(PipelineError, match=told):
                act()
        with pytest.raises(PipelineError, match=told):
            restore(site, store)
        assert [each.version for each in held_back(site, store, 1)] == ["web@1", "web@2"]
        assert not_mounted(site, store) == ()
        assert main(["show", "web@2", "--site", str(site.file)]) == 0
        assert f"{old.site.images}/web-2 (published)" in capsys.readouterr().out
        assert os.listdir(site.images) == []
        assert (motd(old), motd(old, "web-1")) == ("two", "one")
        unpublish(old.site, store, "web", None)
        publish(site, store, third)
        assert motd(place) == "three"


def test_a_record_of_an_old_release_is_of_the_present_images_directory(place: Place) -> None:
    publish(place.site, place.store, place.version(says("one")))
    remember(place.store, "web", replace(publication(place.store, "web"), images=""))
    publish(place.site, place.store, place.version(says("two")))
    assert publication(place.store, "web").images == str(place.site.images)
    unpublish(place.site, place.store, "web", None)
    assert os.listdir(place.site.images) == []


@pytest.mark.parametrize("record", ["new", "old"])
def test_what_somebody_took_away_as_a_whole_can_be_unpublished(place: Place, record: str) -> None:
    publish(place.site, place.store, place.version(says("one")))
    if record == "old":
        remember(place.store, "web", replace(publication(place.store, "web"), images=""))
    reboot(place)
    shutil.rmtree(place.site.images)
    site = pointed_elsewhere(place, there=False).site
    unpublish(site, place.store, "web", None)
    assert msgspec.to_builtins(publication(place.store, "web"))["directories"] == {}


def test_directories_that_somebody_moved_are_where_the_site_says(tmp_path: Path) -> None:
    with private_mounts():
        old = make_place(tmp_path, "copy")
        publish(old.site, old.store, old.version(says("one")))
        old.site.images.rename(old.site.images.with_name("images2"))
        place = pointed_elsewhere(old, there=False)
        publish(place.site, place.store, place.version(says("two")))
        assert (motd(place), motd(place, "web-1")) == ("two", "one")
