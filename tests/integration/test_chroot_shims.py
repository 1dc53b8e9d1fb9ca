"""The stand-ins in a real root: the image's kernel, no daemon started, and nothing of them in the layer."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.chroot.enter import enter
from pipeline.chroot.root import RootSpec
from pipeline.events import ignore
from pipeline.store.importing import import_base
from pipeline.store.records import Draft, Layer
from pipeline.store.store import Store
from tests.integration.chroot_roots import KERNEL, Place, shell

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")

MARK = "#!/bin/sh\necho started > /root/started\n"


@pytest.fixture
def place(tmp_path: Path, lab_images: Mapping[str, Path]) -> Place:
    return Place(lab_images["openstack-image"], tmp_path)


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ("", "Linux"),
        ("-r", KERNEL),
        ("-rs", f"Linux {KERNEL}"),
        ("-s -m -r", f"Linux {KERNEL} x86_64"),
        ("--kernel-release --machine", f"{KERNEL} x86_64"),
        ("-n", "image"),
        ("-a", f"Linux image {KERNEL} #1 SMP x86_64 x86_64 x86_64 GNU/Linux"),
        ("--all", f"Linux image {KERNEL} #1 SMP x86_64 x86_64 x86_64 GNU/Linux"),
        ("-pio", "x86_64 x86_64 GNU/Linux"),
        ("-x", "uname: invalid option -- 'x'"),
        ("--nonsense", "uname: unrecognized option '--nonsense'"),
        ("this", "uname: extra operand 'this'"),
        ("-r --", KERNEL),
    ],
)
def test_uname_says_the_images_kernel(place: Place, options: str, answer: str) -> None:
    machine = os.uname().machine
    with place.enter() as root:
        assert shell(root, f"uname {options}") == answer.replace("x86_64 ", f"{machine} ").replace(
            "x86_64", machine if "el6" not in answer else "x86_64"
        )


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("usr/sbin/service", "x start"),
        ("usr/bin/systemctl", "start x"),
        ("usr/bin/systemctl", "--no-block restart x"),
        ("usr/bin/systemctl", "daemon-reload"),
        ("usr/sbin/initctl", "start x"),
        ("usr/sbin/telinit", "q"),
        ("usr/sbin/start-stop-daemon", "--start --exec /x"),
        ("usr/sbin/invoke-rc.d", "x start"),
    ],
)
def test_nothing_is_started(place: Place, program: str, arguments: str) -> None:
    place.put(program, MARK, 0o755)
    with place.enter() as root:
        said = root.run(["/bin/sh", "-c", f"/{program} {arguments}"])
        assert "not done, this is an image" in said.text
    assert place.changed() == []


def test_what_is_asked_for_the_state_of_a_service_is_that_it_is_stopped(place: Place) -> None:
    place.put("usr/bin/systemctl", MARK, 0o755)
    place.put("usr/sbin/service", MARK, 0o755)
    with place.enter() as root:
        assert root.run(["service", "x", "status"], exit_codes=(3,)).text == "x is stopped\n"
        assert root.run(["systemctl", "is-active", "x"], exit_codes=(3,)).text == "inactive\n"
        assert root.run(["systemctl", "status", "x"], exit_codes=(3,))
        assert root.run(["service", "--status-all"]).text == ""


def test_what_systemctl_changes_in_files_is_passed_on(place: Place) -> None:
    place.put("usr/bin/systemctl", '#!/bin/sh\necho "$SYSTEMD_OFFLINE $@"\n', 0o755)
    with place.enter() as root:
        assert shell(root, "systemctl enable a.service") == "1 --root=/ enable a.service"
        assert shell(root, "systemctl -q enable --now 'a b'") == "1 --root=/ -q enable a b"
        assert shell(root, "systemctl --version") == "1 --root=/ --version"


def test_a_link_to_a_program_is_stood_in_for_too(place: Place) -> None:
    place.put("usr/sbin/initctl", MARK, 0o755)
    (place.over / "usr/sbin/start").symlink_to("initctl")
    with place.enter() as root:
        assert "start x: not done" in shell(root, "start x")
    assert place.changed() == []


def test_init_scripts_start_no_daemon(place: Place) -> None:
    place.put("usr/sbin/a-daemon", MARK, 0o755)
    script = "#!/bin/sh\n. /etc/rc.d/init.d/functions\ndaemon a-daemon; killproc a-daemon\n"
    place.put("etc/rc.d/init.d/a-daemon", script, 0o755)
    with place.enter() as root:
        said = shell(root, "/etc/init.d/a-daemon go")
        assert "daemon a-daemon: not done" in said and "killproc a-daemon: not done" in said
    assert place.changed() == []


def test_chkconfig_still_changes_links(place: Place) -> None:
    script = "#!/bin/sh\n# chkconfig: 345 90 10\n# description: x\n"
    place.put("etc/rc.d/init.d/x", script, 0o755)
    with place.enter() as root:
        root.run(["chkconfig", "--add", "x"])
    assert any(name.startswith("etc/rc.d/rc3.d/S") for name in place.changed())


def test_a_rename_over_a_stand_in_lands_in_the_layer(place: Place) -> None:
    with place.enter() as root:
        root.run(["/bin/sh", "-c", "echo new > /usr/bin/.new && mv /usr/bin/.new /bin/uname"])
    assert place.changed() == ["usr/bin/uname"]
    assert (place.upper / "usr/bin/uname").read_text() == "new\n"


def attributes(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    names = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    return status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, names


def test_directories_keep_their_attributes(place: Place) -> None:
    folder = place.over / "usr/sbin"
    place.put("usr/sbin/telinit", MARK, 0o755)
    os.setxattr(folder, "user.mark", b"1")
    os.chown(folder, 7, 8)
    folder.chmod(0o2751)
    os.utime(folder, ns=(1, 1_300_000_000_123_456_789))
    with place.enter() as root:
        assert root.call(attributes, Path("/usr/sbin")) == attributes(folder)
        assert root.call(attributes, Path("/usr/bin")) == attributes(place.base / "usr/bin")
        assert root.call(attributes, Path("/etc")) == attributes(place.base / "etc")
        kind = root.call(os.lstat, "/bin/uname")
        origin = (place.base / "usr/bin/uname").lstat()
        assert (kind.st_mode, kind.st_uid, kind.st_mtime) == (origin.st_mode, 0, origin.st_mtime)


def test_a_kernel_with_a_name_of_shell_text_is_no_kernel(place: Place) -> None:
    (place.over / "lib/modules").mkdir(parents=True)
    for name in ("9';touch x;'", "9 9"):
        (place.over / f"usr/lib/modules/{name}/kernel").mkdir(parents=True)
    (place.over / "lib/modules").rmdir()
    (place.over / "lib").rmdir()
    with place.enter() as root:
        assert shell(root, "uname -r") == KERNEL


def commit(store: Store, base: str, text: str) -> Layer:
    """Run ``text`` in a stage on ``base`` and commit it."""
    with store.begin([base]) as work:
        spec = RootSpec((store.layer_tree(base),), upper=work.upper, work=work.work, network=True)
        with enter(spec) as root:
            root.run(["/bin/sh", "-ec", text])
            shims = root.shims
        draft = Draft(
            key=hashlib.sha256(text.encode()).hexdigest(),
            image="x",
            stage="x",
            type="command",
            notes=(),
            added=(),
            removed=(),
            kernel=None,
            basis={},
        )
        return store.commit(work, draft, epoch=1_400_000_000, shims=shims)


def test_what_is_copied_up_from_the_stand_ins_is_put_back(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for folder in ("usr/bin", "etc/init.d", "lib/modules/2.6.32-9.el6.x86_64/kernel", "bin", "sbin"):
        (tree / folder).mkdir(parents=True)
    real = "#!/bin/sh\necho the real one\n"
    for path in ("usr/bin/uname", "sbin/service"):
        (tree / path).write_text(real)
        (tree / path).chmod(0o755)
    (tree / "etc/init.d/functions").write_text("status() { :; }\n")
    _static_shell(tree)
    store = Store.open(tmp_path / "store")
    base = import_base(store, "tree", tree, ignore).layer
    layer = commit(
        store,
        base,
        "chown -R 3:4 /usr/bin /etc; chmod 700 /sbin/service; chmod 600 /etc/resolv.conf",
    )
    left = store.layer_tree(layer.key[:20])
    assert (left / "usr/bin/uname").read_text() == real
    status = (left / "usr/bin/uname").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (3, 4, 0o755)
    assert (left / "sbin/service").read_text() == real
    assert stat.S_IMODE((left / "sbin/service").stat().st_mode) == 0o700
    assert (left / "etc/init.d/functions").read_text() == "status() { :; }\n"
    assert not (left / "etc/resolv.conf").exists()


def _static_shell(tree: Path) -> None:
    """Put this machine's own shell, chown and chmod, with their libraries, into ``tree``."""
    for program in ("/bin/sh", "/bin/chown", "/bin/chmod", "/bin/cat"):
        said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        libraries = [word for word in said.split() if word.startswith("/")]
        for path in (program, *libraries):
            target = tree / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(Path(path).read_bytes())
            target.chmod(0o755)


def test_programs_for_modules_look_at_the_images_kernel(place: Place) -> None:
    with place.enter() as root:
        assert shell(root, "modinfo -F vermagic mlx4_core").startswith(f"{KERNEL} ")
        assert shell(root, "modinfo -F filename mlx4_core").startswith(f"/lib/modules/{KERNEL}/")
        assert f"/lib/modules/{KERNEL}/" in shell(root, "modprobe --show-depends mlx4_en")
        shell(root, f"rm /lib/modules/{KERNEL}/modules.dep")
        assert shell(root, "depmod -a && echo done") == "done"
        assert shell(root, f"test -s /lib/modules/{KERNEL}/modules.dep && ls /lib/modules") == KERNEL


def test_a_release_that_is_given_is_the_one_that_counts(place: Place) -> None:
    place.put("usr/lib/modules/9.9-other/kernel/x", "")
    with place.enter(kernel=KERNEL) as root:
        assert shell(root, "depmod -a 9.9-other 2>&-; ls /lib/modules/9.9-other/modules.dep") == (
            "/lib/modules/9.9-other/modules.dep"
        )
        assert "not found" in shell(root, "modinfo -k 9.9-other mlx4_core")
        assert "9.9-other" in shell(root, "modprobe -S 9.9-other --show-depends mlx4_en")


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ("-a", f"{KERNEL} -a"),
        ("", KERNEL),
        ("-b '/a b' -ae", f"{KERNEL} -b /a b -ae"),
        ("-a 3.10.0-1", "-a 3.10.0-1"),
        ("-b /x 3.10.0-1 -F /boot/System.map-3", "-b /x 3.10.0-1 -F /boot/System.map-3"),
        ("/x/y.ko", f"{KERNEL} /x/y.ko"),
    ],
)
def test_depmod_gets_a_release_when_it_is_given_none(place: Place, given: str, passed: str) -> None:
    (place.over / "usr/sbin").mkdir(parents=True)
    place.put("usr/sbin/depmod", '#!/bin/sh\necho "${0##*/}: $@"\n', 0o755)
    with place.enter() as root:
        assert shell(root, f"depmod {given}") == f"depmod: {passed}"


def test_programs_that_are_copied_into_a_ramdisk_are_the_images_own(place: Place) -> None:
    """dracut copies modprobe, rmmod and kmod as it finds them; a node boots with what it has copied."""
    with place.enter() as root:
        for name in ("/sbin/modprobe", "/sbin/rmmod", "/bin/kmod"):
            assert shell(root, f"head -c 4 {name} | tail -c 3") == "ELF", name


def test_without_a_kernel_nothing_names_this_machines(place: Place, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for folder in ("usr/bin", "sbin", "bin"):
        (tree / folder).mkdir(parents=True)
    _static_shell(tree)
    for name in ("depmod", "modinfo", "uname"):
        (tree / "sbin" / name).write_text('#!/bin/sh\necho "own $@ $MODPROBE_OPTIONS"\n')
        (tree / "sbin" / name).chmod(0o755)
    with enter(RootSpec((tree,))) as root:
        assert root.kernel is None
        assert shell(root, "uname -r") == "0.0.0-none"
        assert shell(root, "cat /proc/sys/kernel/osrelease") == "0.0.0-none"
        assert shell(root, "cat /proc/version") == "Linux version 0.0.0-none (image) #1 SMP"
        assert shell(root, "depmod -x") == "own 0.0.0-none -x -S 0.0.0-none"
        assert shell(root, "modinfo -x") == "own -k 0.0.0-none -x -S 0.0.0-none"
        said = shell(root, "uname -a; cat /proc/version /proc/sys/kernel/osrelease")
        assert os.uname().release not in said and os.uname().version not in said


def test_busybox_is_not_replaced_by_what_stands_in_for_one_of_its_programs(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    _static_shell(tree)
    (tree / "bin/busybox").write_text("#!/bin/sh\necho own\n")
    (tree / "bin/busybox").chmod(0o755)
    for name in ("uname", "ls"):
        (tree / "bin" / name).symlink_to("busybox")
    with enter(RootSpec((tree,))) as root:
        assert shell(root, "uname -r") == "0.0.0-none"
        assert shell(root, "ls") == shell(root, "busybox") == "own"


def test_a_link_that_is_stood_in_for_is_the_link_again_in_the_layer(
    tmp_path: Path, lab_images: Mapping[str, Path]
) -> None:
    store = Store.open(tmp_path / "store")
    base = import_base(store, "base", lab_images["openstack-image"], ignore).layer
    layer = commit(store, base, "chmod 700 /sbin/depmod; chown 3 /sbin/modinfo")
    left = store.layer_tree(layer.key[:20])
    assert [path for path in ("depmod", "modinfo") if os.path.lexists(left / "usr/sbin" / path)] == []
