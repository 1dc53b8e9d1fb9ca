"""An import that was stopped is no image, and what others change while one goes on is not overwritten."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from warewulf_server import Server

from pipeline.cluster import record
from pipeline.cluster.apply import apply, look
from pipeline.cluster.drivers.warewulf.wwctl import Wwctl
from pipeline.cluster.head import Ran
from pipeline.cluster.keepers import Keepers
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Change, Ref, Wanted
from pipeline.errors import PipelineError
from pipeline.lab.warewulf import registry, start

REALLY = Wwctl.run


class Killed(BaseException):
    """Nothing of the program is done after this."""


class Site:
    """A cluster on the server, with a store of its own; each apply is a new process's."""

    def __init__(self, server: Server, store: Path) -> None:
        self.server = server
        self.store = store
        self.cluster = Cluster("web", "", store / "web.toml", {}, server.wanted())

    def keepers(self) -> Keepers:
        return Keepers([type(self.server.driver)(self.server.driver._wwctl.head)])

    def apply(self) -> None:
        apply(self.cluster, self.keepers(), self.store)

    def changes(self) -> tuple[Change, ...]:
        return look(self.cluster, self.keepers(), self.store).changes

    def notes(self) -> str:
        return "\n".join(look(self.cluster, self.keepers(), self.store).notes)

    def files(self) -> set[str]:
        """What is in the image."""
        tree = self.server.home / "chroots/web-3/rootfs"
        return {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}

    def calls(self, *verbs: str) -> list[list[str]]:
        return [call for call in self.server.calls() if tuple(call[: len(verbs)]) == verbs]


WHOLE = {f"etc/{number}" for number in range(9)} | {"bin/sh", "boot/vmlinuz-2.6.32-431.el6.x86_64"}


@pytest.fixture
def site(server: Server, tmp_path: Path) -> Site:
    etc = server.published / "web-3/etc"
    etc.mkdir()
    for number in range(9):
        (etc / str(number)).write_text("")
    return Site(server, tmp_path / "store")


def stopped(site: Site, monkeypatch: pytest.MonkeyPatch, how: type[BaseException] | None) -> None:
    """An apply that ends in the middle of the copy; None: wwctl is killed, and tells it."""
    start.switch(site.server.home, import_stops=[5, "killed"])

    def run(self: Wwctl, *argv: str, **options: Any) -> Ran:
        try:
            return REALLY(self, *argv, **options)
        except PipelineError:
            if how is None:
                raise
            raise how from None

    with monkeypatch.context() as patch, pytest.raises((Killed, PipelineError)):
        patch.setattr(Wwctl, "run", run)
        site.apply()
    start.switch(site.server.home, import_stops=[])
    assert len(site.files()) == 5


@pytest.mark.parametrize("how", [Killed, KeyboardInterrupt, None], ids=["killed", "interrupted", "wwctl"])
@pytest.mark.parametrize("built", [False, True], ids=["copying", "building"])
def test_an_import_that_was_stopped_is_no_image_and_is_made_anew(
    site: Site, monkeypatch: pytest.MonkeyPatch, how: type[BaseException] | None, built: bool
) -> None:
    stopped(site, monkeypatch, how)
    if built:  # the file that nodes get is begun, and not whole
        (site.server.home / "provision/images/web-3.img").write_text("ha")
    assert "image/web" in {str(change.ref) for change in site.changes()}
    assert "image/web: the end of the import of web-3 was not seen" in site.notes()
    site.apply()
    assert site.files() == WHOLE
    assert site.changes() == ()
    assert "was not seen" not in site.notes()
    assert record.load(site.store, "web").begun == ()
    assert [call[2] for call in site.calls("image", "import")] == ["--build", "--force"]
    assert site.calls("image", "build") == []


def test_what_nobody_saw_end_is_never_given_to_nodes_by_itself(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(site, monkeypatch, Killed)
    before = registry.snapshot(site.server.home)["profiles"]
    taken = (Wanted(Ref("category", "openstack-network-nodes"), {"image": "web-3"}, make=False),)
    site.cluster = Cluster("web", "", site.cluster.file, {}, taken)
    with pytest.raises(PipelineError, match="web-3"):
        site.apply()
    assert registry.snapshot(site.server.home)["profiles"] == before


def test_an_image_that_somebody_imported_by_hand_is_neither_built_nor_thrown_away(site: Site) -> None:
    other = site.server.published / "web-3"
    program = str(site.server.home / "bin/wwctl")
    subprocess.run([program, "image", "import", str(other), "web-3"], check=True)
    (site.server.home / "chroots/web-3/rootfs/by-hand").write_text("")
    before = registry.snapshot(site.server.home)
    assert "image/web: web-3 is there and not built" in site.notes()
    with pytest.raises(PipelineError) as raised:
        site.apply()
    assert "web-3 is there and not built" in raised.value.problems[0].message
    assert raised.value.problems[0].command == "wwctl image build -- web-3"
    assert registry.snapshot(site.server.home) == before
    subprocess.run([program, "image", "build", "--", "web-3"], check=True)
    site.apply()
    assert "by-hand" in site.files()
    assert site.changes() == ()


def test_an_image_that_was_removed_and_made_by_hand_is_not_taken_for_the_stopped_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    start.switch(site.server.home, fail_at=1)
    with pytest.raises(PipelineError, match="input/output error"):
        site.apply()
    assert record.load(site.store, "web").begun == ()
    stopped(site, monkeypatch, Killed)
    program = str(site.server.home / "bin/wwctl")
    subprocess.run([program, "image", "delete", "--yes", "web-3"], check=True)
    assert "was not seen" not in site.notes()


@contextmanager
def held(site: Site) -> Iterator[None]:
    """An import that goes on, of an apply that was killed or whose connection was lost."""
    home, tree = site.server.home, site.server.published / "web-3"
    start.switch(home, import_stops=[5, "held"])
    call = [str(home / "bin/wwctl"), "image", "import", "--build", "--", str(tree), "web-3"]
    going = subprocess.Popen(call, stdout=subprocess.DEVNULL)
    try:
        late = time.monotonic() + 60
        while len(site.files()) < 5 and time.monotonic() < late:
            time.sleep(0.01)
        yield
    finally:
        (home / "go_on").touch()
        going.wait(60)


def test_an_import_that_goes_on_is_waited_for(site: Site) -> None:
    record.save(site.store, "web", record.Record(begun=("image/web-3",)))
    with held(site):
        with pytest.raises(PipelineError, match="web-3 is still being imported") as raised:
            site.apply()
        assert raised.value.problems[0].where == "image/web"
        assert len(site.files()) == 5
    site.apply()
    assert site.files() == WHOLE


def test_the_version_is_imported_that_gave_the_image_its_name(site: Site) -> None:
    site.apply()
    (call,) = site.calls("image", "import")
    assert call[-2:] == [str(site.server.published / "web-3"), "web-3"]


NETWORK_NODES = "openstack-network-nodes"
OTHERS: dict[str, tuple[list[str], str, str]] = {
    "profile": (
        ["profile", "set", "--yes", "--kernelargs=quiet,mitigations=off", "--", NETWORK_NODES],
        f"category/{NETWORK_NODES}",
        "kernel args was nothing, and is quiet mitigations=off",
    ),
    "node": (
        ["node", "set", "--yes", "--profile=default,openstack-compute-hosts,gpu", "--", "node002"],
        "node/node002",
        "profiles was default openstack-compute-hosts, and is default openstack-compute-hosts gpu",
    ),
    "source": (
        ["profile", "set", "--yes", "--comment=mine", "--", "openstack-compute-hosts"],
        "category/openstack-compute-hosts",
        "comment was Hypervisors, and is mine",
    ),
    "device": (
        ["node", "set", "--yes", "--netname=ibnet", "--netdev=ib1", "--", "node001"],
        "node/node001/interface/ib0",
        "network: 'ibnet' already has the device ib1 on this node",
    ),
    "gone": (["profile", "delete", "--yes", NETWORK_NODES], f"category/{NETWORK_NODES}", "no such profile"),
}


@pytest.mark.parametrize(
    ("what", "number", "done"),
    [
        *((what, 1, "web-3 imported") for what in OTHERS),
        ("profile", 2, "web-3 imported, hosts-web made"),
        ("node", 2, f"web-3 imported, hosts-web made, image and kernelargs of {NETWORK_NODES} set"),
    ],
)
def test_what_somebody_changes_meanwhile_is_refused_and_shown_and_not_overwritten(
    site: Site, what: str, number: int, done: str
) -> None:
    call, where, said = OTHERS[what]
    start.switch(site.server.home, interfere_at={str(number): call})
    before = registry.snapshot(site.server.home)
    with pytest.raises(PipelineError) as raised:
        site.apply()
    first, *_ = raised.value.problems
    assert first.where == where
    assert said in first.message
    assert any(problem.message.startswith(f"done: {done}; not: ") for problem in raised.value.problems)
    after = registry.snapshot(site.server.home)
    mine = "profiles" if what in ("profile", "source", "gone") else "nodes"
    name = call[-1]
    assert after[mine].get(name) != before[mine][name], "what somebody else did is there"
    assert ("hosts-web" in after["profiles"]) is (number > 1)
    theirs = after[mine].get(name)
    start.switch(site.server.home, interfere_at={})
    if what in ("profile", "node", "source"):
        site.apply()
        assert site.changes() == ()
        assert len(site.calls("image", "import")) == 1
    if what == "profile":
        kept = registry.snapshot(site.server.home)["profiles"][name]["kernel"]["args"]
        assert kept == [*theirs["kernel"]["args"], "iommu=pt", "pci=realloc"], "and none of hosts-web's own"
    if what == "node":
        assert registry.snapshot(site.server.home)["nodes"][name]["profiles"] == [
            "default",
            "hosts-web",
            "gpu",
        ]


def test_what_somebody_changes_elsewhere_meanwhile_is_no_matter(site: Site) -> None:
    others = ["node", "set", "--yes", "--comment=mine", "--", "node[001-003]"]
    start.switch(site.server.home, interfere_at={"1": others})
    site.apply()
    assert site.changes() == ()
    nodes = registry.snapshot(site.server.home)["nodes"]
    assert {node["comment"] for node in nodes.values()} == {"mine"}


def test_a_clone_of_which_half_was_made_is_made_whole(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    other = registry.Registry(site.server.home)
    hosts = other.profiles["openstack-compute-hosts"]
    hosts["network devices"] = {f"net{number}": {"device": f"eth{number}"} for number in (1, 2, 3)}
    other.save()

    def run(self: Wwctl, *argv: str, **options: Any) -> Ran:
        if argv[:2] == ("profile", "set"):
            raise Killed
        return REALLY(self, *argv, **options)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Wwctl, "run", run)
        site.apply()
    assert len(registry.snapshot(site.server.home)["profiles"]["hosts-web"]["network devices"]) == 1
    assert "category/hosts-web" in {str(change.ref) for change in site.changes()}
    site.apply()
    made = registry.snapshot(site.server.home)["profiles"]["hosts-web"]
    assert made["network devices"] == hosts["network devices"]
    assert site.changes() == ()
    assert record.load(site.store, "web").begun == ()
