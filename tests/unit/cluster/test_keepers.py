"""The order of what is written, and a cloud that cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from pipeline.cluster.keepers import Keepers
from pipeline.cluster.objects import HEAD, Change, Kind, Ref, State, Wanted
from pipeline.errors import MachineError

NETWORK = Ref("os-network", "ibnetwork")
SERVICE = Ref("service", "neutron-server", str(HEAD))
FILE = Ref("file", "/etc/x", str(HEAD))
MANAGER = Ref("service", "Manager", str(HEAD))


class Kept(msgspec.Struct):
    """A keeper in the memory of the test: this is about their order only."""

    name: str
    kinds: frozenset[Kind]
    log: list[str]
    down: bool = False

    def read(self, wanted: Sequence[Wanted]) -> State:
        if self.down:
            raise MachineError("no answer", where=self.name)
        return State({item.ref: {} for item in wanted})

    def write(self, changes: Sequence[Change], state: State) -> None:
        if self.down:
            raise MachineError("no answer", where=self.name)
        self.log += [f"{self.name}: {change.action} {change.ref}" for change in changes]


def keepers(log: list[str], *, down: str = "") -> Keepers:
    manager = Kept("manager", frozenset({"service", "node"}), log, down == "manager")
    files = Kept("files", frozenset({"file"}), log)
    return Keepers([manager, files], Kept("cloud", frozenset({"os-network"}), log, down == "cloud"))


def test_the_cloud_comes_after_the_restarts_and_these_after_the_files() -> None:
    log: list[str] = []
    changes = (
        Change(NETWORK, "add"),
        Change(SERVICE, "set"),
        Change(FILE, "add"),
        Change(SERVICE, "restart"),
    )
    keepers(log).write(changes, State({}))
    assert log == [
        f"manager: set {SERVICE}",
        f"files: add {FILE}",
        f"manager: restart {SERVICE}",
        f"cloud: add {NETWORK}",
    ]


class Restarting(Kept):
    """One whose manager is restarted for services."""

    itself: Ref = MANAGER

    def restarts_itself(self, changes: Sequence[Change]) -> bool:
        return any(change.ref == SERVICE for change in changes)


def test_a_restart_is_owed_until_it_is_made() -> None:
    log: list[str] = []
    manager = Restarting("manager", frozenset({"service", "node"}), log)
    both = Keepers([manager], Kept("cloud", frozenset({"os-network"}), log, down=True))
    changes = (Change(NETWORK, "add"), Change(SERVICE, "restart"), *both.restarts([str(MANAGER)]))
    owed = (str(SERVICE), str(MANAGER), str(FILE))
    assert both.restarted(changes) == (str(MANAGER),)
    with pytest.raises(MachineError):
        both.write(changes, State({}))
    assert log == [f"manager: restart {MANAGER}", f"manager: restart {SERVICE}"]
    assert both.still_owed(owed) == (str(FILE),)
    manager.down = True
    with pytest.raises(MachineError):
        both.write(changes, State({}))
    assert both.still_owed(owed) == owed


def test_a_cloud_that_is_down_is_left_out_and_told() -> None:
    wanted = (Wanted(NETWORK), Wanted(FILE))
    asked = keepers([], down="cloud")
    assert asked.read(wanted).objects == {FILE: {}}
    assert asked.trouble is not None
    assert asked.asked(wanted) == (Wanted(FILE),)
    up = keepers([])
    assert set(up.read(wanted).objects) == {FILE, NETWORK}
    assert up.asked(wanted) == wanted


def test_a_manager_that_is_down_is_an_error() -> None:
    with pytest.raises(MachineError, match="no answer"):
        keepers([], down="manager").read((Wanted(SERVICE),))
