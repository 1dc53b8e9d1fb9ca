"""Tests of an image in its own chroot: real packages, real services, /proc, and the time it takes."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.chroot.enter import EnteredRoot, enter
from pipeline.chroot.root import RootSpec
from pipeline.store.records import Verification
from pipeline.verify.messages import Ran
from pipeline.verify.packages import LIST_ALL, by_label, parse
from pipeline.verify.runner import ImageFacts, run_tests
from pipeline.verify.services import all_services

KERNEL = "2.6.32-431.el6.x86_64"
SECONDS = 2.0


@pytest.fixture
def root(openstack_image: Path) -> Iterator[EnteredRoot]:
    with enter(RootSpec(layers=(openstack_image,), kernel=KERNEL)) as entered:
        yield entered


def verify(folder: Path, text: str, root: EnteredRoot) -> Verification:
    (folder / "test_image.py").write_text(text)
    facts = ImageFacts(name="openstack-image", number=1, kernel=KERNEL, kernel_parameters=(), parameters={})
    return run_tests([folder / "test_image.py"], root, facts, folder / "out", lambda line: None)


def passes(folder: Path, text: str, root: EnteredRoot) -> None:
    verification = verify(folder, text, root)
    assert verification.passed, verification.results


def test_proc_is_mounted_and_the_kernel_is_the_images(tmp_path: Path, root: EnteredRoot) -> None:
    passes(
        tmp_path,
        "def test_proc(host, image):\n"
        "    assert host.file('/proc').is_directory and host.file('/proc/self/status').exists\n"
        "    assert host.check_output('cat /proc/self/comm') == 'cat'\n"
        "    assert host.check_output('uname -r') == image.kernel\n"
        "    assert host.system_info.distribution == 'CentOS' and host.system_info.release == '6.5'\n",
        root,
    )


def test_a_service_can_never_be_running(tmp_path: Path, root: EnteredRoot) -> None:
    verification = verify(
        tmp_path,
        "def test_running(host): assert host.service('sshd').is_running\n"
        "def test_not_running(host): assert not host.service('sshd').is_running\n"
        "def test_status(host): assert host.run('service sshd status').rc == 3\n",
        root,
    )
    assert [outcome for _, outcome, _, _ in verification.results] == ["failed"] * 3


def test_services_are_those_that_chkconfig_lists(tmp_path: Path, root: EnteredRoot) -> None:
    passes(
        tmp_path,
        "def test_services(host):\n"
        "    assert host.service('sshd').exists and host.service('sshd').is_enabled\n"
        "    assert host.service('dnsmasq').exists and not host.service('dnsmasq').is_enabled\n"
        "    assert not host.service('functions').exists\n"
        "    assert not host.service('ssh').exists\n"
        "    host.check_output('chkconfig dnsmasq on')\n"
        "    assert host.service('dnsmasq').is_enabled\n"
        "    host.check_output('rm /etc/init.d/dnsmasq')\n"
        "    assert not host.service('dnsmasq').exists\n"
        "    assert not host.service('dnsmasq').is_enabled, 'the links lead nowhere now'\n",
        root,
    )


def test_certain_labels_are_those_of_rpm(root: EnteredRoot) -> None:
    ran = root.run(["/bin/sh", "-c", LIST_ALL], separate=True)
    packages = parse(Ran(ran.exit_code, ran.stdout, ran.stderr))
    labels = by_label(packages)
    bash = next(package for package in packages if package.name == "bash")
    name, _, version, release, arch = bash
    asked = [
        *(name, f"{name}.{arch}", f"{name}-{version}", f"{name}-{version}-{release}"),
        *(f"{name}-{version}-{release}.{arch}", f"{name}-{version}.{arch}"),
        *("ba", "bash-0", "bash.noarch.x", "no-such-package", "Bash", f"{name}-{release}"),
    ]
    for label in asked:
        real = root.run(["rpm", "-q", "--queryformat=%{VERSION}", label], exit_codes=(), separate=True)
        assert (real.exit_code == 0) == (label in labels), label
        assert real.exit_code or real.text == labels[label][0].version


def test_packages_answer_as_rpm_does(tmp_path: Path, root: EnteredRoot) -> None:
    """Labels that only rpm itself can answer, with and without an epoch, and a pattern that grep refuses."""
    passes(
        tmp_path,
        "import pytest\n"
        "@pytest.mark.parametrize('name', ['bash', 'zlib1g'])\n"
        "def test_labels(host, name):\n"
        "    assert host.package(name).is_installed\n"
        "    version = host.package(name).version\n"
        "    epoch = {'bash': '0'}.get(name, '1')\n"
        "    labels = [f'{name}-{epoch}:{version}', f'{name}-{version}-*', f'{name}-{version[:-1]}?',\n"
        "              f'{name}-*', f'{name}.', f'{name}.*', f'{name}-7:{version}', f'{name}-9*']\n"
        "    said = {label: host.run('rpm -q --quiet -- %s', label).rc == 0 for label in labels}\n"
        "    assert {label: host.package(label).is_installed for label in said} == said\n"
        "    assert sum(said.values()) >= 4\n"
        "    assert host.package(f'{name}-{epoch}:{version}').version == version\n"
        "def test_grep(host):\n"
        "    with pytest.raises(AssertionError, match=r'\\[\\[:space:\\]\\]'):\n"
        "        host.file('/etc/passwd').contains('[:root:]')\n"
        "    assert host.file('/etc/passwd').contains('^root:[^:]*:0:')\n",
        root,
    )


def test_short_lines_of_accounts_are_what_the_c_library_makes_of_them(
    tmp_path: Path, root: EnteredRoot
) -> None:
    passes(
        tmp_path,
        "LINES = {'group': ['short:x:70005', 'two:x', 'word:x:abc:', 'one', 'whole:x:70008:u1,u3'],\n"
        "         'passwd': ['u1:x:70005:70008', 'u2:x:70005', 'u3:x:70006:70005::/', 'u5:x:a:6:::', 'u7'],\n"
        "         'shadow': ['u1:*', 'u2:*:1:0', 'u3:*:1:0:9', 'u5:*:::::::']}\n"
        "def test_lines(host):\n"
        "    for table, lines in LINES.items():\n"
        "        for line in lines:\n"
        "            host.check_output('echo %s >>/etc/%s', line, table)\n"
        "    for table, lines in LINES.items():\n"
        "        for name in [line.split(':')[0] for line in lines]:\n"
        "            ours, real = (host.run(f'getent {table}{gap}%s', name) for gap in (' ', '  '))\n"
        "            assert (ours.rc, ours.stdout) == (real.rc, real.stdout), (table, name)\n"
        "    for name in ('u1', 'u2', 'u3', 'u5', 'u7'):\n"
        "        for ask in ('id -u', 'id -nG'):\n"
        "            ours, real = (host.run(f'{ask}{gap}%s', name) for gap in (' ', '  '))\n"
        "            assert (ours.rc, ours.stdout) == (real.rc, real.stdout), (ask, name)\n"
        "    assert host.group('short').exists and host.group('short').members == []\n"
        "    assert not host.group('two').exists\n",
        root,
    )


def test_a_package_removed_by_a_test_is_no_longer_installed(tmp_path: Path, root: EnteredRoot) -> None:
    passes(
        tmp_path,
        "def test_packages(host):\n"
        "    package = host.package('dnsmasq')\n"
        "    assert package.is_installed and package.version == '2.48' and package.release\n"
        "    host.check_output('rpm -e --nodeps dnsmasq')\n"
        "    assert not package.is_installed\n",
        root,
    )


def test_a_missing_rpm_database_is_no_answer(tmp_path: Path, root: EnteredRoot) -> None:
    verification = verify(
        tmp_path,
        "def test_x(host):\n"
        "    host.run('rm -rf $(rpm --eval %{_dbpath})/*')\n"
        "    assert not host.package('no-such-package').is_installed\n"
        "def test_y(host):\n"
        "    assert not host.package('no-such-*').is_installed\n",
        root,
    )
    assert all("database is missing or empty" in said for *_, said in verification.results)


@pytest.mark.skipif(shutil.which("systemctl") is None, reason="this machine has no systemctl to compare with")
def test_units_are_in_the_state_that_systemctl_says(tmp_path: Path, openstack_image: Path) -> None:
    vendor, ours = tmp_path / "usr/lib/systemd/system", tmp_path / "etc/systemd/system"
    wants = ours / "multi-user.target.wants"
    for folder in (vendor, wants, tmp_path / "usr/sbin"):
        folder.mkdir(parents=True)
    (tmp_path / "usr/sbin/init").symlink_to("../lib/systemd/systemd")
    install = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
    for name in ("on", "off", "masked", "at@"):
        (vendor / f"{name}.service").write_text(install)
    (vendor / "fixed.service").write_text("[Service]\nExecStart=/bin/true\n")
    (vendor / "also.service").write_text("[Service]\nExecStart=/bin/true\n[Install]\nAlso=on.service\n")
    (vendor / "clock.timer").write_text("[Timer]\nOnBootSec=1\n[Install]\nWantedBy=timers.target\n")
    (wants / "on.service").symlink_to("/usr/lib/systemd/system/on.service")
    (wants / "at@tty1.service").symlink_to("/usr/lib/systemd/system/at@.service")
    (ours / "masked.service").symlink_to("/dev/null")
    (vendor / "other-name.service").symlink_to("on.service")
    with enter(RootSpec(layers=(openstack_image, tmp_path))) as root:
        found = root.call(all_services)
    assert found.systemd
    names = [name for name in found.units if "@." not in name]
    assert {"on.service", "off.service", "masked.service", "at@tty1.service", "clock.timer"} <= set(names)
    for name in names:
        command = ["systemctl", f"--root={tmp_path}", "is-enabled", name]
        said = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        assert found.units[name] == said, name


def test_200_checks_take_less_than_2_seconds(tmp_path: Path, openstack_image: Path) -> None:
    text = (
        "import pytest\n"
        "@pytest.mark.parametrize('number', range(50))\n"
        "class TestMany:\n"
        "    def test_package(self, host, number): assert host.package('bash').is_installed\n"
        "    def test_file(self, host, number): assert host.file('/etc/passwd').mode == 0o644\n"
        "    def test_service(self, host, number): assert host.service('sshd').is_enabled\n"
        "    def test_content(self, host, number): assert host.file('/etc/issue').contains('^CentOS')\n"
    )
    # Processor time, the chroot's included: the clock would measure what else this machine does.
    before = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    with enter(RootSpec(layers=(openstack_image,), kernel=KERNEL)) as root:
        verification = verify(tmp_path, text, root)
    after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    spent = sum(usage.ru_utime + usage.ru_stime for usage in after)
    spent -= sum(usage.ru_utime + usage.ru_stime for usage in before)
    assert verification.passed and len(verification.results) == 200
    assert spent < SECONDS
