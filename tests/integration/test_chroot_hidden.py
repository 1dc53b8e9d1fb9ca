"""What a stage does not see of this machine, and what it cannot do to it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.chroot.enter import EnteredRoot
from pipeline.chroot.mounts import HIDDEN_IN_PROC
from tests.integration.chroot_roots import KERNEL, Place, shell

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")


@pytest.fixture
def place(tmp_path: Path, lab_images: Mapping[str, Path]) -> Place:
    return Place(lab_images["openstack-image"], tmp_path)


def test_the_hosts_hca_is_hidden_in_a_tree_like_sysfs(tmp_path: Path) -> None:
    card = tmp_path / "devices/pci0000:00/0000:04:00.0"
    (card / "infiniband/mlx4_0").mkdir(parents=True)
    (card / "vendor").write_text("0x15b3\n")
    for folder, name, target in (
        ("bus/pci/devices", "0000:04:00.0", card),
        ("class/infiniband", "mlx4_0", card / "infiniband/mlx4_0"),
        ("class/infiniband_mad", "umad0", card),
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).symlink_to(os.path.relpath(target, tmp_path / folder))
    (tmp_path / "module/mlx4_core").mkdir(parents=True)
    (tmp_path / "module/mlx4_core/version").write_text("2.3\n")
    (tmp_path / "class/net").mkdir()
    script = (
        "import sys, os; from pipeline.chroot import mounts, syscalls as s\n"
        "s.unshare(s.CLONE_NEWNS); s.mount('none', '/', flags=s.MS_REC | s.MS_PRIVATE)\n"
        "mounts.hide(sys.argv[1], mounts.HIDDEN_IN_SYS)\n"
        "for folder, _, files in os.walk(sys.argv[1]): print(*files, sep='\\n', end='')\n"
        "print(sorted(os.listdir(sys.argv[1] + '/class')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "['infiniband', 'infiniband_mad', 'net']\n"
    assert (card / "vendor").read_text() == "0x15b3\n"


def test_no_device_of_the_host_shows(place: Place) -> None:
    with place.enter() as root:
        for folder in ("/sys/bus/pci", "/sys/class/pci_bus", "/sys/firmware", "/proc/bus/pci"):
            assert shell(root, f"ls {folder} 2>/dev/null") == ""
        assert shell(root, "ls -d /sys/devices/pci*/* /sys/class/infiniband*/* 2>/dev/null") == ""
        assert shell(root, "cat /proc/modules 2>/dev/null") == ""
        expected = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
        assert shell(root, "ls /dev").split() == expected.split()


def test_a_device_node_that_a_stage_makes_cannot_be_opened(place: Place) -> None:
    out = place.home / "out"
    out.mkdir()
    with place.enter(out=out) as root:
        for folder in ("/root", "/tmp", "/run", "/dev", "/dev/shm", "/run/pipeline/out"):
            said = shell(root, f"mknod {folder}/node c 1 5 && head -c 1 {folder}/node")
            assert "Permission denied" in said, folder


def test_the_hosts_null_device_and_what_it_covers_keep_their_mode(place: Place) -> None:
    before = stat.S_IMODE(os.stat("/dev/null").st_mode)
    try:
        with place.enter() as root:
            covered = [f"/proc/{name}" for name in HIDDEN_IN_PROC if Path("/proc", name).is_file()]
            assert covered
            for path in ("/dev/null", "/dev/zero", *covered):
                assert "Read-only file system" in shell(root, f"chmod 600 {path}")
            assert shell(root, "echo x > /dev/null; chown 7 /dev/null 2>&-; stat -c %u /dev/null") == "0"
        assert stat.S_IMODE(os.stat("/dev/null").st_mode) == before
    finally:
        os.chmod("/dev/null", before)


@pytest.mark.parametrize("name", ["kernel/hostname", "vm/drop_caches", "kernel/core_pattern"])
def test_the_hosts_settings_cannot_be_written(place: Place, name: str) -> None:
    with place.enter() as root:
        assert "Read-only file system" in shell(root, f"echo 1 > /proc/sys/{name}")


def test_dangerous_capabilities_are_gone_and_none_is_inheritable(place: Place) -> None:
    with place.enter() as root:
        status = dict(line.split(":\t") for line in shell(root, "grep ^Cap /proc/self/status").splitlines())
    assert int(status["CapInh"], 16) == 0
    # DAC_READ_SEARCH NET_ADMIN SYS_MODULE SYS_RAWIO SYS_PTRACE SYS_ADMIN SYS_BOOT SYS_TIME
    for number in (2, 12, 16, 17, 19, 21, 22, 25):
        assert not int(status["CapBnd"], 16) & 1 << number
        assert not int(status["CapEff"], 16) & 1 << number


@pytest.mark.parametrize(
    "text",
    [
        "mount -t tmpfs none /mnt",
        "umount /sys/firmware",
        "umount -l /proc/timer_list",
        "mount -o remount,rw /sys",
        "mount -t sysfs none /mnt",
        "unshare -m true",
        "hostname other",
        "chroot / umount -l /sys/firmware",
    ],
)
def test_a_stage_cannot_change_what_is_mounted(place: Place, text: str) -> None:
    with place.enter() as root:
        said = root.run(["/bin/sh", "-c", text], exit_codes=())
        assert said.exit_code != 0
        assert any(word in said.text for word in ("ermitted", "ermission denied", "superuser", "must be"))
        assert shell(root, "ls /sys/firmware; hostname") == "image"


@pytest.mark.parametrize(
    "text",
    ["umount /sys/firmware", "mount -t sysfs none /mnt", "umount /sys", "mount -t proc none /mnt"],
)
def test_a_user_namespace_uncovers_nothing(place: Place, text: str) -> None:
    with place.enter() as root:
        if root.run(["unshare", "-Urm", "true"], exit_codes=()).exit_code:
            pytest.skip("no user namespaces here, or no unshare in the image")
        assert root.run(["unshare", "-Urmpf", "sh", "-c", text], exit_codes=()).exit_code != 0


def test_the_first_process_lets_nobody_look_out_through_it(place: Place) -> None:
    open_here = os.open(place.home, os.O_RDONLY)
    os.set_inheritable(open_here, True)
    try:
        with place.enter() as root:
            assert shell(root, "stat -L /proc/1/fd/* /proc/1/cwd/etc 2>/dev/null") == ""
            assert shell(root, "readlink /proc/1/fd/* /proc/1/root /proc/1/exe") == ""
            assert shell(root, "cat /proc/1/mem 2>&1 >/dev/null").endswith("Permission denied")
            assert root.call(open_directories) == []
            assert shell(root, "ls /proc/self/fd").split() == ["0", "1", "2", "3"]
    finally:
        os.close(open_here)


def open_directories() -> list[str]:
    """What else but itself PID 1 has open: nothing of a file system."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return [path for path in found if path.startswith("/") and path != "/dev/null"]


def test_there_is_no_network_but_loopback_unless_it_is_asked_for(place: Place) -> None:
    with place.enter() as root:
        assert shell(root, "grep -c : /proc/net/dev") == "1"
        assert shell(root, "ls /sys/class/net") == "lo"
    with place.enter(network=True) as root:
        here = Path("/proc/net/dev").read_text().count(":")
        assert int(shell(root, "grep -c : /proc/net/dev")) == here


@pytest.mark.parametrize(
    "target",
    [None, "file", "/run/systemd/resolve/stub-resolv.conf", "../run/resolvconf/resolv.conf", "/mnt/a/b"],
)
def test_names_are_resolved_like_this_machine_does_and_nothing_of_it_stays(
    place: Place, target: str | None
) -> None:
    (place.over / "etc").mkdir()
    resolver = place.over / "etc/resolv.conf"
    if target == "file":
        resolver.write_text("nameserver 192.0.2.1\n")
    elif target:
        resolver.symlink_to(target)
    here = Path("/etc/resolv.conf").read_bytes()
    with place.enter(network=True) as root:
        assert root.run(["cat", "/etc/resolv.conf"]).stdout == here
    assert place.changed() == []
    with place.enter() as root:
        assert root.run(["cat", "/etc/resolv.conf"], exit_codes=()).stdout != here


def test_links_of_the_image_to_the_host_stay_inside(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "host"
    outside.mkdir()
    (place.over / "etc").mkdir()
    (place.over / "etc/x").symlink_to(outside)
    (place.over / "var").mkdir()
    (place.over / "var/tmp").symlink_to(outside)
    with place.enter() as root:
        root.run(["mkdir", "-p", str(outside)])
        root.call(write, "/etc/x/file")
        root.run(["sh", "-c", "echo 1 > /var/tmp/other"])
    assert os.listdir(outside) == []
    # The image's own directory of that name took both (in /tmp nothing of it stays). Nothing else is written.
    made = [name for name in place.changed() if not Path("/", name).is_relative_to(outside)]
    assert made == []


def write(path: str) -> None:
    """Write a file; to be called in a root."""
    with open(path, "w") as file:
        file.write("x")


def test_inputs_are_read_only_and_the_way_out_is_not(place: Place) -> None:
    (source := place.home / "source").mkdir()
    (source / "a").write_text("a")
    (out := place.home / "out").mkdir()
    with place.enter(binds={"source": source}, out=out) as root:
        assert "Read-only" in shell(root, "echo b > /run/pipeline/inputs/source/a")
        root.run(["cp", "/run/pipeline/inputs/source/a", "/run/pipeline/out/"])
    assert (out / "a").read_text() == "a" and (source / "a").read_text() == "a"


def test_a_machine_that_cannot_make_a_root_says_so(place: Place) -> None:
    from pipeline.errors import MachineError

    shutil.rmtree(place.home / "work")
    (place.home / "work").write_text("")
    with pytest.raises(MachineError, match=r"could not make a chroot.*mount overlay"), place.enter():
        pass


def test_the_kernel_is_the_images(place: Place) -> None:
    with place.enter() as root:
        assert root.kernel == KERNEL
        assert shell(root, "cat /proc/sys/kernel/osrelease") == KERNEL
        assert shell(root, "cat /proc/version").startswith(f"Linux version {KERNEL} ")


def test_this_processs_capabilities_are_untouched(place: Place) -> None:
    before = Path("/proc/self/status").read_text()
    with place.enter():
        pass
    after = Path("/proc/self/status").read_text()
    assert [line for line in before.splitlines() if line.startswith(("Cap", "SigBlk"))] == [
        line for line in after.splitlines() if line.startswith(("Cap", "SigBlk"))
    ]


def capabilities(root: EnteredRoot) -> int:
    return int(shell(root, "sed -n 's/^CapBnd://p' /proc/self/status"), 16)


def test_what_has_the_machines_network_makes_no_packets_of_its_own(place: Place) -> None:
    net_raw = 1 << 13
    with place.enter() as root:
        alone = capabilities(root)
    with place.enter(network=True) as root:
        shared = capabilities(root)
    assert alone & net_raw and shared == alone & ~net_raw
