"""The block in a finalize script, carried out by a real shell, and frozen files of CMDaemon."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.cluster.drivers.bright.finalize import (
    CMD_CONF,
    ROOT,
    frozen_files,
    kept,
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


def test_a_script_of_somebody_else_stays_around_the_block() -> None:
    script = with_settings("#!/bin/bash\necho before\n", WANTED[:1]) + "echo behind\n"
    assert kept(script) == WANTED[:1]
    again = with_settings(script, [Setting(WANTED[0].name, "new", True), WANTED[2]])
    assert kept(again) == [Setting(WANTED[0].name, "new", True), WANTED[2]]
    assert again.startswith("#!/bin/bash\necho before\n# begin")
    assert again.endswith("cluster file\necho behind\n")
    assert with_settings(again, kept(again)) == again
