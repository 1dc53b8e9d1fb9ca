from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from pipeline.chroot.enter import EnteredRoot, enter
from pipeline.chroot.root import INPUTS, RootSpec
from pipeline.errors import PipelineError
from pipeline.stages.base import Inputs
from pipeline.stages.command import Command
from pipeline.stages.kernel import Kernel
from pipeline.stages.repository import Repository
from pipeline.stages.service import Service

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")

KERNEL = "2.6.32-431.el6.x86_64"
REPO_FILE = "[vendor]\nname=Vendor\nbaseurl=http://vendor.invalid/repo\n{gpg}\n[vendor-debug]\nenabled=0\n"


class Entered:
    """A root of which the notes and lines are kept."""

    def __init__(self, root: EnteredRoot, notes: list[str], lines: list[str]) -> None:
        self.root = root
        self.notes = notes
        self.lines = lines

    def write(self, path: str, text: str, mode: str = "644") -> None:
        script = 'mkdir -p "$(dirname "$1")"; cat > "$1"; chmod "$2" "$1"'
        self.root.run(["sh", "-ec", script, "sh", path, mode], stdin=text.encode() or b"\n")

    def read(self, path: str) -> str:
        return self.root.run(["cat", path]).text


@contextmanager
def entered(layer: Path, binds: dict[str, Path] | None = None) -> Iterator[Entered]:
    notes: list[str] = []
    lines: list[str] = []
    with enter(RootSpec(layers=(layer,), binds=binds), on_lines=lines.extend, on_note=notes.append) as root:
        yield Entered(root, notes, lines)


@pytest.fixture
def image(openstack_image: Path) -> Iterator[Entered]:
    with entered(openstack_image) as root:
        yield root


def command(image: Entered, **options: object) -> None:
    msgspec.convert({"type": "command", "name": "x", **options}, Command).run(image.root, Inputs())


def test_a_command_gets_its_environment_input_and_folder(image: Entered) -> None:
    command(image, shell='echo "$A $(cat) $PWD" > /result', env={"A": "a b"}, stdin="typed", cwd="/etc")
    # As parameters are: of any type, and never a command whatever they hold.
    env = {"A": "x; echo $(id)", "N": 16, "T": True, "R": 0.5}
    command(image, shell='echo "$A $N $T $R" > /given', env=env, require=[{"shell": "test $N = 16"}])
    assert image.read("/given") == "x; echo $(id) 16 true 0.5\n"
    assert image.read("/result") == "a b typed /etc\n"


def test_shell_text_ends_at_the_first_command_that_fails(image: Entered) -> None:
    with pytest.raises(PipelineError, match="exit code 1"):
        command(image, shell="false\ntouch /result")
    assert image.root.run(["test", "-e", "/result"], exit_codes=()).exit_code == 1


def test_another_exit_code_may_mean_success(image: Entered) -> None:
    command(image, shell="exit 7", exit_codes=[0, 7])
    with pytest.raises(PipelineError, match=r"exit code 3 \(expected 0, 7\)"):
        command(image, shell="exit 3", exit_codes=[0, 7])


def test_tolerated_lines_are_reported_with_their_reason_and_fail_nothing(image: Entered) -> None:
    command(
        image,
        shell="echo 'Error: Failed to update Firmware.'",
        fail_on=["Error"],
        tolerate=[{"pattern": "Failed to update Firmware", "because": "no HCA in an image"}],
    )
    assert image.notes == ["expected: 'Error: Failed to update Firmware.' (no HCA in an image)"]


def test_a_tolerated_line_that_never_comes_is_reported(image: Entered) -> None:
    command(image, argv=["true"], tolerate=[{"pattern": "Failed", "because": "no HCA"}])
    assert image.notes == ["expected but not seen: 'Failed' (no HCA)"]


def test_output_can_mean_failure_although_the_exit_code_is_0(image: Entered) -> None:
    with pytest.raises(PipelineError, match=r"line 2 of its output means failure \('\^Error'\): Error: two"):
        command(image, shell="echo one; echo Error: two", fail_on=["^Error"])


def test_all_requirements_that_do_not_hold_are_told_at_once(image: Entered) -> None:
    require = [
        {"argv": ["rpm", "-q", "no-such-package"]},
        {"shell": "echo MLNX_OFED_LINUX-2.3", "stdout": "^MLNX_OFED_LINUX-4"},
        {"argv": ["ofed_info", "-s"]},
        {"file": "/no/such/file"},
        {"file": "/etc/issue", "contains": "Fedora"},
        {"file": "/etc/issue", "contains": "^CentOS release 6.5"},
        {"shell": "exit 4", "exit_codes": [4]},
    ]
    with pytest.raises(PipelineError) as caught:
        command(image, argv=["true"], require=require)
    told = [problem.message for problem in caught.value.problems]
    assert len(told) == 5
    for text, words in zip(
        told,
        (
            "package no-such-package is not installed",
            "nothing that it printed matches '^MLNX_OFED_LINUX-4'",
            "the image has no program 'ofed_info'",
            "/no/such/file does not exist",
            "nothing in /etc/issue matches 'Fedora'",
        ),
        strict=True,
    ):
        assert words in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"argv": ["no-such-program"]}, "the image has no program 'no-such-program'"),
        (
            {"argv": ["./x"], "cwd": "/opt/gone"},
            "working directory /opt/gone does not exist in the image; /opt",
        ),
        ({"argv": ["/etc/issue"]}, "/etc/issue is not executable"),
        ({"argv": ["/etc"]}, "/etc is a directory"),
        ({"argv": ["./install"], "cwd": "/opt"}, r"/opt/install does not exist in the image; /opt holds"),
        ({"argv": ["/script"]}, "interpreter '/usr/bin/no-python', which the image does not have"),
    ],
)
def test_what_cannot_be_run_is_explained(image: Entered, options: dict[str, object], words: str) -> None:
    image.write("/script", "#!/usr/bin/no-python -u\n", "755")
    with pytest.raises(PipelineError, match=words):
        command(image, **options)


def test_a_program_missing_in_shell_text_is_explained(image: Entered) -> None:
    with pytest.raises(PipelineError) as caught:
        command(image, shell="no-such-program")
    assert "127" in (caught.value.problems[0].hint or "")


def test_a_crash_is_explained(image: Entered) -> None:
    with pytest.raises(PipelineError) as caught:
        command(image, shell="kill -SEGV $$")
    assert "SIGSEGV" in str(caught.value)


def test_logs_are_kept_when_the_command_fails_too(image: Entered) -> None:
    script = "mkdir -p /tmp/X.7.logs; echo because of this > /tmp/X.7.logs/general.log; exit 1"
    with pytest.raises(PipelineError):
        command(image, shell=script, logs=["/tmp/X.*.logs/*.log", "/tmp/nothing*"])
    assert image.notes == ["logs: no file matches /tmp/nothing*"]
    assert "because of this" in image.lines


def test_a_service_is_enabled_and_disabled_by_chkconfig(image: Entered) -> None:
    stage = Service(name="x", enable=("rdma",), disable=("sshd",))
    stage.run(image.root, Inputs())
    stage.run(image.root, Inputs())
    assert "3:on" in image.root.run(["chkconfig", "--list", "rdma"]).text
    assert "3:off" in image.root.run(["chkconfig", "--list", "sshd"]).text


def test_runlevels_are_those_asked_for(image: Entered) -> None:
    Service(name="x", enable=("rdma",), levels="35").run(image.root, Inputs())
    listed = image.root.run(["chkconfig", "--list", "rdma"]).text
    assert "3:on" in listed and "5:on" in listed and "2:off" in listed


def test_unknown_services_are_told_at_once_before_anything_is_changed(image: Entered) -> None:
    with pytest.raises(PipelineError) as caught:
        Service(name="x", enable=("rdma", "neutron-serve", "qwertz"), disable=("asdf",)).run(
            image.root, Inputs()
        )
    assert len(caught.value.problems) == 3
    assert "did you mean 'neutron-server'" in (caught.value.problems[0].hint or "")
    assert "3:off" in image.root.run(["chkconfig", "--list", "rdma"]).text


def test_a_service_that_chkconfig_did_not_switch_is_an_error(image: Entered) -> None:
    image.write("/usr/local/sbin/chkconfig", "#!/bin/sh\necho 'rdma 2:on 3:off 4:on 5:on'\n", "755")
    with pytest.raises(PipelineError, match="rdma was switched on, but is not so in runlevel 3"):
        Service(name="x", enable=("rdma",)).run(image.root, Inputs())


def test_an_init_script_without_chkconfig_in_the_image_is_an_error(image: Entered) -> None:
    image.root.run(["sh", "-c", "rm -f $(command -v chkconfig) /sbin/chkconfig /usr/sbin/chkconfig"])
    with pytest.raises(PipelineError, match="the image has no chkconfig to switch it"):
        Service(name="x", enable=("rdma",)).run(image.root, Inputs())


@pytest.mark.skipif(shutil.which("systemctl") is None, reason="this machine, the image here, has no systemd")
def test_units_are_enabled_and_disabled_by_systemctl() -> None:
    unit = "[Service]\nExecStart=/bin/true\n"
    install = "[Install]\nWantedBy=multi-user.target\n"
    with entered(Path("/")) as machine:
        for name, text in (
            ("one.service", unit + install),
            ("two@.service", unit + install),
            ("bare.service", unit),
        ):
            machine.write(f"/etc/systemd/system/{name}", text)
        for _ in range(2):
            Service(name="x", enable=("one", "two@a")).run(machine.root, Inputs())
        links = machine.root.run(["ls", "/etc/systemd/system/multi-user.target.wants"]).text.split()
        assert {"one.service", "two@a.service"} <= set(links)
        Service(name="x", disable=("one",)).run(machine.root, Inputs())
        links = machine.root.run(["ls", "/etc/systemd/system/multi-user.target.wants"]).text.split()
        assert "one.service" not in links
        with pytest.raises(PipelineError, match=r"bare\.service was enabled, but systemctl says .*'static'"):
            Service(name="x", enable=("bare",)).run(machine.root, Inputs())


def test_depmod_lists_the_modules_of_the_kernel_of_the_image(image: Entered) -> None:
    image.root.run(["rm", f"/lib/modules/{KERNEL}/modules.dep"])
    Kernel(name="x", require_modules=("mlx4-core",)).run(image.root, Inputs())
    assert "mlx4_core" in image.read(f"/lib/modules/{KERNEL}/modules.dep")


def test_missing_modules_are_told_at_once_with_the_nearest_name(image: Entered) -> None:
    with pytest.raises(PipelineError) as caught:
        Kernel(name="x", require_modules=("mlx4_cor", "nothing_like_it")).run(image.root, Inputs())
    assert len(caught.value.problems) == 2
    assert "mlx4_core" in (caught.value.problems[0].hint or "")


def test_a_depmod_that_writes_nothing_is_an_error(image: Entered) -> None:
    image.write("/usr/local/sbin/depmod", "#!/bin/sh\n", "755")
    with pytest.raises(PipelineError, match=r"did not write /lib/modules/.*/modules\.dep"):
        Kernel(name="x").run(image.root, Inputs())


def test_one_of_several_kernels_has_to_be_named(image: Entered) -> None:
    image.root.run(["mkdir", "-p", "/lib/modules/3.10.0/kernel"])
    with pytest.raises(PipelineError, match=r"several kernels: /lib/modules has 2\.6.*, 3\.10\.0"):
        Kernel(name="x").run(image.root, Inputs())
    Kernel(name="x", release=KERNEL).run(image.root, Inputs())
    with pytest.raises(PipelineError, match="lists no module"):
        Kernel(name="x", release="3.10.0").run(image.root, Inputs())


def test_an_image_without_kernel_and_a_kernel_that_is_not_there_are_errors(image: Entered) -> None:
    with pytest.raises(PipelineError, match=r"has no kernel 2\.6\.32-999"):
        Kernel(name="x", release="2.6.32-999").run(image.root, Inputs())
    image.root.run(["rm", "-r", f"/lib/modules/{KERNEL}"])
    with pytest.raises(PipelineError, match="has no kernel"):
        Kernel(name="x").run(image.root, Inputs())


def test_a_repository_is_written_as_yum_reads_it(image: Entered) -> None:
    stage = Repository(
        name="x",
        id="site",
        baseurl="http://repos.invalid/el6/$basearch/",
        gpgkey=("http://repos.invalid/a", "http://repos.invalid/b"),
        options={"priority": "10"},
    )
    stage.run(image.root, Inputs())
    assert image.read("/etc/yum.repos.d/site.repo") == (
        "[site]\nname=site\nbaseurl=http://repos.invalid/el6/$basearch/\nenabled=1\ngpgcheck=1\n"
        "gpgkey=http://repos.invalid/a\n        http://repos.invalid/b\npriority=10\n"
    )
    assert image.root.run(["stat", "-c", "%a %U", "/etc/yum.repos.d/site.repo"]).text == "644 root\n"
    assert "site" in image.root.run(["yum", "-C", "repolist", "--all"]).text
    assert image.notes == []


def fetched(openstack_image: Path, folder: Path, text: str, *, gpgcheck: bool) -> tuple[str, list[str]]:
    (folder / "vendor.repo").write_text(text)
    url = "http://vendor.invalid/vendor.repo"
    with entered(openstack_image, {"0": folder / "vendor.repo"}) as image:
        stage = Repository(name="x", source=url, gpgcheck=gpgcheck)
        stage.run(image.root, Inputs(sources={url: f"{INPUTS}/0"}))
        return image.read("/etc/yum.repos.d/vendor.repo"), image.notes


def test_a_fetched_repository_that_checks_nothing_is_refused(openstack_image: Path, tmp_path: Path) -> None:
    with pytest.raises(
        PipelineError, match="switches off the check of signatures for the repository 'vendor'"
    ):
        fetched(openstack_image, tmp_path, REPO_FILE.format(gpg="gpgcheck = 0"), gpgcheck=True)


def test_a_fetched_repository_that_checks_nothing_is_noted_when_wanted(
    openstack_image: Path, tmp_path: Path
) -> None:
    text = REPO_FILE.format(gpg="gpgcheck = 0")
    written, notes = fetched(openstack_image, tmp_path, text, gpgcheck=False)
    assert written == text
    assert notes == ["/etc/yum.repos.d/vendor.repo: signatures of the packages of vendor are not checked"]


def test_a_needless_gpgcheck_false_is_noted(openstack_image: Path, tmp_path: Path) -> None:
    _, notes = fetched(openstack_image, tmp_path, REPO_FILE.format(gpg="gpgcheck=1"), gpgcheck=False)
    assert len(notes) == 1 and "gpgcheck = false is not needed" in notes[0]


def test_a_fetched_repository_that_says_nothing_is_made_to_check(
    openstack_image: Path, tmp_path: Path
) -> None:
    written, notes = fetched(openstack_image, tmp_path, REPO_FILE.format(gpg="gpgcheck=1"), gpgcheck=True)
    assert "[vendor-debug]\ngpgcheck=1\n" in written
    assert notes == []


@pytest.mark.parametrize(
    "text", ["<html>404</html>\n", "", "[a\nb", "\xff".encode("latin-1").decode("latin-1")]
)
def test_a_fetched_file_that_is_no_repository_is_refused(
    openstack_image: Path, tmp_path: Path, text: str
) -> None:
    with pytest.raises(PipelineError, match="is no repository file"):
        fetched(openstack_image, tmp_path, text, gpgcheck=True)


@pytest.mark.skipif(shutil.which("gpg") is None, reason="a key has to be made with gpg")
def test_a_key_is_imported_and_one_that_is_none_is_an_error(openstack_image: Path, tmp_path: Path) -> None:
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-generate-key", "site@example.com", "rsa2048"], check=True)
    with (tmp_path / "key").open("wb") as key:
        subprocess.run([*gpg, "--armor", "--export"], check=True, stdout=key)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
    (tmp_path / "no-key").write_text("nothing\n")
    with entered(openstack_image, {"key": tmp_path / "key", "no-key": tmp_path / "no-key"}) as image:

        def add(key: str) -> None:
            stage = Repository(name="x", id="site", baseurl="http://repos.invalid/", import_key=(key,))
            stage.run(image.root, Inputs(sources={key: f"{INPUTS}/{key}"}))

        add("key")
        assert "site@example.com" in image.root.run(["rpm", "-qa", "--qf", "%{SUMMARY}\n", "gpg-pubkey"]).text
        with pytest.raises(PipelineError, match="rpm --import"):
            add("no-key")
