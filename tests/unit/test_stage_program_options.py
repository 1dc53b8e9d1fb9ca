"""Options of the stage types that run programs: their mistakes, their manuals, and what they ask for."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import Any

import msgspec
import pytest

from pipeline.packaging import repofile
from pipeline.stages import stage_type
from pipeline.stages.base import SourceRequest
from pipeline.stages.kernel import Kernel
from pipeline.stages.repository import Repository

TYPES = ("packages", "repository", "command", "service", "kernel")


def mistakes(kind: str, options: dict[str, object]) -> tuple[tuple[str, str], ...]:
    return msgspec.convert({"type": kind, "name": "x", **options}, stage_type(kind)).check()


@pytest.mark.parametrize("kind", TYPES)
def test_the_example_in_a_manual_is_right(kind: str) -> None:
    manual = (stage_type(kind).__doc__ or "").splitlines()
    start = next(number for number, line in enumerate(manual) if "[[stage]]" in line)
    example: list[str] = []
    for line in manual[start:]:
        if line.strip() and not line.startswith(" " * 8):
            break
        example.append(line[8:])
    stages = tomllib.loads("\n".join(example))["stage"]
    assert stages
    for stage in stages:
        assert msgspec.convert(stage, stage_type(kind)).check() == ()


@pytest.mark.parametrize("kind", TYPES)
def test_a_manual_explains_every_option(kind: str) -> None:
    manual = stage_type(kind).__doc__ or ""
    for option in stage_type(kind).__struct_fields__:
        assert option == "name" or f"\n    {option} " in manual, option


def test_nothing_slow_is_imported_with_the_types() -> None:
    modules = ", ".join(f"pipeline.stages.{kind}" for kind in TYPES)
    slow = ["requests", "sh", "tenacity", "rich", "jinja2", "toml", "configparser"]
    code = (
        f"import sys, {modules}, pipeline.packaging.resolve; print([m for m in {slow} if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"


@pytest.mark.parametrize(
    ("kind", "options", "option", "words"),
    [
        ("command", {}, "argv", "exactly one of argv and shell"),
        ("command", {"argv": ["a"], "shell": "b"}, "argv", "exactly one of argv and shell"),
        ("command", {"argv": [""]}, "argv", "empty"),
        ("command", {"shell": " \n"}, "shell", "nothing in it"),
        ("command", {"shell": "a", "cwd": "opt"}, "cwd", "not absolute"),
        ("command", {"shell": "a", "exit_codes": []}, "exit_codes", "none would mean success"),
        ("command", {"shell": "a", "env": {"A=B": "c"}}, "env", "is no name"),
        ("command", {"shell": "a", "logs": ["tmp/*"]}, "logs", "not absolute"),
        ("command", {"shell": "a", "fail_on": ["("]}, "fail_on", "no regular expression"),
        ("command", {"shell": "a", "tolerate": [{"pattern": "[", "because": "b"}]}, "tolerate", "no regular"),
        ("command", {"shell": "a", "tolerate": [{"pattern": "a", "because": " "}]}, "tolerate", "because"),
        ("command", {"shell": "a", "require": [{}]}, "require", "number 1: exactly one of"),
        ("command", {"shell": "a", "require": [{"file": "x"}]}, "require", "not absolute"),
        ("command", {"shell": "a", "require": [{"file": "/x", "stdout": "a"}]}, "require", "go with argv"),
        (
            "command",
            {"shell": "a", "require": [{"shell": "x", "contains": "a"}]},
            "require",
            "goes with file",
        ),
        ("command", {"shell": "a", "require": [{"shell": "x", "stdout": "*"}]}, "require", "no regular"),
        ("service", {}, "enable", "nothing to do"),
        ("service", {"enable": ["a b"]}, "enable", "is no name"),
        ("service", {"enable": ["--now"]}, "enable", "is no name"),
        ("service", {"enable": ["a"], "disable": ["a"]}, "disable", "to be enabled as well"),
        ("service", {"enable": ["a"], "levels": "37"}, "levels", "no runlevels"),
        ("service", {"enable": ["a"], "levels": "33"}, "levels", "no runlevels"),
        ("kernel", {"release": "../x"}, "release", "is no release"),
        ("kernel", {"append_parameters": ["a b"]}, "append_parameters", "not one kernel parameter"),
        ("kernel", {"append_parameters": ["a\nb"]}, "append_parameters", "not one kernel parameter"),
        ("kernel", {"append_parameters": ['q="', "b"]}, "append_parameters", "not one kernel parameter"),
        ("kernel", {"require_modules": ["x.ko"]}, "require_modules", "the name alone"),
        ("repository", {"baseurl": "http://a"}, "id", "needed"),
        ("repository", {"id": "a"}, "baseurl", "exactly one of"),
        ("repository", {"id": "a", "baseurl": "/srv"}, "baseurl", "is no URL"),
        ("repository", {"id": "../a", "baseurl": "http://a"}, "id", "is no name"),
        ("repository", {"source": "http://a/"}, "id", "has no name that could be used"),
        (
            "repository",
            {"source": "http://a/b.repo", "enabled": False},
            "enabled",
            "not together with source",
        ),
        ("repository", {"source": "http://a/b.repo", "sha256": "12"}, "sha256", "64"),
        (
            "repository",
            {"id": "a", "baseurl": "http://a", "options": {"gpgcheck": "0"}},
            "options",
            "is an option",
        ),
        ("repository", {"id": "a", "baseurl": "http://a", "options": {"a": "b\n[c]"}}, "options", "one line"),
    ],
)
def test_mistakes_are_named_with_their_option(
    kind: str, options: dict[str, object], option: str, words: str
) -> None:
    found = mistakes(kind, options)
    assert [name for name, _ in found] == [option]
    assert words in found[0][1]


def test_a_quoted_parameter_may_have_blanks() -> None:
    stage = Kernel(name="x", append_parameters=('dyndbg="file x +p"', "pci=realloc"))
    assert stage.check() == ()
    assert stage.kernel_parameters() == stage.append_parameters


def test_a_repository_asks_for_its_file_and_its_keys() -> None:
    stage = Repository(name="x", source="http://a/b.repo", sha256="0" * 64, import_key=("keys/a",))
    assert stage.sources() == (SourceRequest("http://a/b.repo", "0" * 64), SourceRequest("keys/a"))


def test_urls_are_sent_to_the_mirror_with_the_longest_prefix_and_back() -> None:
    mirrors = {"http://a/": "http://m/1/", "http://a/b/": "http://m/2/"}
    text = "baseurl=http://a/b/c http://a/d,http://z/\n#http://a/\nmirrorlist = http://a/?x=http://a/\n"
    expected = (
        "baseurl=http://m/2/c http://m/1/d,http://z/\n#http://m/1/\nmirrorlist = http://m/1/?x=http://a/\n"
    )
    assert repofile.redirected(text, mirrors) == expected
    assert repofile.from_mirror("http://m/2/c", mirrors) == "http://a/b/c"


def test_a_section_of_yum_conf_is_no_repository() -> None:
    assert repofile.sections("[main]\na=1\n[x]\nB = 2\n") == {"x": {"B": "2"}}


@pytest.mark.parametrize("value", ["0", "no", "False", " off "])
def test_every_way_to_switch_the_check_of_signatures_off_is_seen(value: str) -> None:
    assert list(repofile.unchecked(f"[a]\ngpgcheck={value}\n[b]\ngpgcheck=1\n[c]\n")) == ["a"]


@pytest.mark.parametrize(
    "line",
    [
        "gpgcheck=0 ; the vendor signs nothing",
        "gpgcheck=0 # the vendor signs nothing",
        "gpgcheck=1 ; or not",
        "gpgcheck=1\n 0",
        "gpgcheck=\n 0",
        "gpgcheck:0",
        "GPGCheck = 0",
        "gpgcheck=",
        "gpgcheck=$check",
        "pkg_gpgcheck=0",
    ],
)
def test_a_check_that_is_not_plainly_on_is_none(line: str) -> None:
    assert list(repofile.unchecked(f"[a]\n{line}\n[b]\ngpgcheck = Yes\n")) == ["a"]
    assert list(repofile.unchecked(f"[DEFAULT]\n{line}\n[b]\n")) == ["DEFAULT"]


@pytest.mark.parametrize(
    "head", ["[a] # our own", "[a] ; our own [b]", "[a]\r", "[a]  ", "[DEFAULT]\ngpgcheck=1\n[a]"]
)
def test_every_repository_that_says_nothing_is_made_to_check(head: str) -> None:
    text = repofile.checked(f"{head}\nbaseurl=http://a/\nGPGCHECK=1\n[b]\ngpgcheck=true\n")
    lines = text.splitlines()
    assert lines[lines.index("baseurl=http://a/") - 1] == "gpgcheck=1"
    assert text.count("gpgcheck") == head.count("gpgcheck") + 2


@pytest.mark.parametrize(
    "text",
    [
        "[a]\nx=1\r[b]\n",
        "[a]\nx=1\x0b[b]\n",
        "[a]\ninclude=http://a/b.repo\n",
        "\ufeff[a]\n",
        "[a\n",
        "  [a]\n  gpgcheck=1\n",
        "[a]\nx=1\n  [b]\n",
    ],
)
def test_a_file_that_yum_and_dnf_may_read_otherwise_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        repofile.checked(text)


@pytest.mark.parametrize(
    "option",
    [
        {"summary": "of ours\ngpgcheck=0"},
        {"summary": "of\x1b[31m"},
        {"baseurl": "http://a/\n[b]"},
        {"baseurl": "http://a/b\rgpgcheck=0"},
        {"gpgkey": ("http://a/k\ngpgcheck=0",)},
        {"options": {"priority": "1\x0bgpgcheck=0"}},
        {"options": {"pkg_gpgcheck": "0"}},
    ],
)
def test_a_repository_takes_one_line_for_each_value(option: dict[str, Any]) -> None:
    stage = msgspec.structs.replace(Repository(name="x", id="a", baseurl="http://a/"), **option)
    assert [name for name, _ in stage.check()] == list(option)
