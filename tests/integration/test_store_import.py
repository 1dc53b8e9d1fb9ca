"""Importing bases: once, again when changed, and what is said when it cannot be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from published_versions import private_mounts

from pipeline.chroot import syscalls
from pipeline.errors import PipelineError
from pipeline.events import Event, Note, ignore
from pipeline.store import importing
from pipeline.store.base_changes import changed_paths
from pipeline.store.base_compare import changed_since
from pipeline.store.check import check
from pipeline.store.fingerprint import Look, fingerprint
from pipeline.store.importing import import_base
from pipeline.store.store import Store
from tests.trees import deep

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root"),
    pytest.mark.disk,
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "base"
    for number in range(300):
        (root / f"usr/lib/d{number}").mkdir(parents=True)
        for name in ("a", "b"):
            (root / f"usr/lib/d{number}/{name}").write_text(f"{number}{name}" * 10)
        if number % 3 == 0:
            os.link(root / f"usr/lib/d{number}/a", root / f"usr/lib/z{number}")
    (root / "etc").mkdir()
    (root / "bin").symlink_to("usr/bin")
    (root / "usr/bin").mkdir()
    return root


def test_an_unchanged_base_is_not_read_again(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = import_base(store, "base", tree, ignore)
    assert base.files == 300 * 3 + 100 + 5
    monkeypatch.setattr(importing, "_import", None)
    assert import_base(store, "base", tree, ignore) == base
    assert check(store, ignore) == ()


def test_a_changed_base_is_imported_again_and_shares_what_is_equal(store: Store, tree: Path) -> None:
    one = import_base(store, "base", tree, ignore)
    (tree / "etc/new").write_text("x")
    two = import_base(store, "base", tree, ignore)
    assert two.layer != one.layer and two.files == one.files + 1
    (tree / "etc/new").chmod(0o600)
    (tree / "etc/new").chmod(0o644)
    three = import_base(store, "base", tree, ignore)
    assert three.fingerprint != two.fingerprint
    assert three.layer == two.layer
    assert store.base("base") == three
    assert check(store, ignore) == ()


@pytest.mark.parametrize(
    "change", ["touch -d @1 etc", "chmod 700 usr/lib/d299/b", "mv usr/lib/d0 usr/lib/e0", "rm usr/lib/d7/a"]
)
def test_every_change_changes_the_fingerprint(tree: Path, change: str) -> None:
    before = fingerprint(tree)
    assert fingerprint(tree) == before
    subprocess.run(["sh", "-c", change], cwd=tree, check=True)
    assert fingerprint(tree) != before


def test_a_look_that_fails_says_what_find_said(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin/find"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    program.write_text("#!/bin/sh\necho \"find: '$1/x': No such file or directory\" >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(PipelineError, match=r"/x': No such file or directory") as raised:
        fingerprint(tree)
    assert raised.value.problems[0].hint is not None
    full = "find: 'standard output': No space left on device\\nfind: write error\\n"
    program.write_text(f'#!/bin/sh\nprintf "{full}" >&2\nexit 1\n')
    with pytest.raises(PipelineError, match="what find has seen cannot be kept: 'standard output'") as raised:
        fingerprint(tree)
    assert "memory" in str(raised.value.problems[0].hint)
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    with pytest.raises(PipelineError, match="it was killed"):
        fingerprint(tree)


def test_a_look_that_nobody_waits_for_ends_at_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spawn, started = os.posix_spawnp, list[int]()

    def spawned(*words: Any, **more: Any) -> int:
        started.append(spawn(*words, **more))
        return started[-1]

    monkeypatch.setattr(os, "posix_spawnp", spawned)
    with Look(tree):
        pass
    [find] = started  # this process may have children of other tests
    with pytest.raises(ChildProcessError):
        os.waitpid(find, os.WNOHANG)


def test_reading_a_base_does_not_change_its_fingerprint(store: Store, tree: Path) -> None:
    before = fingerprint(tree)
    (tree / "usr/lib/d0/a").read_text()
    import_base(store, "base", tree, ignore)
    assert fingerprint(tree) == before


def test_what_an_import_would_find_changed_is_known_without_one(store: Store, tree: Path) -> None:
    odd = os.fsencode(tree) + b"/etc/\xff\\ \n"
    Path(os.fsdecode(odd)).write_text("x")
    os.mkfifo(tree / "etc/fifo")
    os.mknod(tree / "etc/null", 0o20666, os.makedev(1, 3))
    os.setxattr(tree / "usr/lib/d1/a", "user.x", b"1")
    os.chown(tree / "bin", 5, 6, follow_symlinks=False)
    base = import_base(store, "base", tree, ignore)
    assert changed_since(store, base.digest, tree) is None
    set_back = (
        "touch -r usr/lib/d2/a ../t; tr a A < usr/lib/d2/a > ../n; cat ../n > usr/lib/d2/a;"
        " touch -r ../t usr/lib/d2/a"
    )
    for change, told in (
        ("touch -d @1 usr/lib/z0", "only times: /usr/lib/d0/a, /usr/lib/z0"),
        ("chmod 700 usr/lib/d299/b", "/usr/lib/d299/b"),
        ("rm usr/lib/d0/a", "/usr/lib/d0/a, /usr/lib/z0"),
        ("printf 2 > usr/lib/d1/a", "/usr/lib/d1/a"),
        ("rm etc/null && mkdir etc/null", "/etc/null"),
        (set_back, "/usr/lib/d2/a"),
    ):
        subprocess.run(["sh", "-c", change], cwd=tree, check=True)
        assert changed_since(store, base.digest, tree) == told, change
        before, base = base, import_base(store, "base", tree, ignore)
        assert changed_paths(store, before.digest, base.digest) == told
        assert changed_since(store, base.digest, tree) is None


def test_sockets_and_deletion_marks_are_left_out_and_noted(store: Store, tree: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "etc/socket"))
    os.mknod(tree / "etc/zero", 0o20600, 0)
    events: list[Event] = []
    base = import_base(store, "base", tree, events.append)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes == [
        "/etc/socket was left out: a socket",
        "/etc/zero was left out: a device 0:0, which overlayfs takes for a deletion",
    ]
    assert changed_since(store, base.digest, tree) is None
    assert os.listdir(store.layer_tree(base.layer) / "etc") == []
    assert check(store, ignore) == ()


def test_a_time_in_the_future_dates_nothing_that_stages_write_and_is_noted(store: Store, tree: Path) -> None:
    os.utime(tree / "usr/lib/d1/a", (4e9, 4e9))
    before = time.time()
    events: list[Event] = []
    base = import_base(store, "base", tree, events.append)
    assert base.epoch <= before + 1
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes == ["/usr/lib/d1/a has a time in the future; what stages write gets one before now"]


def test_a_base_with_a_path_that_no_program_can_open_is_refused(store: Store, tree: Path) -> None:
    with (
        deep(tree / "etc", 30, "d" * 200),
        pytest.raises(PipelineError, match="cannot be imported: File name too long") as caught,
    ):
        import_base(store, "base", tree, ignore)
    (problem,) = caught.value.problems
    assert problem.where is not None and len(problem.where) < 300 and "etc/dddd" in problem.where
    assert problem.hint == "Linux takes no path of over 4,095 bytes: take folders out of folders"


def test_other_mounts_are_not_entered(store: Store, tree: Path) -> None:
    (tree / "proc").mkdir()
    events: list[Event] = []
    with private_mounts():
        syscalls.mount("t", str(tree / "proc"), "tmpfs")
        (tree / "proc/inside").touch()
        base = import_base(store, "base", tree, events.append)
        (tree / "proc/more").touch()
        assert import_base(store, "base", tree, ignore) == base
    assert "/proc is a mount point" in str(events)
    assert os.listdir(store.layer_tree(base.layer) / "proc") == []
    assert check(store, ignore) == ()


def test_mounts_of_the_same_file_system_are_not_entered_and_left_out(
    store: Store, tree: Path, tmp_path: Path
) -> None:
    """A directory and a file on names that mountinfo escapes, twice on one point, and one that is hidden."""
    host = tmp_path / "host"
    (host / "deep").mkdir(parents=True)
    (host / "file").write_text("the host's")
    os.link(host / "file", host / "same")
    (tree / "etc/mn t[1]").mkdir()
    (tree / "etc/mn t[1]/own").touch()
    (tree / "etc/resolv conf").write_text("its own")
    os.link(tree / "etc/resolv conf", tree / "etc/kept")
    (tree / "hidden").mkdir()
    (tree / "hidden/own").write_text("its own")
    unmounted = fingerprint(tree)
    events: list[Event] = []
    with private_mounts():
        syscalls.mount("t", str(tree / "hidden"), "tmpfs")
        syscalls.mount(str(tree), str(tree), flags=syscalls.MS_BIND)
        for source in ("deep", "."):
            syscalls.mount(str(host / source), str(tree / "etc/mn t[1]"), flags=syscalls.MS_BIND)
        syscalls.mount(str(host / "file"), str(tree / "etc/resolv conf"), flags=syscalls.MS_BIND)
        base = import_base(store, "base", tree, events.append)
        (host / "more").touch()
        (host / "file").write_text("changed")
        assert import_base(store, "base", tree, ignore) == base
        assert changed_since(store, base.digest, tree) is None
    assert changed_since(store, base.digest, tree) == "/etc/mn t[1]/own, /etc/resolv conf"
    assert [event.text for event in events if isinstance(event, Note)] == [
        "/etc/mn t[1] is a mount point: imported as an empty directory",
        "/etc/resolv conf was left out: something is mounted on it",
    ]
    copy = store.layer_tree(base.layer)
    assert sorted(os.listdir(copy / "etc")) == ["kept", "mn t[1]"] and not os.listdir(copy / "etc/mn t[1]")
    assert (copy / "etc/kept").read_text() == (copy / "hidden/own").read_text() == "its own"
    assert check(store, ignore) == ()
    assert fingerprint(tree) == unmounted != base.fingerprint
    again = store.layer_tree(import_base(store, "base", tree, ignore).layer)
    assert (
        os.path.samefile(again / "etc/kept", again / "etc/resolv conf")
        and (again / "etc/mn t[1]/own").exists()
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        ("true", "does not exist"),
        ("touch base", "is no directory"),
        ("mkdir -p base/usr/bin", "is not the root of a system: it has no etc"),
        ("mkdir -p base", "it has no etc and no bin or usr/bin"),
    ],
)
def test_what_is_no_base_is_refused(store: Store, tmp_path: Path, make: str, said: str) -> None:
    subprocess.run(["sh", "-c", make], cwd=tmp_path, check=True)
    with pytest.raises(PipelineError, match=f"base 'b': {tmp_path}/base {said}|{said}"):
        import_base(store, "b", tmp_path / "base", ignore)
    assert os.listdir(store.path / "work") == []


def test_a_base_that_changes_once_is_imported_as_it_is_then(store: Store, tree: Path) -> None:
    changed = False

    def change(event: Event) -> None:
        nonlocal changed
        if not changed:
            changed = True
            (tree / "etc/late").write_text("late")

    base = import_base(store, "base", tree, change)
    assert (store.layer_tree(base.layer) / "etc/late").read_text() == "late"
    assert base.fingerprint == fingerprint(tree)
    assert check(store, ignore) == ()


def test_a_base_that_keeps_changing_is_refused(store: Store, tree: Path) -> None:
    with pytest.raises(PipelineError, match="keeps changing"):
        import_base(store, "base", tree, lambda event: (tree / f"etc/{time.time_ns()}").touch())
    assert store.base("base") is None
    assert os.listdir(store.path / "work") == []


def test_a_base_that_does_not_fit_is_refused_before_anything_is_copied(
    store: Store, tmp_path: Path, tree: Path
) -> None:
    """The store lies on a file system of 1 MB, in a namespace of its own."""
    (tree / "etc/big").write_bytes(b"x" * 5_000_000)
    code = f'''
import sys
from pathlib import Path
from pipeline.errors import PipelineError
from pipeline.events import ignore
from pipeline.store.store import Store
from pipeline.store.importing import import_base
store = Store.open(Path("/mnt/store"))
try:
    import_base(store, "base", Path("{tree}"), ignore)
except PipelineError as error:
    print(error)
'''
    command = 'mount -t tmpfs -o size=2m t /mnt && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command, sys.executable, code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "needs 6 MB in the store, where there are 2 MB\n  hint: make room" in done.stdout.replace(
        "needs 7", "needs 6"
    )
