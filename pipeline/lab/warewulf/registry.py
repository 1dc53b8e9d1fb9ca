"""What the stand-in keeps on disk: nodes.conf, images, switches, and a list of the calls."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

SWITCHES: dict[str, Any] = {
    "release": "4.6",  # "4.5": containers instead of images, node list is a list
    "keys": "spaced",  # "go": the names of the Go fields, with nulls
    "log": "stderr",  # "stdout": warnings come among what is listed
    "add_yes": True,  # whether profile add knows --yes
    "fail_at": 0,  # the call, from 1, that changes something and fails: 0 is none
    "interfere_at": {},  # {"3": ["node", "set", …]}: what somebody else does before that call
    "import_stops": [],  # [5, "killed"]: after so many files; "held": until there is a file "go_on"
}


class Registry:
    """The state below ``home``. ``data`` has ``nodeprofiles`` and ``nodes``, as nodes.conf has."""

    def __init__(self, home: Path, lock: IO[str] | None = None) -> None:
        self.home = home
        self._lock = lock
        self.data: dict[str, dict[str, dict[str, Any]]] = json.loads((home / "nodes.conf").read_text())
        self.switches = SWITCHES | json.loads((home / "switches.json").read_text())

    @property
    def profiles(self) -> dict[str, dict[str, Any]]:
        return self.data["nodeprofiles"]

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        return self.data["nodes"]

    def tree(self, image: str) -> Path:
        """Where the image's tree is."""
        return self.home / "chroots" / image / "rootfs"

    def built(self, image: str) -> Path:
        """The file that nodes get."""
        return self.home / "provision/images" / f"{image}.img"

    def images(self) -> list[str]:
        """Names of images: directories with a rootfs, whatever is in it, as ``image list`` has them."""
        found = sorted((self.home / "chroots").iterdir())
        return [path.name for path in found if (path / "rootfs").is_dir()]

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let others in meanwhile: a tree is copied while nodes and profiles are set."""
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        yield
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def save(self) -> None:
        """Persist: one rename."""
        new = self.home / "nodes.conf.new"
        new.write_text(json.dumps(self.data, indent=1))
        new.rename(self.home / "nodes.conf")


@contextmanager
def opened(home: Path, argv: list[str]) -> Iterator[Registry]:
    """The registry, for one process at a time; the call is noted."""
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (home / "calls").open("a") as calls:
            calls.write(json.dumps(argv) + "\n")
        yield Registry(home, lock)


def calls(home: Path) -> list[list[str]]:
    """All calls so far."""
    path = home / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def snapshot(home: Path) -> dict[str, Any]:
    """Everything that is there, to be compared: profiles, nodes, images and whether they are built."""
    found = Registry(home)
    images = {name: found.built(name).exists() for name in found.images()}
    return {"profiles": found.profiles, "nodes": found.nodes, "images": images}
