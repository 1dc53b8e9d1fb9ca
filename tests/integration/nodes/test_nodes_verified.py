"""Nodes with a real sshd: what tests ask there, and what becomes of a node that does not answer."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.cluster.fanout import Target as Reached
from pipeline.cluster.head import Head
from pipeline.lab.nodes.nodes import Nodes
from pipeline.rollout.model import Check, Node, Target, Verdict
from pipeline.rollout.trees import listed
from pipeline.rollout.verifying import NodeVerifier
from pipeline.store.store import Store

WEB = Target("web-1", "web", 1, "/cm/images/web-1")
NAMES = ("node001", "node002", "node003")

LABS_OWN = ("/usr/bin/uname", "/bin/uname")
"""A node of the lab says by another uname which kernel it would run."""

Write = Callable[[str], tuple[Path, ...]]
Verify = Callable[..., Mapping[str, Verdict]]

TESTS = """
import pytest

pytestmark = pytest.mark.only(category="openstack-*")


def test_its_name(host, node):
    assert host.check_output("hostname") == node.name


def test_its_parameters(host, parameters, report):
    report("vfs", parameters["vfs"])
    assert host.file("/etc/modprobe.d/mlx4_core.conf").content_string == (
        f"options mlx4_core num_vfs={parameters['vfs']}\\n"
    )


def test_what_it_was_installed_from(node):
    assert (node.image, node.version, node.number) == ("web-1", "web@1", 1)
    assert node.kernel == "2.6.32-431.el6.x86_64"


def test_output_of_any_bytes(host):
    ran = host.run("printf 'a\\\\r\\\\n\\\\000b\\\\377 no end'; printf err >&2; exit 3")
    assert (ran.rc, ran.stdout_bytes, ran.stderr_bytes) == (3, b"a\\r\\n\\0b\\xff no end", b"err")


@pytest.mark.only(virtual=True)
def test_only_for_virtual_nodes(host):
    assert False
"""


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {check.name.split("::")[-1]: check.outcome for check in verdict.checks}


def named(verdict: Verdict, name: str) -> Check:
    return next(check for check in verdict.checks if check.name.endswith(name))


@pytest.fixture
def verify(
    known: Store, reached: Mapping[str, Reached], of_node: Sequence[Node], tmp_path: Path
) -> Callable[..., Mapping[str, Verdict]]:
    """Verifies the three nodes by test files; the log folder is ``tmp_path / "logs"``."""

    def run(tests: Sequence[Path] = (), target: Target = WEB, **more: Any) -> Mapping[str, Verdict]:
        given = {"reached": reached, "ignore": LABS_OWN, "command_seconds": 20.0, **more}
        return NodeVerifier(known, tests, **given).verify(of_node, target, tmp_path / "logs")

    return run


def test_nodes_of_the_version_pass_and_report_facts(verify: Verify, tests_of: Write, tmp_path: Path) -> None:
    verdicts = verify(tests_of(TESTS), parameters={name: {"vfs": 16} for name in NAMES})
    assert set(verdicts) == set(NAMES)
    for name, verdict in verdicts.items():
        assert verdict.passed, (name, verdict)
        assert outcomes(verdict) == {
            "test_its_name": "passed",
            "test_its_parameters": "passed",
            "test_what_it_was_installed_from": "passed",
            "test_output_of_any_bytes": "passed",
            "is exactly web@1: packages": "passed",
            "is exactly web@1: files": "passed",
        }
        assert verdict.facts == {"vfs": "16"}
        assert "test_its_name" in (tmp_path / "logs" / f"{name}.log").read_text()


def test_a_failing_test_fails_only_its_node_and_the_log_has_what_was_answered(
    verify: Verify, tests_of: Write, nodes: Nodes, tmp_path: Path
) -> None:
    nodes.run("node002", "echo 8 >/etc/vfs")
    tests = tests_of("def test_vfs(host):\n    assert host.run('cat /etc/vfs').stdout.strip() != '8'\n")
    verdicts = verify(tests)
    assert [verdicts[name].passed for name in NAMES] == [True, False, True]
    assert named(verdicts["node002"], "test_vfs").outcome == "failed"
    assert "test_site.py:2: assert '8' != '8'" in verdicts["node002"].why
    log = (tmp_path / "logs/node002.log").read_text()
    assert "$ cat /etc/vfs" in log and "| 8" in log


def test_a_wrong_package_a_changed_a_missing_and_an_extra_file_are_named(
    verify: Verify, nodes: Nodes, known: Store
) -> None:
    nodes.run("node001", "printf x | dd of=/opt/site/tool conv=notrunc bs=1 seek=2 2>/dev/null")
    nodes.run("node001", "chmod 600 /etc/modprobe.d/mlx4_core.conf; chown 8:9 /etc/passwd")
    nodes.run("node001", "rm /etc/neutron/plugins/mlnx/mlnx_conf.ini; ln -sfn other /opt/site/link")
    nodes.run("node001", "mkdir /etc/new.d; touch /etc/new.d/a /etc/new.d/b /opt/site/new; date >/etc/hosts")
    nodes.run("node002", "rpm -e --nodeps --justdb wget || rpm -e --nodeps --justdb which")
    verdicts = verify()
    files = named(verdicts["node001"], "files")
    assert files.outcome == "failed"
    assert files.why.splitlines() == [
        "5 files differ",
        "  /opt/site/tool: other content",
        "  /etc/neutron/plugins/mlnx/mlnx_conf.ini: missing",
        "  /etc/modprobe.d/mlx4_core.conf: mode 600 instead of 644",
        "  /opt/site/link: link to other instead of tool",
        "  /etc/passwd: owner 8 instead of 0, group 9 instead of 0",
    ]
    assert verdicts["node001"].facts["extra_files"].splitlines() == [
        "2 files are not of the version",
        "  /etc/new.d: not of the version",
        "  /opt/site/new: not of the version",
    ]
    assert named(verdicts["node001"], "packages").outcome == "passed"
    packages = named(verdicts["node002"], "packages")
    assert packages.outcome == "failed"
    assert packages.why.splitlines()[0] == "1 package differs"
    assert packages.why.endswith("is missing")
    assert verdicts["node003"].passed


def test_files_that_differ_by_right_are_left_out(verify: Verify, nodes: Nodes) -> None:
    nodes.run("node001", "echo a >>/etc/passwd; rm -r /etc/neutron; mkdir /etc/site; touch /etc/site/a")
    verdicts = verify(ignore=(*LABS_OWN, "/etc/pass*", "/etc/neutron/", "etc/site"))
    assert verdicts["node001"].passed
    assert verdicts["node001"].facts == {}


def test_a_node_that_cannot_be_reached_fails_and_says_why(
    verify: Verify, tests_of: Write, nodes: Nodes
) -> None:
    nodes["node002"].stop()
    verdicts = verify(tests_of("def test_up(host):\n    assert host.run('true').rc == 0\n"))
    assert [verdicts[name].passed for name in NAMES] == [True, False, True]
    assert verdicts["node002"].why.startswith("unreachable: ssh: connect to host")
    assert outcomes(verdicts["node002"]) == {"ssh": "error"}


def test_a_node_that_refuses_the_key_fails_and_says_so(
    verify: Verify, tests_of: Write, nodes: Nodes, reached: dict[str, Reached], tmp_path: Path
) -> None:
    (nodes["node003"].folder / "keys/authorized_keys").write_text("")
    try:
        verdicts = verify(tests_of("def test_up(host):\n    assert host.run('true').rc == 0\n"))
    finally:
        shutil.copy(nodes["node001"].folder / "keys/authorized_keys", nodes["node003"].folder / "keys")
    assert [verdicts[name].passed for name in NAMES] == [True, True, False]
    assert "Permission denied" in verdicts["node003"].why


def test_a_command_that_hangs_is_an_error_of_its_test_on_that_node_alone(
    verify: Verify, tests_of: Write, nodes: Nodes
) -> None:
    nodes.run("node001", "touch /etc/hangs")
    tests = tests_of(
        "def test_slow(host):\n    assert host.run('[ ! -e /etc/hangs ] || sleep 1000').rc == 0\n"
        "def test_quick(host):\n    assert host.run('true').rc == 0\n"
    )
    began = time.monotonic()
    verdicts = verify(tests, command_seconds=2.0)
    assert time.monotonic() - began < 30
    assert [verdicts[name].passed for name in NAMES] == [False, True, True]
    assert outcomes(verdicts["node001"]) | {"test_slow": "error", "test_quick": "passed"} == outcomes(
        verdicts["node001"]
    )
    assert "no answer: not done in 2 s: [ ! -e /etc/hangs ] || sleep 1000" in verdicts["node001"].why


def test_a_node_that_hangs_whole_fails_when_its_time_is_over(
    verify: Verify, tests_of: Write, nodes: Nodes
) -> None:
    nodes.run("node002", "mkfifo /etc/never")
    command = "[ ! -e /etc/never ] || { trap '' TERM; exec 9<>/etc/never; read x <&9; }"
    tests = tests_of(f"def test_ignores(host):\n    assert host.run({command!r}).rc == 0\n")
    verdicts = verify(tests, command_seconds=1.0, seconds=5.0)
    assert [verdicts[name].passed for name in NAMES] == [True, False, True]
    assert re.search(r"not done in [56] s, in: \[ ! -e /etc/never \]", verdicts["node002"].why)


def test_a_test_that_kills_its_process_is_an_error_on_that_node_and_the_others_are_tested(
    verify: Verify, tests_of: Write
) -> None:
    tests = tests_of(
        "import os\n"
        "def test_before(host):\n    assert host.run('true').rc == 0\n"
        "def test_dies(node):\n    if node.name == 'node002':\n        os._exit(0)\n"
        "    assert True\n"
    )
    verdicts = verify(tests)
    assert [verdicts[name].passed for name in NAMES] == [True, False, True]
    assert named(verdicts["node002"], "test_dies").outcome == "error"
    assert "in this test the process of the tests ended with exit code 0" in verdicts["node002"].why
    assert named(verdicts["node002"], "files").outcome == "passed"


def test_tests_that_always_die_fail_every_node(verify: Verify, tests_of: Write) -> None:
    verdicts = verify(tests_of("import os\ndef test_dies(host):\n    os._exit(0)\n"))
    assert not any(verdict.passed for verdict in verdicts.values())


def test_a_test_that_never_ends_is_an_error_on_its_node(verify: Verify, tests_of: Write) -> None:
    tests = tests_of(
        "def test_loops(node):\n    while node.name == 'node001':\n        pass\n    assert True\n"
    )
    verdicts = verify(tests, seconds=3.0)
    assert verdicts["node001"].passed is False
    assert "the time for the tests of a node was over" in named(verdicts["node001"], "test_loops").why


def test_the_head_node_is_asked_by_tests_of_nodes(
    verify: Verify, tests_of: Write, reached: Mapping[str, Reached]
) -> None:
    tests = tests_of("def test_head(host, head):\n    assert head.check_output('hostname') == 'node003'\n")
    verdicts = verify(tests, head=reached["node003"])
    assert all(verdict.passed for verdict in verdicts.values()), verdicts
    verdicts = verify(tests)
    assert "nothing says how the head node is reached" in verdicts["node001"].why


def test_what_comes_late_is_waited_for_by_asking_again(verify: Verify, tests_of: Write, nodes: Nodes) -> None:
    tests = tests_of(
        "def test_late(host, until):\n"
        "    host.run('(sleep 1; touch /tmp/late) >/dev/null 2>&1 &')\n"
        "    assert until(lambda: host.file('/tmp/late').exists, seconds=20, every=0.2)\n"
    )
    verdicts = verify(tests)
    assert all(verdict.passed for verdict in verdicts.values()), verdicts


def test_fixtures_of_every_scope_are_made_anew_for_each_node(verify: Verify, tests_of: Write) -> None:
    tests = tests_of(
        "import pytest\n"
        "@pytest.fixture(scope='module')\n"
        "def name(host):\n    return host.check_output('hostname')\n"
        "@pytest.fixture(scope='session')\n"
        "def again(node):\n    return node.name\n"
        "class TestAll:\n"
        "    @pytest.mark.parametrize('x', [1, 2])\n"
        "    def test_names(self, name, again, node, x):\n"
        "        assert not hasattr(self, 'seen')\n"
        "        self.seen = True\n"
        "        assert name == again == node.name\n"
    )
    verdicts = verify(tests)
    assert all(verdict.passed for verdict in verdicts.values()), verdicts


def test_what_is_no_version_is_compared_with_its_directory_on_the_head_node(
    verify: Verify, tests_of: Write, nodes: Nodes, openstack_image: Path
) -> None:
    tests = tests_of("def test_no(host):\n    assert False\n")
    old = Target("openstack-image", path=str(openstack_image))
    nodes.run("node001", "rm -r /etc/profile.d; chmod 600 /etc/passwd")
    nodes["node002"].stop()
    verdicts = verify(tests, target=old, listed=partial(listed, Head()))
    files = named(verdicts["node001"], f"is exactly {openstack_image}: files")
    assert files.why.splitlines() == [
        "2 files differ",
        "  /etc/profile.d: missing",
        "  /etc/passwd: mode 600 instead of 644",
    ]
    assert [verdicts[name].passed for name in NAMES] == [False, False, True]
    assert outcomes(verdicts["node003"]) == {f"is exactly {openstack_image}: files": "passed"}
    unknown = "not verified against a version: openstack-image is none of this store"
    told = f"{unknown}: its files were compared with {openstack_image} of the head node"
    assert verdicts["node003"].notes == (told,)


@pytest.mark.parametrize("path", ["", "/nowhere/openstack-image"])
def test_what_can_be_compared_with_nothing_is_told_as_that(
    verify: Verify, tests_of: Write, nodes: Nodes, path: str
) -> None:
    nodes["node001"].stop()
    target = Target("openstack-image", path=path)
    tests = tests_of("def test_no(host):\n    assert False\n")
    verdicts = verify(tests, target=target, listed=partial(listed, Head()))
    assert [verdicts[name].passed for name in NAMES] == [False, True, True]
    why = f"the head node has no {path}" if path else "nobody knows its directory"
    unknown = "not verified against a version: openstack-image is none of this store"
    assert verdicts["node002"].notes == (f"{unknown}; {why}: it was only seen that the node answers",)


def test_the_plan_says_what_is_looked_at(known: Store, tests_of: Write) -> None:
    verifier = NodeVerifier(known, tests_of(TESTS))
    node = Node("node001", "compute")
    assert verifier.steps(node, WEB)[0] == "pytest test_site.py over ssh"
    first, last = verifier.steps(node, Target("openstack-image", path="/cm/images/openstack-image"))
    assert "with /cm/images/openstack-image on the head node" in first
    assert last == "no tests: not verified against a version: openstack-image is none of this store"


def test_nothing_is_left_on_nodes_nor_here(verify: Verify, tests_of: Write, nodes: Nodes) -> None:
    tests = tests_of("def test_a(head):\n    assert head.run('echo $PIPELINE_FILES').stdout == ''\n")
    verdicts = verify(tests, head=Reached("head", local=True))
    files = re.search(r"/\S+/pipeline\.\w+", verdicts["node001"].why)
    assert files and not Path(files[0]).exists()
    assert nodes.run("node001", "ls -d /tmp/pipeline* /dev/shm/pipeline* 2>/dev/null; true") == ""
    assert not [thread for thread in threading.enumerate() if thread.name == "shells"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no test"),
        ("import nothing_of_that_name\n", "No module named 'nothing_of_that_name'"),
        ("def test_x(:\n", "SyntaxError"),
    ],
)
def test_a_file_without_tests_is_found_before_and_fails_every_node(
    verify: Verify, tests_of: Write, known: Store, text: str, told: str
) -> None:
    tests = tests_of(text)
    found = NodeVerifier(known, tests).find(())
    assert [(finding.severity, told in finding.what) for finding in found] == [("error", True)], found
    verdicts = verify(tests)
    assert not any(verdict.passed for verdict in verdicts.values())
    assert any(told in check.why for check in verdicts["node001"].checks)


def test_missing_files_and_no_files_are_found_before(known: Store, tmp_path: Path) -> None:
    assert [(found.severity, found.where) for found in NodeVerifier(known, [tmp_path / "x.py"]).find(())] == [
        ("error", str(tmp_path / "x.py"))
    ]
    assert [found.severity for found in NodeVerifier(known, []).find(())] == ["warning"]
