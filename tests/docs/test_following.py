"""The tests of the documents notice what they are there for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import pages
from tests.docs.following import alike, follow
from tests.docs.pages import steps
from tests.lab.project import Project


def followed(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which a page of this text has been followed."""
    monkeypatch.setattr(pages, "REPOSITORY", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(text)
    project = Project(tmp_path / "project")
    project.path.mkdir()
    follow(steps(page), project, tmp_path / "scratch")
    return project.path


GOOD = {
    "output": "```console\n$ echo 3 files, 1.2 MB\n4 files, 0.1 kB\n```\n",
    "left out": "```console\n$ printf 'a\\nb\\nc\\n'\na\n…\nc\n```\n",
    "a failure that is shown": "```console\n$ echo pipeline: no; false\npipeline: no\n```\n",
    "a code that is shown": "```console\n$ sh -c 'exit 4'\n$ echo $?\n4\n```\n",
    "folders and variables": "```console\n$ mkdir d && cd d && here=$PWD\n$ test $(pwd) = $here\n```\n",
    "a command of two lines": "```console\n$ echo a \\\n    b\na b\n```\n",
    "a script": "```sh\nif true\nthen :\nfi\n```\n",
    "text that is not run": "```text\n$ false\n```\n",
}

WRONG = {
    "output that does not come": "```console\n$ echo one\ntwo\n```\n",
    "another order": "```console\n$ printf 'a\\nb\\n'\nb\na\n```\n",
    "a failure": "```console\n$ false\n```\n",
    "a failure in the middle": "```console\n$ false\n$ true\n```\n",
    "a success that should fail": "```console\n$ echo pipeline: no\npipeline: no\n```\n",
    "another code": "```console\n$ sh -c 'exit 4'\n$ echo $?\n5\n```\n",
    "a program that is not there": "```sh\nno-such-program\n```\n",
    "a syntax error": "```console\n$ echo (\n```\n",
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_a_page_that_is_true_passes(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    followed(tmp_path, text, monkeypatch)


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_page_that_is_wrong_fails(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        followed(tmp_path, text, monkeypatch)


def test_a_file_that_a_page_names_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "```toml\n# recipes/x.toml\na = 1\n```\n```console\n$ cat recipes/x.toml\na = 1\n```\n"
    written = followed(tmp_path, text, monkeypatch) / "recipes/x.toml"
    assert written.read_text().endswith("a = 1\n")


def test_the_commands_of_this_checkout_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followed(tmp_path, "```console\n$ pipeline stages\nedit … file…\n```\n", monkeypatch)


@pytest.mark.parametrize(
    ("shown", "line", "same"),
    [
        ("made 2026-11-22 15:15:30 +0000", "made 2027-01-01 01:01:01 +0200", True),
        ("ran   0.12 s  230.3 kB", "ran  10.12 s    1 B", True),
        ("layer bddd7d74e10451320938", "layer 0123456789abcdef0123", True),
        ("cached", "ran", False),
        ("x@1 is /srv/x-1, …", "x@1 is /srv/x-1, and more", True),
        ("x@1 is /srv/x-1, …", "y@1 is /srv/x-1, and more", False),
    ],
)
def test_only_figures_dates_and_digests_may_differ(shown: str, line: str, same: bool) -> None:
    assert alike(shown, line) is same
