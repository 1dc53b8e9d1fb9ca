"""The lab's base images, as rpm, yum, init scripts and OFED's installer see them from the inside."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.lab import bases, roots
from pipeline.lab.rpmbuild import rpmbuild

KERNEL = "2.6.32-431.el6.x86_64"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="base images are built and entered by root")


@dataclass(frozen=True)
class Image:
    """A base image under an overlay of its own, in namespaces that end with each command."""

    tree: Path
    work: Path

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a bash script in the image; stderr stands in stdout, as it came."""
        for name in ("upper", "work", "root"):
            (self.work / name).mkdir(exist_ok=True, parents=True)
        options = f"lowerdir={self.tree.resolve()},upperdir={self.work}/upper,workdir={self.work}/work"
        enter = f'mount -t overlay -o "{options}" overlay "$1"\n{roots.ENTER}'
        command = [*roots.NAMESPACES, "sh", "-c", enter, "sh", str(self.work / "root"), "bash", "-c", script]
        return subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def output(self, script: str) -> str:
        """What the script prints; it has to end with exit code 0."""
        done = self.run(script)
        assert done.returncode == 0, f"exit code {done.returncode}: {done.stdout}"
        return done.stdout.strip()

    def exit_code(self, script: str) -> int:
        return self.run(script).returncode


@pytest.fixture(params=[image.name for image in bases.IMAGES])
def image(request: pytest.FixtureRequest, lab_images: dict[str, Path], tmp_path: Path) -> Image:
    return Image(lab_images[request.param], tmp_path)


@pytest.fixture
def openstack(lab_images: dict[str, Path], tmp_path: Path) -> Image:
    return Image(lab_images["openstack-image"], tmp_path)


@pytest.fixture
def virtual(lab_images: dict[str, Path], tmp_path: Path) -> Image:
    return Image(lab_images["virtual-node-image"], tmp_path)


UNOWNED = r"""
import os, re, subprocess
made_by_chkconfig = re.compile(r"/etc/rc\.d/rc\d\.d/[SK]\d\d[^/]+")
listed = subprocess.run(["rpm", "-qa", "--qf", "[%{FILENAMES}\n]"], stdout=subprocess.PIPE, text=True)
owned = {os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
         for path in listed.stdout.splitlines() if path.startswith("/")}
for folder, directories, files in os.walk("/"):
    if folder in ("/proc", "/dev", "/sys", "/tmp", "/run"):
        directories.clear()
        continue
    links = [name for name in directories if os.path.islink(os.path.join(folder, name))]
    for name in files + links:
        path = os.path.join(folder, name)
        if path not in owned and not made_by_chkconfig.fullmatch(path):
            print(path)
"""


@needs_root
class TestPackages:
    def test_files_of_debian_and_of_el6_belong_to_packages(self, image: Image) -> None:
        owners = image.output(
            "rpm -qf /bin/sh /usr/bin/sh /etc/issue /etc/init.d/functions /sbin/chkconfig"
        ).split()
        names = [owner.rsplit("-", 2)[0] for owner in owners]
        assert names == ["bash", "bash", "centos-release", "initscripts", "chkconfig"]

    def test_the_owner_of_etc_issue_is_what_ofed_takes_for_rhel_6_5(self, image: Image) -> None:
        assert image.output("rpm -qf /etc/issue") == "centos-release-6-5.el6.centos.11.1.x86_64"

    def test_every_file_belongs_to_a_package_but_for_the_links_that_chkconfig_made(
        self, image: Image
    ) -> None:
        assert image.output(f"python3 -IB - <<'EOF'\n{UNOWNED}\nEOF") == ""

    def test_no_file_differs_from_its_package_but_for_the_accounts(self, image: Image) -> None:
        differing = {line.split()[-1] for line in image.run("rpm -Va").stdout.splitlines()}
        assert differing == {f"/etc/{name}" for name in ("passwd", "group", "shadow", "gshadow")}

    def test_each_name_is_installed_once(self, image: Image) -> None:
        names = image.output("rpm -qa --qf '%{NAME}\\n'").split()
        assert len(names) == len(set(names)) > 180

    def test_the_solver_finds_the_requirements_of_all_packages_met(self, image: Image) -> None:
        assert image.output("dnf -C check") == ""

    def test_yum_answers_without_a_network(self, openstack: Image) -> None:
        assert openstack.output("yum --version").startswith("4.")
        listed = openstack.output("dnf -qC repoquery --installed 'openstack-neutron*'").split()
        assert "openstack-neutron-0:2014.1.3-4.el6.noarch" in listed

    def test_no_repository_is_enabled(self, image: Image) -> None:
        assert image.output("yum -q repolist --enabled") == ""

    def test_yum_removes_what_stands_in_the_way_of_ofed_and_nothing_else(self, image: Image) -> None:
        before = set(image.output("rpm -qa").split())
        image.output("yum remove -y cm-config-intelcompliance-slave")
        assert {name.rsplit("-", 2)[0] for name in before - set(image.output("rpm -qa").split())} == {
            "cm-config-intelcompliance-slave"
        }

    def test_yum_installs_a_package_file_and_rpm_knows_it_then(
        self, openstack: Image, tmp_path: Path
    ) -> None:
        spec = tmp_path / "new.spec"
        spec.write_text(
            "Name: new\nVersion: 1\nRelease: 1\nSummary: New\nLicense: None\n"
            "Requires: openstack-neutron >= 2014\n"
            "%description\nNew.\n%post\necho here > /etc/new\n%files\n"
        )
        built = rpmbuild(spec, sources=tmp_path, out=openstack.work / "upper/opt")
        openstack.output(f"yum install -y /opt/{built[0].name}")
        assert openstack.output("rpm -q new; cat /etc/new") == "new-1-1.x86_64\nhere"

    def test_rpm_asks_nobody_to_use_alien(self, openstack: Image) -> None:
        assert "lien" not in openstack.output("rpm -e cm-config-intelcompliance-slave")

    def test_packages_that_are_not_ofeds_require_what_its_installer_removes(self, virtual: Image) -> None:
        done = virtual.run("rpm -e rdma libibverbs libibverbs-utils librdmacm")
        assert done.returncode > 0
        for name in ("cm-config-intelcompliance-slave", "qlgc-ofed"):
            assert f"libibverbs is needed by (installed) {name}-" in done.stdout

    def test_ofed_finds_its_prerequisites_by_name(self, image: Image) -> None:
        image.output("rpm -q pciutils perl tcl tk tcsh gcc-gfortran")

    def test_only_the_virtual_nodes_have_qlgc_ofed_and_only_the_others_openstack(
        self, openstack: Image, virtual: Image
    ) -> None:
        assert openstack.run(
            "rpm -q qlgc-ofed dnsmasq openstack-nova-compute --qf '%{NAME}-%{VERSION}\\n'"
        ).stdout == ("package qlgc-ofed is not installed\ndnsmasq-2.48\nopenstack-nova-compute-2014.1.3\n")
        assert virtual.exit_code("rpm -q qlgc-ofed") == 0
        assert virtual.exit_code("rpm -q openstack-neutron") == 1


@needs_root
class TestServices:
    def test_chkconfig_lists_a_service_as_the_original_does(self, openstack: Image) -> None:
        assert openstack.run("chkconfig --list sshd").stdout == (
            "sshd           \t0:off\t1:off\t2:on\t3:on\t4:on\t5:on\t6:off\n"
        )

    def test_chkconfig_switches_levels_and_its_exit_code_says_the_state(self, openstack: Image) -> None:
        script = """
        chkconfig openstack-nova-compute; echo $?
        chkconfig openstack-nova-compute on; chkconfig openstack-nova-compute; echo $?
        ls /etc/rc3.d | grep nova
        chkconfig --level 35 openstack-nova-compute off; chkconfig --list openstack-nova-compute
        chkconfig openstack-nova-compute reset; ls /etc/rc.d/rc?.d/S*nova* 2>/dev/null | wc -l
        """
        assert openstack.output(script).splitlines() == [
            "1",
            "0",
            "S98openstack-nova-compute",
            "openstack-nova-compute\t0:off\t1:off\t2:on\t3:off\t4:on\t5:off\t6:off",
            "0",
        ]

    def test_chkconfig_adds_and_deletes_a_service_by_its_header(self, openstack: Image) -> None:
        script = """
        printf '#!/bin/sh\\n# chkconfig: 35 97 02\\n' > /etc/init.d/new; chmod 755 /etc/init.d/new
        chkconfig --list new; echo $?
        chkconfig --add new; ls /etc/rc[0-6].d/*new
        chkconfig --del new; ls /etc/rc[0-6].d | grep -c new
        """
        not_added = "service new supports chkconfig, but is not referenced in any runlevel"
        assert openstack.run(script).stdout.splitlines() == [
            f"{not_added} (run 'chkconfig --add new')",
            "1",
            *(f"/etc/rc{level}.d/{'S97' if level in (3, 5) else 'K02'}new" for level in range(7)),
            "0",
        ]

    def test_chkconfig_takes_levels_and_priority_from_an_lsb_header(self, openstack: Image) -> None:
        script = """
        cat > /etc/init.d/late <<'EOF'
#!/bin/sh
### BEGIN INIT INFO
# Provides: late
# Required-Start: sshd
# Default-Start: 3 5
### END INIT INFO
EOF
        chkconfig --add late; ls /etc/rc3.d /etc/rc2.d | grep late
        """
        assert openstack.output(script).split() == ["K44late", "S56late"]

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ("--list nothing", "error reading information on service nothing: No such file or directory"),
            ("nothing on", "error reading information on service nothing: No such file or directory"),
            ("--list functions", "service functions does not support chkconfig"),
            ("sshd sideways", "usage:"),
            ("--level 9 sshd on", "usage:"),
            ("../../bin/sh on", "No such file or directory"),
        ],
    )
    def test_chkconfig_refuses_in_the_words_of_the_original(
        self, openstack: Image, arguments: str, said: str
    ) -> None:
        done = openstack.run(f"chkconfig {arguments}")
        assert (done.returncode, said in done.stdout) == (1, True), done.stdout

    def test_an_agent_runs_as_neutron_until_its_init_script_stops_it(self, openstack: Image) -> None:
        script = """
        log=/var/log/neutron/dhcp-agent.log
        service neutron-dhcp-agent status; echo $?
        service neutron-dhcp-agent start >/dev/null; echo $?
        for try in $(seq 500); do grep -q started $log 2>/dev/null && break; sleep 0.01; done
        ps -o user= -p $(cat /var/run/neutron/neutron-dhcp-agent.pid)
        service neutron-dhcp-agent status >/dev/null; echo $?
        service neutron-dhcp-agent stop >/dev/null; echo $?
        grep -c SIGTERM $log
        ls /var/lock/subsys
        """
        assert openstack.output(script).splitlines() == [
            "neutron-dhcp-agent is stopped", "3", "0", "neutron", "0", "0", "1",
        ]  # fmt: skip

    def test_service_refuses_a_name_without_a_script(self, image: Image) -> None:
        done = image.run("service nothing start")
        assert (done.returncode, done.stdout) == (1, "nothing: unrecognized service\n")

    def test_the_runlevel_scripts_start_what_is_on_and_sshd_answers(self, image: Image) -> None:
        script = """
        /etc/rc.d/rc.sysinit && /etc/rc.d/rc 3 >/dev/null
        ls /var/lock/subsys | xargs
        exec 3<>/dev/tcp/127.0.0.1/22 && read -r banner <&3 && echo ${banner%%_*}
        service sshd stop >/dev/null
        """
        assert image.output(script).splitlines() == ["local network sshd", "SSH-2.0-OpenSSH"]

    def test_there_is_no_systemd(self, image: Image) -> None:
        assert image.exit_code("command -v systemctl || ls /lib/systemd /etc/systemd 2>/dev/null") != 0


@needs_root
class TestLook:
    def test_it_says_that_it_is_centos_6_5(self, image: Image) -> None:
        assert image.output(
            "cat /etc/redhat-release; head -2 /etc/issue; rpm --eval '%rhel %dist'"
        ).splitlines() == [
            "CentOS release 6.5 (Final)",
            "CentOS release 6.5 (Final)",
            r"Kernel \r on an \m",
            "6 .el6",
        ]

    def test_yum_knows_the_release(self, image: Image) -> None:
        told = image.output(
            "python3 -c 'import dnf; b = dnf.Base(); print(dnf.rpm.detect_releasever(\"/\"))'"
        )
        assert told == "6"

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("/etc/neutron/neutron.conf", "640 root neutron"),
            ("/etc/neutron/dhcp_agent.ini", "640 root neutron"),
            ("/etc/nova/nova.conf", "640 root nova"),
            ("/var/log/neutron", "755 neutron neutron"),
            ("/var/run/neutron", "755 neutron neutron"),
            ("/var/lib/nova", "755 nova nova"),
            ("/bin/su", "4755 root root"),
            ("/bin/ping", "4755 root root"),
            ("/var/tmp", "1777 root root"),
            ("/etc/shadow", "0 root root"),
            ("/etc/sudoers", "440 root root"),
            ("/etc/security/limits.conf", "644 root root"),
        ],
    )
    def test_modes_and_owners_are_those_of_el6(self, openstack: Image, path: str, expected: str) -> None:
        assert openstack.output(f"stat -c '%a %U %G' {path}") == expected

    def test_the_accounts_have_the_numbers_of_el6(self, openstack: Image) -> None:
        assert openstack.output("id -u neutron; id -g neutron; id -u nova; id -u sshd").split() == [
            "164", "164", "162", "74",
        ]  # fmt: skip

    def test_configuration_survives_an_upgrade(self, openstack: Image) -> None:
        listed = openstack.output("rpm -qc openstack-neutron openstack-nova-common initscripts").split()
        assert {"/etc/neutron/dhcp_agent.ini", "/etc/nova/nova.conf", "/etc/sysconfig/network"} <= set(listed)

    def test_the_settings_that_the_recipes_change_are_there_as_comments(self, openstack: Image) -> None:
        openstack.output("grep -q '^# dhcp_driver = ' /etc/neutron/dhcp_agent.ini")
        openstack.output("grep -q '^# dnsmasq_config_file =' /etc/neutron/dhcp_agent.ini")
        section = openstack.output(r"sed -n '/^\[libvirt\]/,/^\[/p' /etc/nova/nova.conf")
        assert "#vif_driver=nova.virt.libvirt.vif.LibvirtGenericVIFDriver" in section

    def test_dnsmasq_is_the_version_that_the_seed_upgrades(self, openstack: Image) -> None:
        assert openstack.output("dnsmasq --version").startswith("Dnsmasq version 2.48 ")

    def test_perl_has_what_ofeds_installer_uses(self, image: Image) -> None:
        modules = "POSIX Getopt::Long File::Basename File::Path File::Find File::Copy Cwd Term::ANSIColor"
        assert (
            image.output(f"perl {' '.join('-M' + name for name in modules.split())} -e 'print 6 * 7'") == "42"
        )

    def test_the_drivers_of_mellanox_find_the_classes_that_they_derive_from(self, openstack: Image) -> None:
        openstack.output(
            "python3 -c 'from neutron.agent.linux.dhcp import Dnsmasq;"
            " from nova.virt.libvirt.vif import LibvirtGenericVIFDriver'"
        )

    def test_running_python_writes_nothing_into_the_image(self, openstack: Image) -> None:
        openstack.output("python3 -c 'import dnf.cli.main, neutron.agent.linux.dhcp, ssl, asyncio'")
        assert [path for path in (openstack.work / "upper").rglob("*") if path.is_file()] == []


@needs_root
class TestKernel:
    def test_depmod_and_modinfo_read_the_modules(self, image: Image) -> None:
        script = f"""
        grep '/mlx4_ib.ko:' /lib/modules/{KERNEL}/modules.dep | tr ' ' '\\n' | grep -c '\\.ko'
        modinfo -k {KERNEL} -F vermagic mlx4_core
        modprobe -S {KERNEL} --show-depends mlx4_en | wc -l
        cd /lib/modules/{KERNEL} && rm modules.dep && depmod -a {KERNEL} && test -s modules.dep
        """
        assert image.output(script).splitlines() == [
            "5",
            f"{KERNEL} SMP mod_unload modversions ",
            "2",
        ]

    def test_the_kernel_is_a_package_with_its_files_in_boot(self, image: Image) -> None:
        owners = image.output(
            f"rpm -qf /boot/vmlinuz-{KERNEL} /boot/System.map-{KERNEL} /boot/config-{KERNEL}"
        )
        assert set(owners.split()) == {f"kernel-{KERNEL}"}
