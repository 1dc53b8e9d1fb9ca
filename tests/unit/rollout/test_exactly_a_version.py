"""What differs between a node and its version: which paths count, and how differences are told."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipeline.rollout import exact
from pipeline.rollout.expected import Expected, expected
from pipeline.rollout.ignoring import IGNORED, PRUNED, matcher
from pipeline.store.store import Store
from tests.small_store import add_version, commit_layer


@pytest.mark.parametrize(
    ("path", "is_left_out"),
    [
        ("etc/hosts", True),
        ("etc/hosts.allow", False),
        ("etc/hostsfile", False),
        ("etc/ssh/ssh_host_rsa_key", True),
        ("etc/ssh/sshd_config", False),
        ("etc/sysconfig/network-scripts/ifcfg-eth0", True),
        ("etc/udev/rules.d/70-persistent-net.rules", True),
        ("var/log/messages", True),
        ("var/logs", False),
        ("usr/lib/python2.6/site-packages/a/b.pyc", True),
        ("a.pyc", True),
        ("usr/lib/a.pycx", False),
        ("etc/neutron/plugins/mlnx/mlnx_conf.ini", False),
        ("lib/modules/2.6.32/modules.dep", True),
        ("lib/modules/2.6.32/extra/mlx4.ko", False),
        ("etc/site/deep/er/file", True),
        ("opt/a+b/x", True),
        ("opt/aab/x", False),
    ],
)
def test_what_differs_by_right_is_left_out_with_all_below(path: str, is_left_out: bool) -> None:
    left_out = matcher((*PRUNED, *IGNORED, "/etc/site/**/er", "/opt/a+b/"))
    assert bool(left_out.match(path)) is is_left_out


@pytest.fixture
def web(tmp_path: Path) -> Expected:
    """A version of a base and a stage that changes, adds and removes."""
    store = Store.open(tmp_path / "store")
    base = commit_layer(store, "a" * 64, _base).key[:20]
    stage = commit_layer(store, "b" * 64, _stage, [base]).key[:20]
    packages = ("bash-4.1.2-15.el6.x86_64", "perl-4:5.10.1-136.el6.x86_64", "wget-1.12-5.el6.x86_64")
    return expected(store, add_version(store, [base, stage], packages=packages), ["/etc/ours"])


def _base(root: Path) -> None:
    (root / "etc").mkdir()
    (root / "etc/base.conf").write_text("base")
    (root / "etc/gone").write_text("gone")
    (root / "etc/ours").write_text("ours")
    (root / "etc/hosts").write_text("hosts")


def _stage(root: Path) -> None:
    (root / "etc").mkdir()
    (root / "etc/stage.conf").write_text("stage")
    (root / "etc/stage.conf").chmod(0o4640)
    (root / "etc/link").symlink_to("stage.conf")
    (root / "opt").mkdir()


def test_the_manifests_say_what_a_node_should_have(web: Expected) -> None:
    lines = gzip.decompress(web.files).decode().splitlines()
    assert {line.split("\t")[0]: line.split("\t")[1:] for line in lines} == {
        "etc": ["d 755 0 0 -", ""],
        "etc/base.conf": ["f 644 0 0 4", ""],
        "etc/gone": ["f 644 0 0 4", ""],
        "etc/stage.conf": ["f 4640 0 0 5", ""],
        "etc/link": ["l 777 0 0 -", "stage.conf"],
        "opt": ["d 755 0 0 -", ""],
    }
    assert [line.split("  ")[1] for line in gzip.decompress(web.sums).decode().splitlines()] == [
        "etc/stage.conf"
    ]


def test_differences_are_told_the_most_telling_first(web: Expected) -> None:
    printed = (
        b"changed\tetc/base.conf\tf 644 0 0 4\t\tf 600 0 5 4\t\n"
        b"changed\tetc/link\tl 777 0 0 -\tstage.conf\td 755 0 0 -\t\n"
        b"extra\tetc/new\n"
        b"extra\tetc/resolv.conf.old\n"
        b"missing\topt\n"
        b"done\tfiles\n"
        b"content\tetc/stage.conf\n"
        b"done\tsums\n"
    )
    found = exact.files_differ(printed, web)
    assert found is not None
    assert [str(difference) for difference in found] == [
        "/etc/stage.conf: other content",
        "/opt: missing",
        "/etc/link: type d instead of l",
        "/etc/base.conf: mode 600 instead of 644, group 5 instead of 0",
        "/etc/new: not of the version",
    ]


@pytest.mark.parametrize("printed", [b"", b"done\tfiles\n", b"missing\tetc\n", b"done\tsums\n"])
def test_a_comparison_that_broke_off_says_nothing(web: Expected, printed: bytes) -> None:
    assert exact.files_differ(printed, web) is None


def rpms(*lines: str) -> bytes:
    return "".join(line.replace(" ", "\t") + "\n" for line in lines).encode()


SAME = (
    "bash (none) 4.1.2 15.el6 x86_64",
    "perl 4 5.10.1 136.el6 x86_64",
    "wget 0 1.12 5.el6 x86_64",
)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (SAME, ()),
        (tuple(reversed(SAME)), ()),
        (SAME[:2], ("wget-1.12-5.el6.x86_64 is missing",)),
        (
            (*SAME[:2], "wget (none) 1.13 1.el6 x86_64"),
            ("wget-1.13-1.el6.x86_64 instead of wget-1.12-5.el6.x86_64",),
        ),
        ((*SAME, "gpg-pubkey (none) a b (none)"), ("gpg-pubkey-a-b is not of the version",)),
        (
            (SAME[0], "perl 3 5.10.1 136.el6 x86_64", SAME[2]),
            ("perl-3:5.10.1-136.el6.x86_64 instead of perl-4:5.10.1-136.el6.x86_64",),
        ),
    ],
)
def test_packages_are_compared_by_their_whole_names(
    web: Expected, lines: tuple[str, ...], told: tuple[str, ...]
) -> None:
    assert exact.packages_differ(rpms(*lines), web.packages or ()) == told


def test_of_many_differences_twenty_are_named() -> None:
    lines = exact.told(
        [f"difference {number}" for number in range(30)], "file differs", "files differ"
    ).splitlines()
    assert lines[0] == "30 files differ"
    assert exact.told(["x"], "file differs", "files differ") == "1 file differs\n  x"
    assert (len(lines), lines[-1]) == (22, "  …")
