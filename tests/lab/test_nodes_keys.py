"""Keys of the lab's nodes, made by several at once and used meanwhile."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.lab.nodes import keys


def test_several_at_once_make_one_set_of_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = {made.read_text() for made in pool.map(_made, [tmp_path] * 8)}
    assert found == {(tmp_path / "keys/host_key.pub").read_text()}
    assert (tmp_path / "keys/known_hosts").read_text().split()[2] in found.pop()


def test_who_logs_in_meanwhile_finds_the_key(tmp_path: Path) -> None:
    """ssh reads the file in one go: it must never be there without its line."""
    known = keys.ensure(tmp_path) / "known_hosts"
    was = os.stat(known)
    keys.ensure(tmp_path)
    keys.write_clients(known.parent, tmp_path / "ssh_config", {"node001": ("127.0.0.1", 22)})
    assert os.stat(known).st_mtime_ns == was.st_mtime_ns
    known.write_text("")
    assert keys.ensure(tmp_path) == known.parent and known.read_text()


def test_ssh_goes_to_no_name_that_is_no_node_of_the_lab(tmp_path: Path) -> None:
    file = tmp_path / "ssh_config"
    keys.write_clients(tmp_path, file, {"node001": ("127.0.0.1", 1)})
    said = {
        name: subprocess.run(["ssh", "-F", file, name, "true"], capture_output=True, text=True).stderr
        for name in ("node001", "localhost")
    }
    assert "127.0.0.1 port 1: Connection refused" in said["node001"]
    assert said["localhost"] == "it is not up in the lab\n"


def _made(home: Path) -> Path:
    return keys.ensure(home) / "host_key.pub"
