"""The stand-in for wwctl refuses what the real one refuses, and has its traps."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.lab.warewulf import registry, start


@pytest.fixture
def home(tmp_path: Path) -> Path:
    start.make(tmp_path)
    start.tree(tmp_path / "tree")
    return tmp_path


def wwctl(home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([home / "bin/wwctl", *argv], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nodes-of-mine"], 'unknown command "nodes-of-mine" for "wwctl"'),
        (["node", "set", "--yes", "--container=x", "node001"], "unknown flag: --container"),
        (["node", "set", "--yes", "--image"], "flag needs an argument: --image"),
        (["node", "set", "--yes", "--image=x"], "requires at least 1 arg(s)"),
        (["node", "set", "--yes", "--onboot=maybe", "node001"], "value for WWbool can't be set from maybe"),
        (["node", "set", "--yes", "--ipaddr=10.1.2", "node001"], "failed to parse IP"),
        (["node", "set", "--yes", '--kernelargs=a"b', "node001"], 'bare " in non-quoted-field'),
        (["node", "set", "--yes", "--tagadd=a", "node001"], "must be formatted as key=value"),
        (["node", "set", "--yes", "--netdel=ib0", "node001"], "network device name doesn't exist: ib0"),
        (["profile", "add", "--yes", "default"], "profile with name default already exists"),
        (["image", "import", "TREE", "openstack-image"], "image name exists, specify --force"),
        (["image", "import", "TREE", "a b"], "image name contains illegal characters: a b"),
        (["image", "import", "/nowhere", "x"], "invalid dir or uri: /nowhere"),
        (["overlay", "build", "node[001-004]"], "failed to find nodes"),
    ],
)
def test_what_the_real_one_refuses_ends_with_255_and_changes_nothing(
    home: Path, argv: list[str], said: str
) -> None:
    before = registry.snapshot(home)
    done = wwctl(home, *(str(home / "tree") if word == "TREE" else word for word in argv))
    assert (done.returncode, done.stdout) == (255, "")
    assert said in done.stderr
    assert registry.snapshot(home) == before


@pytest.mark.parametrize("what", [("node", "node001"), ("profile", "default")])
def test_without_yes_a_question_is_asked_and_nothing_done(home: Path, what: tuple[str, str]) -> None:
    before = registry.snapshot(home)
    done = wwctl(home, what[0], "set", "--comment=x", what[1])
    assert (done.returncode, "Are you sure" in done.stdout) == (0, True)
    assert registry.snapshot(home) == before


def test_unknown_nodes_are_warned_about_and_the_others_set(home: Path) -> None:
    done = wwctl(home, "node", "set", "--yes", "--image=nowhere", "node[003-004],nobody", "node001")
    assert done.returncode == 0
    assert done.stderr == "WARN   : invalid node: node004\nWARN   : invalid node: nobody\n"
    nodes = registry.snapshot(home)["nodes"]
    assert [nodes[name].get("image name") for name in nodes] == ["nowhere", None, "nowhere"]


def test_words_take_values_away_and_lists_replace(home: Path) -> None:
    argv = ["profile", "set", "--yes", "openstack-compute-hosts"]
    assert wwctl(home, *argv, "--image=UNDEF", '--kernelargs=a,"b,c"', "--kernelargs=d").returncode == 0
    profile = registry.snapshot(home)["profiles"]["openstack-compute-hosts"]
    assert "image name" not in profile
    assert profile["kernel"] == {"args": ["a", "b,c", "d"]}


def test_an_image_that_was_not_built_has_no_modification_time(home: Path) -> None:
    wwctl(home, "image", "import", str(home / "tree"), "new-1")
    row = wwctl(home, "image", "list", "--long").stdout.splitlines()[2].split("  ")
    assert (row[0], "01 Jan 70 00:00 UTC" in row) == ("new-1", True)
    wwctl(home, "image", "build", "new-1")
    assert "01 Jan 70" not in wwctl(home, "image", "list", "--long").stdout


def test_an_import_that_is_killed_leaves_half_an_image_that_is_listed_and_can_be_built(home: Path) -> None:
    start.switch(home, import_stops=[1, "killed"])
    done = wwctl(home, "image", "import", "--build", "--", str(home / "tree"), "new-1")
    assert done.returncode == -9
    assert registry.snapshot(home)["images"] == {"new-1": False, "openstack-image": True}
    half = [path for path in (home / "chroots/new-1/rootfs").rglob("*") if path.is_file()]
    start.switch(home, import_stops=[])
    again = ("image", "import", "--build", "--", str(home / "tree"), "new-1")
    assert "image name exists, specify --force" in wwctl(home, *again).stderr
    assert wwctl(home, "image", "build", "new-1").returncode == 0
    assert len(half) == 1
    assert wwctl(home, "image", "import", "--force", *again[3:]).returncode == 0
    assert len([path for path in (home / "chroots/new-1/rootfs").rglob("*") if path.is_file()]) == 2
