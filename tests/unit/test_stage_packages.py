from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.packaging import transaction, yum
from pipeline.packaging.nevra import Nevra, matches, parse
from pipeline.stages.base import LockedPackage, PackageAnswer
from pipeline.stages.packages import Packages

WORD = st.text("abcXYZ019._+~", min_size=1)


@given(st.from_regex(r"[a-z][a-z0-9+_]*(-[a-z0-9]+)*", fullmatch=True), st.integers(0, 99), WORD, WORD, WORD)
def test_the_text_of_a_package_says_all_of_it(
    name: str, epoch: int, version: str, release: str, arch: str
) -> None:
    arch = arch.replace(".", "_")
    if name != "gpg-pubkey":
        package = Nevra(name, epoch, version, release, arch)
        assert parse(str(package)) == package


@pytest.mark.parametrize(
    "text", ["", "a", "a-1", "a-1-2", "a--1.x", "a-x:1-2.noarch", "a-:1-2.noarch", "a-1:-2.noarch"]
)
def test_what_is_no_nevra_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no name-"):
        parse(text)


def test_a_key_is_a_package_without_arch() -> None:
    assert str(parse("gpg-pubkey-c105b9de-4e0fd3a3")) == "gpg-pubkey-c105b9de-4e0fd3a3"


@pytest.mark.parametrize(
    "asked",
    [
        "bind-utils",
        "bind-utils.x86_64",
        "bind-utils-9.8",
        "bind-utils-9.8-2.el6",
        "bind-utils-9.8-2.el6.x86_64",
        "bind-utils-32:9.8-2.el6",
        "32:bind-utils-9.8-2.el6.x86_64",
        "bind-*",
        "*",
        "bind-utils-9.?-*",
    ],
)
def test_every_way_of_yum_to_ask_for_a_package_is_known(asked: str) -> None:
    assert matches(asked, parse("bind-utils-32:9.8-2.el6.x86_64"))


@pytest.mark.parametrize(
    "asked", ["bind", "bind-utils-9", "bind-utils.i686", "utils", "b*.i686", "Bind-utils"]
)
def test_other_names_do_not_mean_it(asked: str) -> None:
    assert not matches(asked, parse("bind-utils-32:9.8-2.el6.x86_64"))


def locked(*nevras: str) -> tuple[LockedPackage, ...]:
    return tuple(LockedPackage(nevra=nevra, location=nevra, size=1, sha256="0" * 64) for nevra in nevras)


def steps(
    present: tuple[str, ...],
    install: tuple[str, ...],
    remove: tuple[str, ...],
    obsoleted: tuple[str, ...] = (),
) -> transaction.Steps:
    answer = PackageAnswer(install=locked(*install), remove=remove)
    return transaction.steps(answer, tuple(map(parse, present)), frozenset(obsoleted))


def test_an_old_kernel_that_goes_when_a_third_one_comes_is_erased_afterwards() -> None:
    found = steps(("kernel-1-1.x86_64", "kernel-2-1.x86_64"), ("kernel-3-1.x86_64",), ("kernel-1-1.x86_64",))
    assert found.beside == locked("kernel-3-1.x86_64")
    assert found.erase_after == (parse("kernel-1-1.x86_64"),)
    assert found.upgrade == () and found.erase_first == ()


def test_the_library_of_another_arch_is_no_reason_to_install_side_by_side() -> None:
    found = steps(("glibc-2-1.x86_64",), ("glibc-2-1.i686",), ())
    assert found.upgrade == locked("glibc-2-1.i686")


def test_what_is_there_already_is_no_reason_to_install_side_by_side() -> None:
    assert steps(("a-1-1.noarch",), ("a-1-1.noarch",), ()).beside == ()


def test_only_what_has_no_successor_is_erased_first() -> None:
    found = steps(
        ("a-1-1.noarch", "b-1-1.noarch", "c-1-1.noarch"),
        ("a-2-1.noarch", "next-1-1.noarch"),
        ("a-1-1.noarch", "b-1-1.noarch", "c-1-1.noarch", "gone-1-1.noarch"),
        ("b",),
    )
    assert found.erase_first == (parse("c-1-1.noarch"),)
    assert found.erase_after == (parse("a-1-1.noarch"), parse("b-1-1.noarch"))


@pytest.mark.parametrize(
    "line",
    [
        "warning: %post(x-1-1.noarch) scriptlet failed, exit status 1",
        "error: %preun(x-1-1.noarch) scriptlet failed, exit status 3",
        "warning: %triggerin(x-1-1.noarch) scriptlet failed, signal 11",
        "warning: %posttrans(x-1-1.noarch) scriptlet failed, exit status 127",
        'error: lua script failed: [string "%pretrans(x-1-1.noarch)"]:1: no',
    ],
)
def test_every_kind_of_failed_scriptlet_is_found(line: str) -> None:
    said = transaction.Said()
    said.hear([f"line {number}" for number in range(20)])
    said.hear([line, "more"])
    [problem] = said.broken
    if "scriptlet failed" in line:  # with the ten lines before it
        assert problem.message.splitlines()[1:] == [f"  | line {n}" for n in range(10, 20)] + [f"  | {line}"]


def test_warnings_are_noted_once_and_those_about_keys_are_not() -> None:
    lines = [
        "warning: user neutron does not exist - using root",
        "warning: user neutron does not exist - using root",
        "warning: /x.rpm: Header V4 RSA/SHA256 Signature, key ID 12: NOKEY",
        "Preparing...",
    ]
    said = transaction.Said()
    said.hear(lines)
    assert list(said.noteworthy) == lines[:1]


YUM3 = """\
Repo-id      : base/6/x86_64
Repo-name    : CentOS-6 - Base
Repo-mirrors : http://mirrorlist.invalid/
Repo-baseurl : http://a.invalid/os/ (9 more)
Repo-expire  : 21,600 second(s)

Repo-id      : updates
Repo-name    : nothing known
"""
DNF5 = """\
Repo ID                 : fedora
Name                    : Fedora
Base URL                : http://b.invalid/os (62 more)
"""


def test_the_urls_of_repositories_are_read_as_each_package_manager_prints_them() -> None:
    assert yum.base_urls(YUM3) == {"base": "http://a.invalid/os/"}
    assert yum.base_urls(DNF5) == {"fedora": "http://b.invalid/os"}
    assert yum.base_urls("No repositories available\n") == {}


def test_the_words_of_dnf_are_quoted_from_the_complaint_on() -> None:
    text = "Last metadata\nError: \n Problem: conflicting requests\n" + "setting: 1\n" * 50
    assert yum.words(text)[:2] == ["Error: ", " Problem: conflicting requests"]
    assert yum.words("one\ntwo") == ["one", "two"]


@pytest.mark.parametrize(
    ("options", "option", "words"),
    [
        ({}, "install", "nothing to do"),
        ({"install": ("@base",)}, "install", "is a group"),
        ({"install": ("a b",)}, "install", "blanks"),
        ({"install": ("",)}, "install", "empty"),
        ({"install": ("--nogpgcheck",)}, "install", "would be an option"),
        ({"install": ("http://a.invalid/b",)}, "install", "does not end in .rpm"),
        ({"upgrade": ("a", "a")}, "upgrade", "stands there twice"),
        ({"remove": ("a.rpm",)}, "remove", "is no name of a package"),
        ({"remove": ("/bin/sh",)}, "remove", "is no name of a package"),
        ({"install": ("a",), "remove": ("a",)}, "remove", "asked for as well"),
    ],
)
def test_mistakes_are_named_with_their_option(
    options: dict[str, tuple[str, ...]], option: str, words: str
) -> None:
    found = Packages(name="x", **options).check()
    assert len(found) == 1
    assert found[0][0] == option and words in found[0][1]


@pytest.mark.parametrize(
    ("said", "unsigned"),
    [
        ("Package eswitchd-1.0-1.noarch.rpm is not signed", True),
        ("Public key for eswitchd-1.0-1.noarch.rpm is not installed", True),
        ("Error: GPG check FAILED", True),
        ("You have enabled checking of packages via GPG keys. This is a good thing.", True),
        ('PGP check for package "eswitchd" from repo "mlnx" has failed: No key.', True),
        ("No package nosuch available.", False),
        ("Error: nothing provides gpg-pubkey needed by gpgme-1.0", False),
    ],
)
def test_words_about_missing_signatures_are_known(said: str, unsigned: bool) -> None:
    assert bool(yum.UNSIGNED.search(f"Downloading\n{said}\n")) is unsigned
