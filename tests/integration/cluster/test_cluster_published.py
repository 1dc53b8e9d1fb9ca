"""``pipeline cluster``: images whose directory is a published version's, or is not there."""

from __future__ import annotations

from pipeline.lab.head import state
from tests.integration.cluster_site import COMPUTE, Cluster, edit

IMAGE = "openstack-image-mellanox"
PATH = f'path = "/cm/images/{IMAGE}"'


def told(site: Cluster, *says: str) -> None:
    """A plan, a status and an apply say it, and nothing is written."""
    before = state.snapshot(str(site.head))
    for words in (("plan",), ("status",), ("apply", "--yes")):
        refused = site.cluster(*words)
        assert refused.exit_code == 1, refused
        for one in says:
            assert one in refused.err, refused.err
        assert "remove -d" not in refused.err
    assert state.snapshot(str(site.head)) == before


def ramdisks(site: Cluster) -> int:
    """How often the image's was made: nodes boot from it, and it is of the path that the image had then."""
    made = (IMAGE, "createramdisk")
    return [(one.get("image"), one.get("action")) for one in state.records(str(site.head))].count(made)


def test_a_version_that_is_not_published_is_told_before_anything_is_written(site: Cluster) -> None:
    before = edit(site, (PATH, 'version = "published"'))
    line = 1 + before.partition(PATH)[0].count("\n")
    place = f"openstack-mellanox.toml:{line}: image/{IMAGE}: path: {site.path}/images/{IMAGE} is not there"
    told(site, place, "not published", f"run: pipeline publish {IMAGE}\n")
    edit(site, ('version = "published"', "version = 7"))
    told(site, f"{IMAGE}-7 is not there", f"run: pipeline publish {IMAGE}@7\n")
    published = site.head / f"root{site.path}/images/{IMAGE}-7"
    empty = (
        f"path: {site.path}/images/{IMAGE}-7 is empty",
        "not mounted",
        "run: pipeline publish --restore\n",
    )
    published.mkdir(parents=True)
    told(site, *empty)
    (published / "etc").mkdir()
    assert site.cluster("apply").exit_code == 0
    assert site.left() == []
    assert ramdisks(site) == 1
    (published / "etc").rmdir()  # not mounted
    told(site, *empty)
    published.rmdir()  # unpublished
    told(site, f"{IMAGE}-7 is not there", f"run: pipeline publish {IMAGE}@7\n")
    edit(site, ("version = 7", PATH))
    assert site.left() == [f"image/{IMAGE}"]
    assert site.cluster("apply").exit_code == 0
    assert site.left() == []
    assert ramdisks(site) == 2


def test_a_path_to_which_nothing_is_copied_has_to_be_there(site: Cluster) -> None:
    edit(site, (PATH, 'path = "/srv/images/other"'))
    told(site, "path: /srv/images/other is not there, and nothing is copied to it", f"/cm/images/{IMAGE}")


def test_an_image_that_categories_have_is_not_advised_to_be_removed_first(site: Cluster) -> None:
    assert site.cluster("apply").exit_code == 0
    (site.head / f"root/cm/images/{IMAGE}").rename(site.path / "away")
    told(site, f"its directory /cm/images/{IMAGE} is not there", COMPUTE, "put it back")


def test_the_directory_of_an_image_that_the_file_does_not_have_is_told(site: Cluster) -> None:
    edit(site, (PATH, 'path = "/cm/images/default-image"'))
    told(site, f"image/{IMAGE}: path: /cm/images/default-image is the directory of another image")
    edit(site, ('path = "/cm/images/default-image"', ""))
    site.cmsh(f"softwareimage; use default-image; set path /cm/images/{IMAGE}; commit\n")
    told(site, f"/cm/images/{IMAGE} is the directory of another image", "image/default-image has")
