"""How Warewulf's words and the cluster file's are told from one another."""

from __future__ import annotations

import time

import pytest

from pipeline.cluster.drivers.warewulf import reading, wwctl
from pipeline.cluster.drivers.warewulf.membership import category, moved
from pipeline.cluster.drivers.warewulf.reading import targets
from pipeline.cluster.head import Ran
from pipeline.cluster.objects import Ref, Wanted


@pytest.mark.parametrize(
    ("profiles", "wanted", "then"),
    [
        (["default", "old"], "new", ("default", "new")),
        (["default", "rack7", "old"], "new", ("default", "rack7", "new")),
        (["default", "old", "gpu"], "new", ("default", "new", "gpu")),
        (["default", "gpu"], "new", ("default", "gpu", "new")),
        (["default"], "new", ("default", "new")),
        ([], "new", ("new",)),
        (["default", "old"], "default", ("default",)),
        (["default", "new", "old"], "new", ("default", "new")),
        (["default", "new", "gpu", "old"], "new", ("default", "gpu", "new")),
        (["default", "new", "gpu"], "new", ("default", "new", "gpu")),
        (["default", "old", "~rack7"], "new", ("default", "new", "~rack7")),
        (["default", "old", "new", "~new"], "new", ("default", "new")),
    ],
)
@pytest.mark.parametrize("files", [("old", "new"), ("default", "old", "new")], ids=["two", "default-too"])
def test_a_category_takes_the_place_of_the_one_before_and_other_profiles_stay(
    profiles: list[str], wanted: str, then: tuple[str, ...], files: tuple[str, ...]
) -> None:
    files = (*files, wanted)
    now = category(profiles, files)
    assert moved(profiles, now, wanted, last=False) == then
    assert category(then, files) == wanted
    assert moved(then, wanted, wanted, last=False) == then


def test_a_category_is_moved_behind_a_profile_that_keeps_its_image_off() -> None:
    assert moved(["default", "new", "gpu"], "new", "new", last=True) == ("default", "gpu", "new")
    assert moved(["default", "old", "gpu"], "old", "new", last=True) == ("default", "gpu", "new")


@pytest.mark.parametrize(
    ("path", "leads_to", "target"),
    [
        ("/cm/images/web", "/cm/images/web-12", "web-12"),
        ("/cm/images/web-3", "/cm/images/web-3", "web-3"),
        ("/cm/images/web", "/cm/images/web", "web"),
        ("/cm/images/web", "/cm/images/other-3", "web"),
        ("/cm/images/web", "/cm/images/web-3-old", "web"),
        ("/cm/images/web-3/", None, "web-3"),
    ],
)
def test_an_image_is_called_as_the_version_that_its_path_leads_to(
    path: str, leads_to: str | None, target: str
) -> None:
    assert targets({"web": path}, {path: leads_to} if leads_to else {}) == {"web": target}


def test_an_error_or_a_warning_that_nothing_was_done_is_a_complaint_and_no_other() -> None:
    assert wwctl.complaint(Ran(0, "{}", "WARN   : profile not found: gone\n")) == ""
    assert wwctl.complaint(Ran(0, "", "WARN   : invalid node: n9\n")) == "invalid node: n9"
    assert wwctl.complaint(Ran(0, "No nodes found\n", "")) == "No nodes found"
    assert wwctl.complaint(Ran(1, "", "ERROR  : could not\nERROR  : could not\n")) == "could not"
    assert wwctl.complaint(Ran(1, "", "killed")) == "killed"
    assert wwctl.complaint(Ran(9, "", "")) == "it ended with 9"


def test_ten_thousand_nodes_are_read_in_a_moment() -> None:
    """Own time, without what wwctl takes: well under the 2 s that a plan may take."""
    node = {
        "profiles": ["default", "c1"],
        "image name": "web-1",
        "kernel": {"args": ["quiet"] * 5},
        "network devices": {net: {"device": net, "ipaddr": "10.1.2.3"} for net in ("eth0", "ib0")},
    }
    raw = {f"node{number:05}": node for number in range(10_000)}
    wanted = [Wanted(Ref("interface", "ib0", f"node/{name}"), {"network": "ib0"}) for name in raw]
    began = time.process_time()
    nodes = {name: wwctl._profile(wwctl.plain_keys(one)) for name, one in raw.items()}
    found = reading.state(reading.Registry({}, {}, nodes), wanted)
    assert time.process_time() - began < 1
    assert len(found.objects) == 20_002
