"""The block in a finalize script, carried out by a real shell, and frozen files of CMDaemon."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.cluster.drivers.bright.finalize import (
    CMD_CONF,
    ROOT,
    frozen_files,
    has_block,
    kept,
    other_interpreter,
    with_frozen,
    with_settings,
)
from pipeline.cluster.drivers.bright.modifications import Setting

INI = "/etc/neutron/x.ini"

WANTED = [
    Setting(f"{INI}[vlans]ranges", "a:1:10,b:11:20", True),
    Setting(f"{INI}[linux_bridge]mappings", 'it\'s $(reboot) \\1 & "x"', True),
    Setting(f"{INI}[new]key", "v", False),
]

OLD = "# top\n[vlans]\n# ranges = x\nranges = old\nranges=twice\nother = 1\n[linux_bridge]\n[last]\nk = 1\n"


@pytest.fixture
def node(tmp_path: Path) -> Path:
    (tmp_path / "etc/neutron").mkdir(parents=True)
    (tmp_path / INI[1:]).write_text(OLD)
    conf = tmp_path / CMD_CONF[1:]
    conf.parent.mkdir(parents=True)
    conf.write_text("Port = 8080\n# FrozenFile = { }\n")
    return tmp_path


def finalize(node: Path, script: str) -> None:
    subprocess.run(["bash", "-c", script.replace(ROOT, str(node))], check=True)


def test_the_block_sets_the_keys_and_freezes_the_file_twice_as_once(node: Path) -> None:
    script = with_settings("", WANTED)
    for _ in range(2):
        finalize(node, script)
    assert (node / INI[1:]).read_text() == (
        "# top\n[vlans]\n# ranges = x\nranges=a:1:10,b:11:20\nother = 1\n"
        '[linux_bridge]\nmappings=it\'s $(reboot) \\1 & "x"\n[last]\nk = 1\n[new]\nkey=v\n'
    )
    assert frozen_files((node / CMD_CONF[1:]).read_text()) == [INI]


def test_a_file_that_the_node_does_not_have_is_made(node: Path) -> None:
    finalize(node, with_settings("", [Setting("/etc/other/y.ini[a]b", "1", True)]))
    assert (node / "etc/other/y.ini").read_text() == "[a]\nb=1\n"


@pytest.mark.parametrize("script", ["", "#!/bin/sh\necho other\n", "echo other\n"])
def test_with_the_last_setting_the_block_goes(script: str) -> None:
    gone = [Setting(setting.name, None, False) for setting in WANTED]
    assert with_settings(with_settings(script, WANTED), gone) == script


def test_a_block_that_sets_nothing_freezes_nothing() -> None:
    block = with_settings("", WANTED)
    empty = "\n".join(line for line in block.splitlines() if not line.startswith(("#: ", "pipeline_")))
    assert has_block(block)
    assert not has_block(f"{empty}\n")


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("FrozenFile = { }", [INI]),
        ('FrozenFile = { "/etc/a" }', [INI, "/etc/a"]),
        (f'FrozenFile = {{ "/etc/a", "{INI}" }}', ["/etc/a", INI]),
    ],
    ids=["none", "others", "there"],
)
def test_files_that_were_frozen_stay_so(node: Path, line: str, files: list[str]) -> None:
    conf = node / CMD_CONF[1:]
    conf.write_text(f"A = 1\n{line}\nB = 2\n")
    finalize(node, with_settings("", WANTED))
    assert frozen_files(conf.read_text()) == files
    assert conf.read_text().startswith("A = 1\n")
    assert conf.read_text().endswith("\nB = 2\n")
    assert sorted(frozen_files(with_frozen(f"A = 1\n{line}\n", [INI]))) == sorted(files)


def test_a_script_of_somebody_else_stays_behind_the_block() -> None:
    script = with_settings("#!/bin/bash -e\necho before\n", WANTED[:1]) + "echo behind\n"
    assert kept(script) == WANTED[:1]
    again = with_settings(script, [Setting(WANTED[0].name, "new", True), WANTED[2]])
    assert kept(again) == [Setting(WANTED[0].name, "new", True), WANTED[2]]
    assert again.startswith("#!/bin/bash -e\n# begin")
    assert again.endswith("cluster file\necho before\necho behind\n")
    assert with_settings(again, kept(again)) == again


@pytest.mark.parametrize("first", ["#!/bin/sh\n", "#! /usr/bin/env bash\n", ""])
def test_the_block_is_carried_out_in_a_script_that_exits(node: Path, first: str) -> None:
    script = with_settings(f"{first}echo hello\nexit 0\n", WANTED[:1])
    finalize(node, script)
    assert "ranges=a:1:10,b:11:20\n" in (node / INI[1:]).read_text()


def test_a_block_behind_other_commands_may_never_run_and_counts_for_nothing() -> None:
    block = with_settings("", WANTED[:1]).partition("\n")[2]
    moved = f"#!/bin/sh\nexit 0\n{block}"
    assert kept(moved) == []
    assert with_settings(moved, WANTED[:1]) == f"#!/bin/sh\n{block}exit 0\n"


@pytest.mark.parametrize(
    "first", ["#!/usr/bin/python3", "#!/usr/bin/env perl", "#!/bin/bashful", "#!/bin/csh -f"]
)
def test_a_script_of_another_interpreter_is_told_apart(first: str) -> None:
    assert other_interpreter(f"{first}\nx = 1\n") == first.removeprefix("#!")
    assert not other_interpreter("#!/bin/bash\n")
    assert not other_interpreter("echo x\n")
