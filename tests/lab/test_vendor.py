"""The vendor's packages: their contents, and what they do in the base image.

The image is a chroot on an overlay of ``openstack-image``, in namespaces of its own without network, with an
empty /sys: nothing that a script does there reaches this machine.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.errors import MachineError, PipelineError
from pipeline.lab.ofed import KERNEL, NAME
from pipeline.lab.vendor import DNSMASQ, ICEHOUSE, OFED, PREFIXES, RDO, ensure_vendor

MISSING_HCA = ["Attempting to perform Firmware update...", "Failed to update Firmware."]
SITE = "/usr/lib/python3/dist-packages"


def silent(line: str) -> None:
    """Nobody reads the progress here."""


def rpm(package: Path, *query: str) -> str:
    done = subprocess.run(
        ["rpm", "-qp", "--nosignature", *query, str(package)], capture_output=True, text=True, check=True
    )
    return done.stdout


def files(package: Path) -> dict[str, str]:
    """Path -> mode, owner, group and flags of a package's file."""
    lines = rpm(package, "--qf", r"[%{FILENAMES}\t%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME}\n]")
    return dict(line.split("\t") for line in lines.splitlines())


# -- what is in the packages


def test_the_repositories_hold_the_packages_that_the_procedure_installs(lab_mirror: Path) -> None:
    assert sorted(path.name for path in (lab_mirror / ICEHOUSE).glob("*.rpm")) == [
        "eswitchd-0.10-1.noarch.rpm",
        "mlnx-dnsmasq-2014.1.1-1.noarch.rpm",
        "mlnxvif-2014.1.1-1.noarch.rpm",
    ]
    assert [path.name for path in (lab_mirror / RDO).glob("*.rpm")] == [
        "openstack-neutron-mellanox-2014.1.3-1.el6.noarch.rpm"
    ]
    assert [path.name for path in (lab_mirror / DNSMASQ).iterdir()] == ["dnsmasq-2.66-3.1.x86_64.rpm"]
    for repository in (ICEHOUSE, RDO):
        assert (lab_mirror / repository / "repodata/repomd.xml").is_file()


def test_every_file_of_the_mirror_lies_below_a_prefix_that_it_answers(lab_mirror: Path) -> None:
    for path in lab_mirror.resolve().rglob("*"):
        url = str(path.relative_to(lab_mirror.resolve())).replace("/", "://", 1)
        assert path.is_dir() or url.startswith(PREFIXES), url


def test_the_repository_file_is_the_icehouse_twin_of_the_public_havana_one(lab_mirror: Path) -> None:
    text = (lab_mirror / ICEHOUSE / "mlnx-icehouse.repo").read_text()
    base = "http://www.mellanox.com/downloads/solutions/openstack/icehouse/repo/mlnx-icehouse"
    assert f"baseurl={base}\n" in text
    assert "name=Mellanox Openstack\ngpgcheck=0\nenabled=1\n" in text.replace(f"baseurl={base}\n", "")
    assert "epel-6/\n" in (lab_mirror / RDO / "rdo-icehouse.repo").read_text()


def test_eswitchd_owns_its_directories_programs_and_account(lab_mirror: Path) -> None:
    package = lab_mirror / ICEHOUSE / "eswitchd-0.10-1.noarch.rpm"
    found = files(package)
    assert found["/usr/bin/ebrctl"] == "-rwxr--r-- root root"
    assert found["/etc/sudoers.d/eswitchd"] == "-r--r----- root root"
    for folder in ("/var/log/eswitchd", "/var/run/eswitchd"):
        assert found[folder] == "drwxr-xr-x eswitch eswitch"
    assert "/usr/bin/eswitch-rootwrap" in found
    scripts = rpm(package, "--scripts")
    assert "useradd -r -g eswitch -d /var/lib/eswitch -s /bin/false eswitch" in scripts
    assert "chkconfig --add eswitchd\nchkconfig eswitchd on" in scripts


def test_the_agents_configuration_is_all_comments_and_for_neutron_only(lab_mirror: Path) -> None:
    package = next((lab_mirror / RDO).glob("*.rpm"))
    assert files(package)["/etc/neutron/plugins/mlnx/mlnx_conf.ini"] == "-rw-r----- root neutron"
    assert "/etc/neutron/plugins/mlnx/mlnx_conf.ini" in rpm(package, "--configfiles")
    post = re.search(r"postinstall.*?\n(.*?)\npreuninstall", rpm(package, "--scripts"), re.DOTALL)
    assert post is not None
    commands = [line.strip() for line in post[1].splitlines() if "chkconfig" in line]
    assert commands == ["/sbin/chkconfig --add neutron-mlnx-agent"]


def test_the_same_sources_give_the_same_bytes_wherever_they_are_built(
    lab_mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    again = ensure_vendor(Path("another home"), silent)
    for path in lab_mirror.resolve().rglob("*"):
        if path.is_file():
            other = again / path.relative_to(lab_mirror.resolve())
            assert (
                hashlib.sha256(other.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest()
            ), path


# -- building it


def build_until_first_note(home: Path) -> None:
    def stop(line: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    ensure_vendor(home, stop)


def build_and_count(home: Path, notes: multiprocessing.Queue[str]) -> None:
    ensure_vendor(home, notes.put)


def test_a_build_killed_in_the_middle_is_done_again_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # rpmbuild's own work, which nobody clears after a SIGKILL
    killed = multiprocessing.get_context("spawn").Process(target=build_until_first_note, args=(home,))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert not (home / "mirror").exists()
    assert (ensure_vendor(home, silent) / OFED / f"{NAME}.tgz").is_file()
    assert {path.name for path in home.iterdir()} == {
        "mirror",
        "vendor.lock",
        str((home / "mirror").readlink()),
    }


def test_two_processes_at_once_build_once_and_a_later_call_does_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    notes: multiprocessing.Queue[str] = context.Queue()
    both = [context.Process(target=build_and_count, args=(tmp_path, notes)) for _ in range(2)]
    for process in both:
        process.start()
    said = [notes.get(timeout=120)]
    while said[-1] != "lab: the vendor is ready":
        said.append(notes.get(timeout=120))
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    ensure_vendor(tmp_path, notes.put)
    assert notes.empty()
    assert said.count("lab: packing MLNX_OFED") == 1


def test_programs_that_the_machine_lacks_are_told_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError) as raised:
        ensure_vendor(tmp_path / "home", silent)
    assert len(raised.value.problems) == 2
    assert "createrepo-c" in str(raised.value) and "rpm-build" in str(raised.value)


def test_a_home_that_cannot_be_written_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PipelineError, match="/file/home: the lab"):
        ensure_vendor(tmp_path / "file/home", silent)


# -- the release of OFED


def test_the_archive_holds_the_tree_of_the_release(lab_mirror: Path) -> None:
    with tarfile.open(lab_mirror / OFED / f"{NAME}.tgz") as tar:
        names = {name.removeprefix(f"{NAME}/") for name in tar.getnames() if name.startswith(f"{NAME}/")}
    top = {name.split("/")[0] for name in names}
    assert top == {
        *(".arch", ".mlnx", "distro", ".supported_kernels", "LICENSE", "RPM-GPG-KEY-Mellanox", "docs", "src"),
        *("create_mlnx_ofed_installers.pl", "mlnx_add_kernel_support.sh", "mlnxofedinstall", "uninstall.sh"),
        *("RPMS", "firmware"),
    }
    assert "src/MLNX_OFED_SRC-2.3-1.0.1.tgz" in names
    assert len([name for name in names if name.endswith(".rpm")]) >= 20


# -- in the image


SESSION = """\
set -e
image=$1; work=$2; release=$3; pci=$4; shift 4
mount -t overlay -o "lowerdir=$image,upperdir=$work/upper,workdir=$work/work" overlay "$work/root"
cd "$work/root"
mount -t tmpfs tmpfs dev
for node in null zero urandom; do touch dev/$node; mount --bind /dev/$node dev/$node; done
ln -s /proc/self/fd dev/fd
mount -t proc proc proc
mount -t tmpfs tmpfs sys
if [ -n "$pci" ]; then mkdir -p sys/bus; cp -r "$pci" sys/bus/pci; fi
mount -t tmpfs tmpfs run
if [ -n "$release" ]; then
    printf '#!/bin/sh\\ncase "$1" in -r) echo %s;; *) echo x86_64;; esac\\n' "$release" >run/uname
    chmod 755 run/uname
    mount --bind run/uname bin/uname
fi
ip link set lo up
export PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root LANG=C PYTHONDONTWRITEBYTECODE=1
exec chroot . "$@"
"""


@dataclass(frozen=True)
class Image:
    """A throwaway copy of the base image: what its programs change stays in ``work``."""

    base: Path
    work: Path

    def run(
        self, command: str, *, uname: str = KERNEL, pci: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command in it; ``uname`` is what ``uname -r`` says, empty for the host's kernel."""
        spaces = ["unshare", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child"]
        inputs = [str(self.base), str(self.work), uname, str(pci or "")]
        return subprocess.run(
            [*spaces, "sh", "-c", SESSION, "sh", *inputs, "bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def check(self, command: str) -> str:
        """The output of a command that has to succeed."""
        done = self.run(command)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def put(self, source: Path, target: str) -> None:
        path = self.work / "upper" / target
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, path)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    """Where overlayfs keeps what a test changes in an image."""
    work = tmp_path / "image"
    for name in ("upper/opt", "work", "root"):
        (work / name).mkdir(parents=True)
    yield work
    shutil.rmtree(work)


@pytest.fixture
def image(lab_images: dict[str, Path], work: Path) -> Image:
    return Image(lab_images["openstack-image"], work)


def unpack(lab_mirror: Path, image: Image) -> Image:
    """Unpack the release in the image's /opt."""
    with tarfile.open(lab_mirror / OFED / f"{NAME}.tgz") as tar:
        tar.extractall(image.work / "upper/opt")
    return image


@pytest.fixture
def ofed(image: Image, lab_mirror: Path) -> Image:
    return unpack(lab_mirror, image)


INSTALL = f"cd /opt/{NAME} && "


@pytest.fixture
def cleared(ofed: Image) -> Image:
    """The same, without the package that is in the installer's way."""
    ofed.check("rpm -e cm-config-intelcompliance-slave")
    return ofed


def test_the_installer_refuses_while_another_package_needs_what_it_would_remove(ofed: Image) -> None:
    done = ofed.run(INSTALL + "echo y | ./mlnxofedinstall")
    assert done.returncode == 174
    assert "Error: One or more packages depends on MLNX_OFED." in done.stdout
    assert "\ncm-config-intelcompliance-slave\n" in done.stdout
    log = ofed.check("cat /tmp/MLNX_OFED_LINUX-2.3-1.0.1.*.logs/ofed_uninstall.log")
    assert "cm-config-intelcompliance-slave" in log
    assert ofed.check("rpm -q rdma libibverbs")


def test_qlogics_own_stack_is_in_the_way_as_well(
    lab_images: dict[str, Path], work: Path, lab_mirror: Path
) -> None:
    image = unpack(lab_mirror, Image(lab_images["virtual-node-image"], work))
    image.check("rpm -e cm-config-intelcompliance-slave")
    done = image.run(INSTALL + "echo y | ./mlnxofedinstall")
    assert (done.returncode, "\nqlgc-ofed\n" in done.stdout) == (174, True), done.stdout
    image.check("rpm -e qlgc-ofed")
    assert "Installation finished" in image.check(INSTALL + "echo y | ./mlnxofedinstall")


def test_forced_the_installer_removes_what_others_need(ofed: Image) -> None:
    ofed.check(INSTALL + "./mlnxofedinstall --force")
    assert ofed.check("ofed_info -s; rpm -q cm-config-intelcompliance-slave")


def test_the_installer_installs_and_exits_0_though_the_firmware_update_failed(cleared: Image) -> None:
    done = cleared.run(INSTALL + "echo y | ./mlnxofedinstall")
    assert done.returncode == 0, done.stdout
    texts = [
        "Do you want to continue?[y/N]:",
        "Uninstalling the previous version of MLNX_OFED_LINUX",
        "Starting MLNX_OFED_LINUX-2.3-1.0.1 installation ...",
        "Installing mlnx-ofa_kernel 2.3 RPM",
        "Installing kmod-mlnx-ofa_kernel 2.3 RPM",
        "Installing user level RPMs:",
        "Installation finished successfully.",
        *MISSING_HCA,
        "/fw_update.log",
        "To load the new driver, run:\n/etc/init.d/openibd restart",
    ]
    places = [done.stdout.find(text) for text in texts]
    assert -1 not in places and places == sorted(places), done.stdout
    assert "stty" in done.stdout

    assert cleared.check("ofed_info -s") == "MLNX_OFED_LINUX-2.3-1.0.1:\n"
    assert cleared.check("rpm -q kmod-mlnx-ofa_kernel opensm").startswith(
        "kmod-mlnx-ofa_kernel-2.3-OFED.2.3.1.0.1.1.g"
    )
    assert "\nkmod-srp:\nkmod-srp-1.3.3-" in cleared.check("ofed_info")
    assert len(cleared.check("ofed_info -l").splitlines()) == 28
    assert "libmlx4.so.1 (libc6,x86-64) => /usr/lib64/libmlx4.so.1" in cleared.check("ldconfig -p")
    cleared.check("python3 -c 'import ctypes; ctypes.CDLL(\"libibverbs.so.1\")'")
    assert cleared.run("rpm -q rdma").returncode == 1
    dependencies = cleared.check(f"cat /lib/modules/{KERNEL}/modules.dep")
    assert re.search(r"^extra/\S+/mlx4_ib\.ko: .*extra/\S+/mlx4_core\.ko", dependencies, re.MULTILINE)
    assert re.search(r"^extra/\S+/eth_ipoib\.ko: .*extra/\S+/ib_ipoib\.ko", dependencies, re.MULTILINE)
    assert not re.search(r"^kernel/\S+/mlx4_", dependencies, re.MULTILINE), (
        "the kernel's own driver is hidden"
    )
    assert "parm:           num_vfs:" in cleared.check(f"modinfo -k {KERNEL} mlx4_core")
    limits = cleared.check("cat /etc/security/limits.conf")
    assert "* soft memlock unlimited\n* hard memlock unlimited\n" in limits
    assert "3:off" in cleared.check("chkconfig --list opensmd")
    settings = cleared.check("cat /etc/infiniband/openib.conf").splitlines()
    assert {"ONBOOT=yes", "E_IPOIB_LOAD=no", "RUN_SYSCTL=yes", "MLX4_VNIC_LOAD=no"} <= set(settings)
    keys = [line.partition("=")[0] for line in settings if "=" in line]
    assert sorted(keys) == sorted(set(keys))
    assert cleared.check("ls /tmp/MLNX_OFED_LINUX.*.logs").split() == ["fw_update.log", "general.log"]


def test_a_second_installation_replaces_the_first(cleared: Image) -> None:
    cleared.check(INSTALL + "./mlnxofedinstall --force --without-fw-update")
    again = cleared.check(INSTALL + "./mlnxofedinstall --force --without-fw-update")
    assert "Installation finished successfully." in again and "Firmware" not in again
    assert cleared.check("rpm -qa | grep -c ^mlnx-ofa_kernel-2") == "1\n"
    assert cleared.check("grep -c memlock.unlimited /etc/security/limits.conf") == "2\n"
    assert cleared.check("grep -c ^E_IPOIB_LOAD /etc/infiniband/openib.conf") == "1\n"


def test_with_the_hosts_kernel_there_are_no_drivers(cleared: Image) -> None:
    done = cleared.run(INSTALL + "./mlnxofedinstall --force", uname="")
    assert done.returncode == 1
    assert "does not have drivers available for this kernel" in done.stdout
    assert "mlnx_add_kernel_support.sh" in done.stdout
    named = cleared.run(INSTALL + f"./mlnxofedinstall --force -k {KERNEL}", uname="")
    assert named.returncode == 0
    dependencies = cleared.check(f"cat /lib/modules/{KERNEL}/modules.dep")
    assert "extra/" not in dependencies, "depmod ran for the host's kernel"


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        ("./mlnxofedinstall --add-kernel-support --force", 22, "Usage:"),
        ("echo n | ./mlnxofedinstall", 1, "[y/N]:"),
        ("./mlnxofedinstall </dev/null", 1, "[y/N]:"),
        ("printf 'ny' | ./mlnxofedinstall", 1, "[y/N]:"),
        ("./mlnxofedinstall --fw-update-only", 171, MISSING_HCA[1]),
        ("./mlnxofedinstall --distro rhel6.6 --force", 172, "is intended for rhel6.5"),
        ("rm .mlnx; ./mlnxofedinstall --force", 172, ".mlnx"),
        ("echo i386 >.arch; ./mlnxofedinstall --force", 172, "i386"),
        ("rpm -e --nodeps tcl; ./mlnxofedinstall --force", 172, "yum install tcl"),
        ("rm RPMS/mft-*; ./mlnxofedinstall --force", 1, "No RPM for: mft"),
        ("./mlnxofedinstall --config /nowhere --force", 1, "/nowhere"),
        ("su -s /bin/sh nobody -c ./mlnxofedinstall", 172, "root"),
        ("./mlnxofedinstall --help", 0, "--enable-sriov"),
        ("./mlnxofedinstall -p --basic", 0, "libibverbs"),
        ("mkdir /l; ./create_mlnx_ofed_installers.pl /l && cat /l/mlnx_ofed-hpc.conf", 0, "perftest=y"),
    ],
)
def test_the_installer_ends_with_the_exit_code_of_what_is_wrong(
    cleared: Image, command: str, code: int, text: str
) -> None:
    done = cleared.run(INSTALL + command)
    assert (done.returncode, text in done.stdout) == (code, True), done.stdout
    assert cleared.run("rpm -q ofed-scripts").returncode == 1


def test_the_distribution_is_who_owns_etc_issue(cleared: Image) -> None:
    done = cleared.run(
        "rpm -e --nodeps --justdb centos-release && cd /opt/MLNX* && ./mlnxofedinstall --force"
    )
    assert done.returncode == 172
    assert "Error: The current MLNX_OFED_LINUX is intended for rhel6.5" in done.stdout
    skipped = cleared.run(INSTALL + "./mlnxofedinstall --force --skip-distro-check")
    assert skipped.returncode == 0


@pytest.mark.parametrize(
    ("device", "options", "code", "text"),
    [
        ("0x1003", "--force", 0, "FLASHED 0000:05:00.0 0x1003 2.32.5100"),
        ("0x1003", "--force --without-fw-update", 0, "Device (05:00.0):"),
        ("0x1017", "--fw-update-only", 2, "Failed to update Firmware."),
        ("0x1017", "--force", 0, "Failed to update Firmware."),
    ],
)
def test_an_adapter_that_can_be_seen_is_told_and_would_be_burnt(
    cleared: Image, tmp_path: Path, device: str, options: str, code: int, text: str
) -> None:
    adapter = tmp_path / "pci/devices/0000:05:00.0"
    adapter.mkdir(parents=True)
    (adapter / "vendor").write_text("0x15b3\n")
    (adapter / "device").write_text(device + "\n")
    cleared.check(INSTALL + "rpm -i --nodeps RPMS/mft-*")
    done = cleared.run(INSTALL + f"./mlnxofedinstall {options}", pci=tmp_path / "pci")
    assert (done.returncode, text in done.stdout) == (code, True), done.stdout
    assert ("FLASHED" in done.stdout) == text.startswith("FLASHED")


def test_sriov_is_written_down_as_a_wish_for_the_firmware(cleared: Image) -> None:
    cleared.check(INSTALL + "echo y | ./mlnxofedinstall --enable-sriov")
    wish = cleared.check("cat /tmp/MLNX_OFED_LINUX.*.logs/fw_sriov.ini")
    assert "total_vfs = 16\nsriov_en = true\n" in wish


def test_the_release_uninstalls_itself(cleared: Image) -> None:
    cleared.check(INSTALL + "./mlnxofedinstall --force")
    assert "Uninstall finished successfully" in cleared.check("echo y | ofed_uninstall.sh")
    assert cleared.run("rpm -qa | grep -E 'ofed|mlnx|opensm'").returncode == 1


@pytest.fixture
def openstack(image: Image, lab_mirror: Path) -> Image:
    """The image with all packages of the Mellanox driver."""
    for package in (
        *(lab_mirror / ICEHOUSE).glob("*.rpm"),
        *(lab_mirror / RDO).glob("*.rpm"),
        *(lab_mirror / DNSMASQ).glob("*"),
    ):
        image.put(package, f"packages/{package.name}")
    image.check("rpm -Uvh /packages/*.rpm")
    return image


def test_the_packages_of_the_driver_install_with_their_requirements_and_stay_as_packaged(
    openstack: Image,
) -> None:
    names = "eswitchd mlnxvif mlnx-dnsmasq openstack-neutron-mellanox dnsmasq"
    assert openstack.check(f"rpm -V {names}") == ""
    assert "3:on" in openstack.check("chkconfig --list eswitchd")
    assert "3:off" in openstack.check("chkconfig --list neutron-mlnx-agent")
    assert openstack.check("stat -c %U:%G /var/log/eswitchd") == "eswitch:eswitch\n"
    assert openstack.check("rpm -q dnsmasq; dnsmasq --version").startswith(
        "dnsmasq-2.66-3.1.x86_64\nDnsmasq version 2.66"
    )
    openstack.check(
        "python3 -c 'import mlnx_dhcp, mlnxvif.vif; mlnx_dhcp.MlnxDnsmasq, mlnxvif.vif.MlxEthVIFDriver'"
    )
    settings = openstack.check("cat /etc/neutron/plugins/mlnx/mlnx_conf.ini").splitlines()
    assert all(line.startswith(("#", "[")) or not line for line in settings)


def test_the_start_of_the_agent_stands_as_packaged_undamaged_and_without_a_sleep(openstack: Image) -> None:
    script = openstack.check("cat /etc/init.d/neutron-mlnx-agent")
    start = script[script.index("start() {") : script.index("stop() {")]
    assert start.count("    done\n") == 1 and "sleep" not in start
    assert "${configs[@]/#/--config-file } &>/dev/null & echo \\$! > $pidfile" in start


START = "service eswitchd start && {wait} && service neutron-mlnx-agent start; sleep 1; {after}"
LOG = "cat /var/log/neutron/mlnx-agent.log"


def test_the_agent_started_at_once_dies_and_started_later_lives(openstack: Image) -> None:
    at_once = openstack.run(START.format(wait="true", after="service neutron-mlnx-agent status"))
    assert at_once.returncode != 0, at_once.stdout
    log = openstack.check(LOG)
    assert "tcp://127.0.0.1:60001" in log and "refused" in log

    later = openstack.run(
        START.format(
            wait="sleep 3",
            after="service neutron-mlnx-agent status; ebrctl add-port default fa:16:3e:ec:98:dc; sleep 3",
        )
    )
    assert "is running" in later.stdout, later.stdout
    assert "Port fa:16:3e:ec:98:dc updated" in openstack.check(LOG)
    assert "Daemon Started!" in openstack.check("cat /var/log/eswitchd/eswitchd.log")


def test_the_services_of_the_release_follow_their_init_scripts(cleared: Image) -> None:
    cleared.check(INSTALL + "./mlnxofedinstall --force --without-fw-update")
    done = cleared.run(
        "service opensmd start; service opensmd status; service opensmd stop; service opensmd status"
    )
    assert re.search(r"opensm \(pid +\d+\) is running.*opensm is stopped", done.stdout, re.DOTALL), (
        done.stdout
    )
    status = cleared.run("service openibd status")
    assert (status.returncode, status.stdout.strip()) == (3, "HCA driver is not loaded")


def test_the_services_stop_and_leave_no_lock(openstack: Image) -> None:
    done = openstack.run(
        "service eswitchd start; service eswitchd status; service eswitchd stop; service eswitchd status;"
        "ls /var/lock/subsys"
    )
    assert "is running" in done.stdout and "is stopped" in done.stdout, done.stdout
    assert "eswitchd" not in done.stdout.splitlines()
