"""The list of all packages, and the labels by which one asks for them."""

from __future__ import annotations

import pytest

from pipeline.verify.messages import Ran
from pipeline.verify.packages import CERTAIN, Rpm, by_label, parse

KERNELS = b"kernel\t(none)\t2.6.32\t431.el6\tx86_64\nkernel\t(none)\t2.6.32\t504.el6\tx86_64\n"
KEY = b"gpg-pubkey\t(none)\tc105b9de\t4e0fd3a3\t(none)\n"


def test_a_package_answers_to_each_of_its_labels() -> None:
    labels = by_label(parse(Ran(0, b"bind\t32\t9.8.2\t1.el6\tx86_64\n", b"")))
    assert set(labels) == {
        *("bind", "bind-9.8.2", "bind-9.8.2-1.el6"),
        *("bind.x86_64", "bind-9.8.2.x86_64", "bind-9.8.2-1.el6.x86_64"),
    }
    assert labels["bind"][0].nevra == "bind-32:9.8.2-1.el6.x86_64"


@pytest.mark.parametrize("label", ["bash", "libstdc++6", "bash-5.2.15-2+b13.x86_64", "g++", "a", "a_b~rc1"])
def test_an_everyday_label_needs_no_rpm(label: str) -> None:
    assert CERTAIN.fullmatch(label)


@pytest.mark.parametrize(
    "label",
    [
        "bash-*",
        "bash-5.2.1?",
        "bas[h]",
        "bash-0:5.2.15",
        "bind-32:9.8.2",
        "bash.",
        "-a",
        "",
        "a b",
        "ü",
        "a^b",
        "/a",
    ],
)
def test_a_label_that_is_not_certain_is_left_to_rpm(label: str) -> None:
    assert not CERTAIN.fullmatch(label)


def test_several_packages_of_one_name_are_all_found() -> None:
    labels = by_label(parse(Ran(0, KERNELS + KEY, b"")))
    assert [package.release for package in labels["kernel"]] == ["431.el6", "504.el6"]
    assert labels["kernel-2.6.32-504.el6"] == (Rpm("kernel", "(none)", "2.6.32", "504.el6", "x86_64"),)
    assert "gpg-pubkey" in labels and "gpg-pubkey.(none)" not in labels


@pytest.mark.parametrize(
    ("ran", "reason"),
    [
        (Ran(127, b"", b"sh: rpm: not found\n"), "rpm: not found"),
        (Ran(0, b"", b""), "missing or empty"),
        (Ran(0, KERNELS, b"error: rpmdb: damaged header #5\n"), "damaged header"),
        (Ran(1, KERNELS, b""), "exit code 1"),
    ],
)
def test_a_query_that_went_wrong_is_no_list(ran: Ran, reason: str) -> None:
    with pytest.raises(RuntimeError, match=reason):
        parse(ran)
