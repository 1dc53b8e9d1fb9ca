"""Two records of the same objects made one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cluster import rolled
from pipeline.cluster.added import Added
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Ref, Wanted
from pipeline.cluster.record import Of, Record, file_of, load, save
from pipeline.cluster.renamed import known
from pipeline.cluster.renamed import save as save_taken
from pipeline.recipe.model import Site
from pipeline.rollout.having import needs

IMAGE, CATEGORY = Ref("image", "new"), Ref("category", "ib")
FIRST, LATER = (f"{CATEGORY}/setting//etc/x[a]{key}" for key in "bc")
WORDS = "+kernel_parameters"


def cluster(store: Path) -> Cluster:
    return Cluster(
        "c", "", store / "recipes/c.toml", {}, (Wanted(IMAGE), Wanted(CATEGORY)), head="h", role="r"
    )


def test_of_what_two_names_have_applied_the_later_word_counts_and_all_that_they_added(tmp_path: Path) -> None:
    old = Record(
        1.0,
        ("head/master/service/opensm",),
        applied={str(CATEGORY): {"image": "new"}, FIRST: {"value": "1"}},
        added=Added({FIRST: {"value": "1"}, str(IMAGE): {WORDS: ("a",)}}, {}, ("node/n1",)),
        of=Of(role="r"),
    )
    own = Record(
        2.0,
        applied={FIRST: {"value": "2"}, LATER: {"value": "2"}},
        added=Added(
            {FIRST: {"value": "2"}, LATER: {"value": "2"}, str(IMAGE): {WORDS: ("b",)}},
            {FIRST: {"value": "1"}, LATER: {"value": "theirs"}},
        ),
    )
    both = Record(
        2.0,
        old.restarts,
        applied={**old.applied, **own.applied},
        added=Added(
            {FIRST: {"value": "2"}, str(IMAGE): {WORDS: ("a", "b")}, LATER: {"value": "2"}},
            {LATER: {"value": "theirs"}},  # the first one's value was not there before
            ("node/n1",),
        ),
        of=old.of,
        took=("old",),
    )
    save(tmp_path, "old", old)
    save(tmp_path, "c", own)
    found = known(tmp_path, cluster(tmp_path))
    assert (found.last, found.taken, len(found.notes)) == (both, "old", 1)
    save(tmp_path, "c", both)  # killed before the old one went
    assert known(tmp_path, cluster(tmp_path)).last == both
    save_taken(tmp_path, cluster(tmp_path), both, "old")
    assert not file_of(tmp_path, "old").exists()
    assert load(tmp_path, "c").of == Of(str(tmp_path / "recipes/c.toml"), "h", "r")


def test_what_is_about_other_objects_is_nobodys_business(tmp_path: Path) -> None:
    its = {str(Ref("category", name)): {"image": "new"} for name in ("ib", "x", "y")}
    for last in (Record(), Record(1.0, applied=its)):
        save(tmp_path, "old", last)
        assert known(tmp_path, cluster(tmp_path)).last == Record()
        assert known(tmp_path, cluster(tmp_path)).notes == ()


@pytest.mark.parametrize(("image", "count"), [("new-2", 1), ("new", 1), ("other", 0)])
def test_what_rollouts_have_noted_under_the_old_name_counts_as_long_as_it_is_applied(
    tmp_path: Path, image: str, count: int
) -> None:
    site = Site(tmp_path / "pipeline.toml", tmp_path, tmp_path, tmp_path / "images")
    (tmp_path / "recipes/clusters").mkdir(parents=True)
    (tmp_path / "recipes/clusters/c.toml").touch()
    rolled.note(tmp_path, "old", "ib", "new", "new-2")
    save(tmp_path, "c", Record(1.0, applied={str(CATEGORY): {"image": image}}, took=("old",)))
    found = needs(site)
    assert [(need.image, need.number, need.command) for need in found] == [
        ("new", 2, "pipeline rollout start c")
    ] * count


def test_directories_of_the_same_image_of_two_head_nodes_are_both_needed(tmp_path: Path) -> None:
    site = Site(tmp_path / "pipeline.toml", tmp_path, tmp_path, tmp_path / "images")
    for name, when in (("a", 1.0), ("b", 2.0), ("c", 3.0)):
        its = {str(IMAGE): {"path": f"/{name}"}}
        save(tmp_path, name, Record(when, applied=its, of=Of(head="one" if name == "a" else "two")))
    assert {need.path for need in needs(site)} == {"/a", "/c"}, "b's was given to the same image before"
