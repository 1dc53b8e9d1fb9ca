"""What cannot be true in an image fails the test that asks, however it asks."""

from __future__ import annotations

from pathlib import Path

import pytest
import testinfra.modules
from verify_local import LocalRoot, verify

from pipeline.verify.adapter import MODULES, REFUSED_MEMBERS
from pipeline.verify.refusals import Refusal, command_refusal

REFUSED_MODULES = sorted(name for name, found in MODULES.items() if isinstance(found, Refusal))
MEMBERS = {
    "service.is_running": "host.service('sshd').is_running",
    "service.systemd_properties": "host.service('sshd').systemd_properties",
    "pip.get_outdated_packages": "host.pip.get_outdated_packages()",
    "sudo(user)": "host.sudo('neutron').__enter__()",
}
OTHERS = {
    "another host": "testinfra.get_host('local://')",
    "a kernel setting": "host.file('/proc/sys/kernel/hostname').exists",
    "a command": "host.run('ps aux')",
}


def test_every_module_of_testinfra_is_classified() -> None:
    assert sorted(MODULES) == sorted(testinfra.modules.modules)


def test_every_refused_member_has_a_test() -> None:
    assert sorted(MEMBERS) == sorted(REFUSED_MEMBERS)


def test_a_test_that_asks_what_is_refused_fails_in_every_guise(tmp_path: Path) -> None:
    questions = [*(f"host.{name}" for name in REFUSED_MODULES), *MEMBERS.values(), *OTHERS.values()]
    text = ["import pytest, testinfra", "from contextlib import suppress"]
    for number, question in enumerate(questions):
        text.append(f"def test_{number}_plain(host): assert {question}")
        text.append(f"def test_{number}_denied(host): assert not {question}")
        text.append(f"def test_{number}_caught(host):\n    with suppress(BaseException): {question}")
        text.append(f"@pytest.mark.xfail\ndef test_{number}_expected(host): {question}")
    root = LocalRoot()
    verification = verify(tmp_path, "\n".join(text), root)
    assert not verification.passed
    assert len(verification.results) == 4 * len(questions)
    assert [result for result in verification.results if result[1] != "failed"] == []
    assert [result for result in verification.results if "refused in an image: " not in result[3]] == []
    assert root.commands == []


def test_the_refusal_says_where_why_and_what_to_do_instead(tmp_path: Path) -> None:
    (result,) = verify(tmp_path, "def test_x(host):\n    assert host.service('sshd').is_running\n").results
    assert result[3] == (
        "test_image.py:2: refused in an image: host.service('sshd').is_running: nothing runs in an image; "
        "check it on a node, at rollout"
    )


def test_a_file_that_names_other_hosts_is_refused(tmp_path: Path) -> None:
    verification = verify(tmp_path, "testinfra_hosts = ['ssh://node001']\ndef test_x(host): pass\n")
    assert verification.results[0][1] == "error"
    assert "testinfra_hosts" in verification.results[0][3]


@pytest.mark.parametrize(
    "command",
    [
        "service eswitchd status",
        "/sbin/service eswitchd start",
        "/etc/init.d/eswitchd status",
        "sh /etc/rc.d/init.d/eswitchd status",
        "systemctl is-active sshd",
        "systemctl --quiet is-active sshd",
        "systemctl show sshd",
        "initctl status x",
        "ps",
        "/bin/ps aux | grep neutron",
        "true && pgrep sshd",
        "sleep 0; ss -ltn",
        "echo $(ip addr)",
        'echo "$(ip addr)"',
        "echo `lsmod`",
        "sudo -u neutron ps",
        "LANG=C env X=y timeout 5 netstat -ltn",
        "nice -n 5 dmesg",
        "sh -c 'lspci | grep Mellanox'",
        "bash -ec 'if ping -c1 node001; then echo up; fi'",
        "if ! pidof sshd; then exit 1; fi",
        "(mount)",
        "echo a\nifconfig",
        "cat /proc/cmdline",
        "grep iommu /proc/cmdline",
        "cat < /sys/class/net/eth0/address",
        "modprobe mlx4_core",
        "ps 'unbalanced",
    ],
)
def test_a_command_about_what_runs_is_refused(command: str) -> None:
    assert command_refusal(command) is not None


@pytest.mark.parametrize(
    "command",
    [
        "uname -r",
        "rpm -V eswitchd",
        "chkconfig --list eswitchd",
        "systemctl is-enabled sshd",
        "sh -n /etc/init.d/neutron-mlnx-agent",
        "cat /etc/init.d/eswitchd",
        "echo 'ps; service x status'",
        "grep -q /dev/sda1 /etc/fstab",
        "grep -q ip /etc/services 2>/dev/null",
        "timeout 5 grep ip /etc/hosts",
        "modprobe --showconfig | grep num_vfs",
        "command -v ps",
        "ip --version",
        "test -e /proc/self/status",
        "dnsmasq --test -C /etc/dnsmasq.conf",
        "modinfo -k 2.6.32-431.el6.x86_64 mlx4_core",
        "awk '{ print $1 }' /etc/passwd",
        "cat <<EOF\nit's text\nEOF",
    ],
)
def test_a_command_about_files_is_not_refused(command: str) -> None:
    assert command_refusal(command) is None
