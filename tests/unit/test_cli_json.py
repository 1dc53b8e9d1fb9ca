"""What commands print for programs."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.cli import VERBS, main, stages
from pipeline.store.store import Store

PROSE_ONLY = {"shell", "schema"}
"""The output of the one is that of what runs in it; the other's is JSON as it is."""


SUBVERBS = {
    "rollout": [["start"], ["status"], ["resume"], ["abort"], ["rollback"]],
    "cluster": [["plan"], ["apply"], ["status"], ["import", "a"], ["run", "firmware"]],
}
"""Verbs that have verbs of their own, with the words that these need."""

COMMANDS = [
    (verb, *words) for verb in sorted(VERBS.keys() - PROSE_ONLY) for words in SUBVERBS.get(verb, [[]])
]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "pipeline.toml"
    file.write_text('[site]\nstore = "store"\nimages = "images"\n[lab]\nhome = "lab"\n')
    return file


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_can_print_one_document(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    assert re.search(r"--json\b", capsys.readouterr().out)


def test_the_lab_tells_where_its_parts_are_and_which_are_built(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site.parent / "lab/images/openstack-image").mkdir(parents=True)
    assert main(["--site", str(site), "lab", "status", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    lab = site.parent / "lab"
    assert told["bases"]["openstack-image"] == {"path": str(lab / "images/openstack-image"), "built": True}
    assert told["bases"]["virtual-node-image"]["built"] is False
    assert told["vendor"] == {"path": str(lab / "mirror"), "built": False}


def test_the_keys_of_lists_are_those_that_the_page_names(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store.open(site.parent / "store")
    (site.parent / "recipes").mkdir()
    page = (Path(__file__).parents[2] / "docs/exit-codes.md").read_text()
    for words in (["doctor"], ["gc", "--dry-run"], ["lab", "status"]):
        main(["--site", str(site), *words, "--json"])
        told = json.loads(capsys.readouterr().out)
        row = re.search(rf"(?m)^\| `{words[0]}\b.*$", page)
        assert row is not None
        assert told.keys() <= set(re.findall(r"`([a-z_]+)`", row[0])), words


def test_every_verb_of_the_cluster_is_held_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cluster", "--help"])
    shown = re.findall(r"(?m)^    (\w+)  ", capsys.readouterr().out)
    assert shown == [words[0] for words in SUBVERBS["cluster"]]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    "site_toml", ["[site\n", '[site]\nstore = "s"\nimages = "i"\nstorre = 1\n'], ids=["syntax", "key"]
)
def test_every_command_prints_one_document_for_a_wrong_site(
    site_toml: str, words: tuple[str, ...], site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if words[0] in {"doctor", "stages"}:
        pytest.skip("reads no site, or tells of it as of one check")
    site.write_text(site_toml)
    code = main(["--site", str(site), *words, *NEEDED.get(words[0], ()), "--json"])
    told = capsys.readouterr()
    assert code == 2
    [problem] = json.loads(told.out)["problems"]
    assert problem.keys() == {"message", "where", "hint", "command"}
    assert problem["message"] in told.err
    assert "pipeline.toml:" in problem["where"]


NEEDED = {
    "diff": ["a", "b"],
    "explain": ["a"],
    "lab": ["status"],
    "publish": ["a"],
    "rollback": ["a"],
    "show": ["a"],
    "sign": ["a", "--statement"],
    "unpublish": ["a"],
    "verify": ["a"],
}


def test_a_build_of_an_unknown_image_has_the_keys_of_a_build(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--site", str(site), "build", "--json", "nope"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == []
    assert 'no recipe "nope"' in told["problems"][0]["message"]


@pytest.mark.parametrize("words", [["build", "--json", "--nope"], ["--json", "nope"], ["show", "--json"]])
def test_a_wrong_command_line_prints_one_document_too(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    told = capsys.readouterr()
    [problem] = json.loads(told.out)["problems"]
    assert ended.value.code == 2
    assert problem["message"] in told.err


def test_the_end_of_a_command_after_two_dashes_is_not_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["build", "x", "--", "ls", "--json"])
    assert capsys.readouterr().out == ""


INTERRUPTED_AT_ONCE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where whoever runs the tests ignores it
sys.argv = ["pipeline", "build", "--json"]
from pipeline.__main__ import run
os.kill(os.getpid(), signal.SIGINT)
run()
"""


def test_a_build_that_is_interrupted_before_its_work_prints_one_document() -> None:
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED_AT_ONCE], capture_output=True, timeout=60)
    assert ended.returncode == 130
    document = json.loads(ended.stdout)
    assert document["images"] == []
    assert document["problems"][0]["message"] == "interrupted"
    assert b"interrupted; finished stages are kept" in ended.stderr


def test_an_option_of_a_verb_before_it_is_told_to_go_after_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--json", "versions", "web"])
    found = capsys.readouterr()
    [problem] = json.loads(found.out)["problems"]
    assert problem["hint"] == "--json goes after the verb: pipeline versions --json"
    assert "--json goes after the verb: pipeline versions --json" in found.err
    with pytest.raises(SystemExit):
        main(["versions", "--jsno"])
    assert "after the verb" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the output: No space left on device"),
        (errno.EMFILE, "Too many open files"),
        (errno.ECHILD, "a defect of this program: ChildProcessError: [Errno 10] No child processes"),
    ],
)
def test_only_errors_of_writing_are_those_of_the_output(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    number: int,
    said: str,
) -> None:
    def fail(_options: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(stages, "run", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["stages"]) == 1
    assert capsys.readouterr().err.startswith(f"pipeline: {said}\n  hint: ")
