"""Layers on real overlayfs: what a stage did is what the next one sees."""

from __future__ import annotations

import ctypes
import gzip
import hashlib
import os
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pipeline.errors import PipelineError
from pipeline.events import ignore
from pipeline.store import manifest
from pipeline.store.check import check
from pipeline.store.filesystem import DIRECTORY
from pipeline.store.importing import import_base
from pipeline.store.records import Base, Draft, Layer
from pipeline.store.seal import SPAN
from pipeline.store.store import Store, layer_name
from pipeline.store.tree import Entry, entries, raw_path
from pipeline.store.work import Work
from tests.trees import DEFAULT_ACL, SHARED_ACL, acls, tree_entries

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="overlayfs needs root"),
    pytest.mark.disk,
]

EPOCH = 1_400_000_000
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
MORE = "one\ntwo\n"
ODD = b"odd \xff\\name"


def in_overlay(lower: list[Path], work: Work | None, change: Callable[[], object]) -> None:
    """Run ``change`` in a forked child that is in the mounted stack, in a namespace of its own."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.unshare(0x00020000) == 0
            libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None)
            stack = ":".join(str(tree) for tree in reversed(lower))
            data = f"lowerdir={stack},metacopy=off,redirect_dir=off"
            if work is not None:
                data += f",upperdir={work.upper},workdir={work.work},index=on,volatile"
            if libc.mount(b"overlay", b"/mnt", b"overlay", 0 if work else 1, data.encode()) != 0:
                raise OSError(ctypes.get_errno(), data)
            os.chdir("/mnt")
            change()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def shell(text: str) -> Callable[[], object]:
    """A change made by a shell."""
    return lambda: subprocess.run(["sh", "-euc", text], check=True)


def look(lower: list[Path], where: Path) -> list[Entry]:
    """What a stack shows, without the root's time (a mount has its own)."""

    def write() -> None:
        root = os.open(".", DIRECTORY)
        (where / "seen").write_bytes(msgspec.json.encode([entry for entry, _ in entries(root)]))

    in_overlay(lower, None, write)
    return msgspec.json.decode((where / "seen").read_bytes(), type=list[Entry])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def base_tree(tmp_path: Path) -> Path:
    """A little root with everything that a tree can hold."""
    root = tmp_path / "base"
    for name in (
        "etc",
        "bin",
        "dev",
        "var/log",
        "var/cache/yum",
        "usr/lib/d1",
        "usr/lib/d2",
        "gone/deep",
        "swap",
    ):
        (root / name).mkdir(parents=True)
    (root / "etc/issue").write_text("CentOS\n")
    (root / "bin/su").write_text("su")
    os.chown(root / "bin/su", 0, 7)
    (root / "bin/su").chmod(0o4750)
    (root / "bin/ping").write_text("ping")
    os.setxattr(root / "bin/ping", "security.capability", CAPABILITY)
    os.setxattr(root / "etc", "user.note", b"\x00\xff")
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "dev/sda", stat.S_IFBLK | 0o640, os.makedev(8, 0))
    os.mkfifo(root / "dev/pipe")
    os.symlink("/etc/issue", root / "etc/link")
    os.symlink(ODD, os.fsencode(root) + b"/etc/" + ODD)
    Path(os.fsdecode(os.fsencode(root) + b"/" + ODD)).write_text("odd")
    with (root / "var/log/lastlog").open("wb") as sparse:
        sparse.truncate(50_000_000)
        sparse.seek(20_000_000)
        sparse.write(b"last")
    (root / "usr/lib/d1/a").write_text("one\n")
    os.link(root / "usr/lib/d1/a", root / "usr/lib/d2/b")
    os.link(root / "usr/lib/d1/a", root / "etc/c")
    (root / "gone/deep/file").write_text("x")
    (root / "swap/old").write_text("old")
    (root / "var/log/yum.log").write_text("base\n")
    (root / "var/cache/yum/base").write_text("base\n")
    for path in [root, *root.rglob("*")]:
        os.utime(path, ns=(10**18 + 5, 10**18 + 123_456_789), follow_symlinks=False)
    return root


@pytest.fixture
def base(store: Store, base_tree: Path) -> Base:
    return import_base(store, "base", base_tree, ignore)


def stage(
    store: Store,
    parents: list[str],
    change: Callable[[], object] | str,
    key: str = "a" * 64,
    shims: dict[str, str] | None = None,
    shim_layer: Path | None = None,
) -> Layer:
    """Run ``change`` on the stack and commit it."""
    with store.begin(parents) as work:
        lower = [store.layer_tree(name) for name in parents] + ([shim_layer] if shim_layer else [])
        in_overlay(lower, work, shell(change) if isinstance(change, str) else change)
        draft = Draft(key=key, image="image", stage="stage", type="command")
        return store.commit(work, draft, epoch=EPOCH, shims=shims)


def listing(store: Store, layer: Layer) -> dict[str, Entry]:
    """A layer's manifest by path, without the root."""
    found = {entry.path: entry for entry in manifest.read(store.layer_manifest(layer_name(layer.key)))}
    assert list(found) == sorted(found, key=raw_path)
    del found[""]
    return found


def test_an_imported_base_is_the_directory_in_every_respect(
    store: Store, base: Base, base_tree: Path
) -> None:
    tree = store.layer_tree(base.layer)
    assert tree_entries(tree) == tree_entries(base_tree)
    assert manifest.digest(store.layer_manifest(base.layer)) == base.digest
    assert (tree / "var/log/lastlog").lstat().st_blocks < 100
    assert (tree / "usr/lib/d1/a").lstat().st_nlink == 3
    assert os.getxattr(tree / "bin/ping", "security.capability") == CAPABILITY
    assert base.epoch == 10**9 + 1
    assert check(store, ignore) == ()


GOLDEN = r"""
{"path":"","type":"dir","mode":"0755","uid":0,"gid":0,TIME}
{"path":"bin/su","type":"file","mode":"4750","uid":0,"gid":7,"size":2,TIME,"sha256":"SU"}
{"path":"dev/sda","type":"block","mode":"0640","uid":0,"gid":0,TIME,"rdev":"8:0"}
{"path":"etc","type":"dir","mode":"0755","uid":0,"gid":0,TIME,"xattrs":{"user.note":"AP8="}}
{"path":"etc/link","type":"link","mode":"0777","uid":0,"gid":0,TIME,"target":"/etc/issue"}
{"path":"etc/odd \\xff\\\\name","type":"link","mode":"0777","uid":0,"gid":0,TIME,"target":"odd \\xff\\\\name"}
{"path":"usr/lib/d2/b","type":"file","mode":"0644","uid":0,"gid":0,"size":4,TIME,"sha256":"A","hardlink":"etc/c"}
"""


def test_a_manifest_says_everything_in_one_line_for_each_path(store: Store, base: Base) -> None:
    text = gzip.decompress(store.layer_manifest(base.layer).read_bytes()).decode()
    text = text.replace('"mtime":1000000000123456789', "TIME")
    for short, content in (("SU", b"su"), ("A", b"one\n")):
        text = text.replace(hashlib.sha256(content).hexdigest(), short)
    assert set(GOLDEN.split("\n")) <= set(text.split("\n"))


EVERYTHING = r"""
echo new > etc/new; echo more >> etc/issue; chmod 2755 bin/su; chown 3:4 bin/ping
rm -r gone; rm -r swap; mkdir swap; echo fresh > swap/fresh
rm etc/link; mkdir etc/link; rm dev/sda; mknod dev/zero c 1 5; mkfifo dev/pipe2
ln etc/new bin/new2; ln -s nowhere bin/dangling
truncate -s 9000000 var/big; cp -a bin/su 'bin/s u'
printf x > "$(printf 'bin/\377')"
mv var/log/lastlog var/lastlog
"""


def test_a_layer_stacked_again_shows_what_the_stage_left(store: Store, base: Base, tmp_path: Path) -> None:
    seen = tmp_path / "before"
    seen.mkdir()

    def change() -> None:
        subprocess.run(["sh", "-euc", EVERYTHING], check=True)
        os.setxattr("bin/new2", "user.x", b"1")
        root = os.open(".", DIRECTORY)
        (seen / "seen").write_bytes(msgspec.json.encode([entry for entry, _ in entries(root)]))

    layer = stage(store, [base.layer], change)
    before = msgspec.json.decode((seen / "seen").read_bytes(), type=list[Entry])
    after = look([store.layer_tree(base.layer), store.layer_tree(layer_name(layer.key))], tmp_path)

    own = next(entry.mtime for entry in after if entry.path == "etc/new")

    def settled(found: list[Entry]) -> list[Entry]:
        return [
            msgspec.structs.replace(entry, mtime=own)
            if entry.mtime is not None and entry.mtime > layer.created * 10**9 - 60 * 10**9
            else entry
            for entry in found
        ]

    assert settled(before) == after
    found = listing(store, layer)
    assert {path for path, entry in found.items() if entry.type == "whiteout"} == {
        "dev/sda", "gone", "var/log/lastlog",
    }  # fmt: skip
    assert {path for path, entry in found.items() if entry.opaque} == {"swap", "etc/link"}
    assert found["etc/new"].hardlink == "bin/new2"
    assert check(store, ignore) == ()


def test_a_layer_holds_no_mark_of_overlayfs_but_opaque(store: Store, base: Base) -> None:
    layer = stage(store, [base.layer], EVERYTHING)
    tree = store.layer_tree(layer_name(layer.key))
    names = {
        name
        for path in [tree, *tree.rglob("*")]
        for name in os.listxattr(path, follow_symlinks=False)
        if name.startswith("trusted.overlay.")
    }
    assert names == {"trusted.overlay.opaque"}


def test_the_same_change_twice_is_the_same_layer(store: Store, base: Base) -> None:
    one = stage(store, [base.layer], EVERYTHING, key="1" * 64)
    two = stage(store, [base.layer], EVERYTHING, key="2" * 64)
    assert one.digest == two.digest


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("echo two >> etc/c", {"etc/c": MORE, "usr/lib/d1/a": MORE, "usr/lib/d2/b": MORE}),
        ("mv etc/c etc/e", {"etc/e": "one\n", "usr/lib/d1/a": "one\n", "usr/lib/d2/b": "one\n"}),
        ("ln etc/c etc/d", dict.fromkeys(("etc/c", "etc/d", "usr/lib/d1/a", "usr/lib/d2/b"), "one\n")),
        ("rm etc/c; echo 2 > etc/c", {"etc/c": "2\n"}),
        ("echo two >> etc/c; rm etc/c", {"usr/lib/d1/a": MORE, "usr/lib/d2/b": MORE}),
        ("rm etc/c", {}),
        ("chmod 600 etc/c; rm -r usr/lib/d2", {"etc/c": "one\n", "usr/lib/d1/a": "one\n"}),
        (
            "chmod 600 etc/c; rm -r usr/lib/d2; mkdir usr/lib/d2; echo 3 > usr/lib/d2/b",
            {"etc/c": "one\n", "usr/lib/d1/a": "one\n", "usr/lib/d2/b": "3\n"},
        ),
    ],
)
def test_all_names_of_a_changed_file_are_in_the_layer(
    store: Store, base: Base, tmp_path: Path, change: str, expected: dict[str, str]
) -> None:
    layer = stage(store, [base.layer], change)
    tree = store.layer_tree(layer_name(layer.key))
    got = {
        str(path.relative_to(tree)): path.read_text()
        for path in tree.rglob("*")
        if stat.S_ISREG(path.lstat().st_mode)
    }
    assert got == expected
    shared = [tree / name for name in expected if expected[name].startswith("one")]
    assert len({path.lstat().st_ino for path in shared}) <= 1
    for directory in (path for path in tree.rglob("*") if path.is_dir()):
        below = store.layer_tree(base.layer) / directory.relative_to(tree)
        if below.exists() and directory.name == "d1":
            assert directory.lstat().st_mtime_ns == below.lstat().st_mtime_ns
    assert check(store, ignore) == ()


def test_what_is_put_into_a_folder_with_a_default_acl_does_not_inherit_it(
    store: Store, base_tree: Path, shim_layer: Path, shims: dict[str, str]
) -> None:
    for folder in (base_tree / "bin", base_tree / "usr/lib", shim_layer / "bin"):
        os.setxattr(folder, DEFAULT_ACL, SHARED_ACL)
    base = import_base(store, "base", base_tree, ignore)
    layer = stage(
        store, [base.layer], "echo two >> etc/c; chmod 700 bin/ping", shims=shims, shim_layer=shim_layer
    )
    for name in (base.layer, layer_name(layer.key)):
        tree = store.layer_tree(name)
        assert sorted(acls(tree)) == [str(tree / "bin"), str(tree / "usr/lib")]


def test_links_across_three_layers_stay_links(store: Store, base: Base, tmp_path: Path) -> None:
    one = layer_name(stage(store, [base.layer], "echo 1 >> etc/c", key="1" * 64).key)
    two = layer_name(stage(store, [base.layer, one], "echo 2 >> usr/lib/d2/b; rm etc/c", key="2" * 64).key)
    seen = look([store.layer_tree(name) for name in (base.layer, one, two)], tmp_path)
    found = {entry.path: entry for entry in seen}
    assert "etc/c" not in found
    assert found["usr/lib/d2/b"].hardlink == "usr/lib/d1/a"
    assert found["usr/lib/d1/a"].size == len("one\n1\n2\n")


def test_logs_and_caches_of_package_managers_are_left_out(store: Store, base: Base) -> None:
    layer = stage(
        store,
        [base.layer],
        "echo x >> var/log/yum.log; echo y > var/cache/yum/new; mkdir -p var/lib/dnf var/lib/rpm;"
        "echo h > var/lib/dnf/history.sqlite; echo db > var/lib/rpm/__db.001; echo p > var/lib/rpm/Packages;"
        "mkdir -p var/cache/dnf/a; echo z > var/cache/dnf/a/b; echo keep > var/log/messages",
    )
    found = listing(store, layer)
    assert set(found) == {
        "var",
        "var/lib",
        "var/lib/rpm",
        "var/lib/rpm/Packages",
        "var/log",
        "var/log/messages",
    }


def test_the_lock_and_the_backups_that_useradd_leaves_are_left_out(store: Store, base: Base) -> None:
    layer = stage(
        store,
        [base.layer],
        "cd etc; for of in passwd shadow group gshadow subuid subgid; do echo a > $of; echo b > $of-; done;"
        ": > .pwd.lock; echo keep > notes-",
    )
    found = {path for path in listing(store, layer) if path != "etc"}
    assert found == {
        f"etc/{name}" for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid", "notes-")
    }


def test_a_stage_that_only_left_logs_has_an_empty_layer(store: Store, base: Base) -> None:
    layer = stage(
        store,
        [base.layer],
        "echo x >> var/log/yum.log; mkdir -p var/lib/rpm; : > var/lib/rpm/.rpm.lock;"
        "mkdir -p var/cache/yum/$(printf 'd/%.0s' $(seq 1200))",
    )
    assert listing(store, layer) == {}
    assert layer.files == 0


def test_a_deleted_log_or_cache_stays_deleted(store: Store, base: Base, tmp_path: Path) -> None:
    layer = stage(
        store,
        [base.layer],
        "rm var/log/yum.log; rm -r var/cache/yum; mkdir var/cache/yum; echo 1 > var/cache/yum/new",
    )
    seen = {
        entry.path
        for entry in look([store.layer_tree(base.layer), store.layer_tree(layer_name(layer.key))], tmp_path)
    }
    assert "var/log/yum.log" not in seen
    assert {path for path in seen if path.startswith("var/cache")} == {"var/cache", "var/cache/yum"}


def test_times_since_the_stage_began_are_the_layers_own_and_older_ones_stay(store: Store, base: Base) -> None:
    layer = stage(
        store,
        [base.layer],
        "echo x > etc/now; echo y > etc/then; touch -d @1300000000 etc/then; ln -s x etc/l",
    )
    found = listing(store, layer)
    assert found["etc/now"].mtime == found["etc/l"].mtime == found["etc"].mtime
    assert EPOCH * 10**9 <= (found["etc/now"].mtime or 0) < (EPOCH + SPAN) * 10**9
    assert found["etc/then"].mtime == 1_300_000_000 * 10**9


def test_what_a_stage_makes_is_never_older_than_what_the_stages_before_it_made(
    store: Store, base: Base
) -> None:
    below = [base.layer]
    times = [0.0]
    for number in range(8):
        layer = stage(store, below, f"echo {number} > etc/made{number}", f"{number}" * 64)
        below.append(layer_name(layer.key))
        times.append((store.layer_tree(below[-1]) / f"etc/made{number}").stat().st_mtime)
    assert times == sorted(set(times))


def test_a_node_that_is_updated_by_rsync_gets_other_content_of_the_same_size(
    store: Store, base: Base, tmp_path: Path
) -> None:
    def write(content: str, key: str) -> Path:
        layer = stage(store, [base.layer], f"echo {content} > etc/issue; echo same > etc/same", key * 64)
        return store.layer_tree(layer_name(layer.key))

    one, other, again = write("one", "1"), write("two", "2"), write("one", "3")
    assert (one / "etc/issue").stat().st_mtime == (again / "etc/issue").stat().st_mtime
    node = tmp_path / "node"
    for tree in (one, other):
        subprocess.run(["rsync", "-aHAX", f"{tree}/", f"{node}/"], check=True)
        assert (node / "etc/issue").read_text() == (tree / "etc/issue").read_text()


@pytest.fixture
def shim_layer(tmp_path: Path) -> Path:
    """Stand-ins for ``bin/ping`` and, where the image has none, ``bin/initctl``."""
    root = tmp_path / "shims"
    (root / "bin").mkdir(parents=True)
    for name in ("ping", "initctl"):
        (root / "bin" / name).write_text("shim")
        (root / "bin" / name).chmod(0o644)
    os.setxattr(root / "bin/ping", "security.capability", CAPABILITY)
    return root


@pytest.fixture
def shims() -> dict[str, str]:
    digest = hashlib.sha256(b"shim").hexdigest()
    return {"bin/ping": digest, "bin/initctl": digest}


def test_a_copied_up_shim_gives_way_to_the_real_program(
    store: Store, base: Base, shim_layer: Path, shims: dict[str, str]
) -> None:
    layer = stage(
        store, [base.layer], "chmod 700 bin/ping; touch bin/initctl", shims=shims, shim_layer=shim_layer
    )
    tree = store.layer_tree(layer_name(layer.key))
    assert set(listing(store, layer)) == {"bin", "bin/ping"}
    assert (tree / "bin/ping").read_text() == "ping"
    assert stat.S_IMODE((tree / "bin/ping").lstat().st_mode) == 0o700
    assert os.getxattr(tree / "bin/ping", "security.capability") == CAPABILITY


def test_a_touched_shim_leaves_nothing(
    store: Store, base: Base, shim_layer: Path, shims: dict[str, str]
) -> None:
    layer = stage(store, [base.layer], "touch bin/ping; rm bin/initctl", shims=shims, shim_layer=shim_layer)
    assert set(listing(store, layer)) == set()


def test_a_program_installed_over_a_shim_is_kept(
    store: Store, base: Base, shim_layer: Path, shims: dict[str, str]
) -> None:
    change = "echo real > bin/t; mv bin/t bin/initctl; rm bin/ping"
    layer = stage(store, [base.layer], change, shims=shims, shim_layer=shim_layer)
    found = listing(store, layer)
    assert found["bin/initctl"].size == 5
    assert found["bin/ping"].type == "whiteout"


def test_a_copy_of_a_shim_is_refused(
    store: Store, base: Base, shim_layer: Path, shims: dict[str, str]
) -> None:
    with pytest.raises(PipelineError, match=r"/etc/copy: .*stand-in"):
        stage(store, [base.layer], "cp bin/ping etc/copy", shims=shims, shim_layer=shim_layer)
    assert store.layer("a" * 64) is None


def test_a_commit_is_quick(store: Store, base: Base) -> None:
    took = []
    for number in range(5):
        with store.begin([base.layer]) as work:
            (work.upper / "file").write_text("x")
            start = time.perf_counter()
            store.commit(
                work, Draft(key=f"{number:020}" + "0" * 44, image="i", stage="s", type="t"), epoch=EPOCH
            )
            took.append(time.perf_counter() - start)
    assert min(took) < 0.1
