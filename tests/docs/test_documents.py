"""Every command in the documents is run, and what else they say is held against the program."""

from __future__ import annotations

import argparse
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator

from pipeline import cli
from pipeline.cluster.rollout_written import CephTable, CommandTable, NovaTable, SlurmTable, VirtualTable
from pipeline.cluster.schema import schema as cluster_schema
from pipeline.recipe.schema import Kind, schema
from tests.docs.following import follow, fresh_clone, tidy
from tests.docs.pages import LINK, REPOSITORY, SPAN, blocks, pages, prose, steps

TRIED = {"console", "sh"}
OF_A_HEAD_NODE = re.compile(r"^\W*(?:\w+@\w+\W+)?(cmsh|systemctl|grubby|modprobe|rsync|ssh(?!-keygen))\b")
PLACEHOLDERS = {"VERB": "build", "N": "1"}
LARGEST = 140
"""Lines of a page: what is longer are two pages."""

DOCUMENTS = [pytest.param(page, id=str(page.relative_to(REPOSITORY))) for page in pages()]
FOLLOWED = [pytest.param(page, id=str(page.relative_to(REPOSITORY))) for page in pages() if steps(page)]


@pytest.mark.parametrize("page", FOLLOWED)
def test_who_follows_the_page_sees_what_it_shows(
    page: Path, tmp_path: Path, lab_home: Path, lab_images: object, lab_mirror: object
) -> None:
    project = fresh_clone(tmp_path / "project", lab_home)
    try:
        follow(steps(page), project, tmp_path / "scratch")
    finally:
        tidy(project)


@pytest.mark.parametrize("page", DOCUMENTS)
def test_what_only_a_head_node_knows_is_shown_as_text(page: Path) -> None:
    for block in blocks(page):
        if block.language in TRIED:
            wrong = [line for line in block.lines if OF_A_HEAD_NODE.match(line)]
            assert not wrong, f"{block.where}: {wrong}"


@pytest.mark.parametrize("page", DOCUMENTS)
def test_every_block_says_its_language(page: Path) -> None:
    assert [block.where for block in blocks(page) if not block.language] == []


@pytest.mark.parametrize("page", DOCUMENTS)
def test_code_is_fenced_so_that_it_is_looked_at(page: Path) -> None:
    lines = [(0, ""), *prose(page)]
    indented = [
        number
        for (_, before), (number, line) in pairwise(lines)
        if line.startswith("    ") and not before.strip()
    ]
    assert indented == []


@pytest.mark.parametrize("page", DOCUMENTS)
def test_every_mentioned_command_is_one(page: Path) -> None:
    wrong = []
    for place, command in _mentioned(page):
        try:
            _parse(command)
        except (SystemExit, argparse.ArgumentError, LookupError, ValueError) as error:
            wrong.append(f"{place}: {command}: {error}")
    assert wrong == []


@pytest.mark.parametrize("page", DOCUMENTS)
def test_every_mentioned_target_of_make_is_one(page: Path) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    said = set(re.findall(r"(?:`|^[$#] |&& )make ([a-z][\w-]*)", page.read_text(), re.MULTILINE))
    assert said - targets == set()


@pytest.mark.parametrize("page", DOCUMENTS)
def test_every_toml_block_is_what_its_schema_asks_for(page: Path) -> None:
    """But for files that the page has its reader write: the program itself says what it thinks of them."""
    written = {step.where for step in steps(page) if step.file}
    for block in blocks(page):
        if block.language == "toml" and block.where not in written:
            kind, document = _completed(tomllib.loads(block.text))
            asked = cluster_schema() if kind == "cluster" else schema(kind)
            faults = [error.message for error in Draft202012Validator(asked).iter_errors(document)]
            assert faults == [], f"{block.where}: {faults}"


@pytest.mark.parametrize("page", DOCUMENTS)
def test_every_link_leads_somewhere(page: Path) -> None:
    wrong = []
    for number, line in prose(page):
        for link in LINK.findall(line):
            path, _, heading = link.partition("#")
            target = page.parent / path if path else page
            if "://" in link:
                continue
            if not target.exists() or (heading and heading not in _headings(target)):
                wrong.append(f"{page.name}:{number}: {link}")
    assert wrong == []


def test_the_tables_of_hooks_are_described_with_all_their_keys() -> None:
    """Not only in the JSON schema: findings of a dry run tell people to write such a table."""
    text = (REPOSITORY / "docs/rollout-options.md").read_text()
    sections = {section.partition("\n")[0]: section for section in text.split("\n## ")}
    for heading, table in (
        ("Ceph", CephTable),
        ("Nova", NovaTable),
        ("Slurm", SlurmTable),
        ("Virtual nodes", VirtualTable),
        ("What a site adds", CommandTable),
    ):
        keys = table.__struct_fields__
        missing = [
            key for key in keys if not re.search(rf"[`^]{key}\b|^{key} =", sections[heading], re.MULTILINE)
        ]
        assert missing == [], heading


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [REPOSITORY / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for _, line in prose(page):
            waiting += [
                (page.parent / link.partition("#")[0]).resolve()
                for link in LINK.findall(line)
                if "://" not in link and not link.startswith("#")
            ]
    assert set(pages()) - reached == set()


@pytest.mark.parametrize("page", DOCUMENTS)
def test_a_page_is_short(page: Path) -> None:
    assert len(page.read_text().splitlines()) <= LARGEST


def _headings(page: Path) -> set[str]:
    """The anchors that GitHub and GitLab make of a page's headings."""
    titles = [line.lstrip("#").strip().lower() for _, line in prose(page) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def _mentioned(page: Path) -> Iterator[tuple[str, str]]:
    """Each command of this program that a page shows or speaks of, and where."""
    for number, line in prose(page):
        for span in SPAN.findall(line):
            if span.startswith("pipeline ") and "/" not in span.split()[1]:
                yield f"{page.name}:{number}", span
    for block in blocks(page):
        for number, line in enumerate(block.lines, block.line):
            found = re.match(r"(?:[$#] |sudo )*(?:\S*/)?pipeline (\w.*)", line)
            if found and block.language in {"console", "sh", "text"}:
                yield f"{page.name}:{number}", f"pipeline {found[1]}"


def _parse(command: str) -> None:
    """Parse a command as ``pipeline.cli`` would, placeholders filled in. Raises what argparse raises."""
    plain = re.sub(r"[\[\]]", "", command.split(" > ")[0].split(" | ")[0].split("  #")[0])
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(plain)[1:]]
    if words[:1] == ["shell"] and "--" in words:
        words = words[: words.index("--")]
    verb = next((word for word in words if not word.startswith("-")), None)
    if verb is not None and verb not in cli.VERBS:
        raise LookupError("there is no such verb")
    if verb is None or words[1:] in ([], ["--help"]):
        return
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--site")
    import_module(f"pipeline.cli.{verb}").arguments(parser)
    words.remove(verb)
    parser.parse_args(words)


def _completed(document: dict[str, Any]) -> tuple[Kind | Literal["cluster"], dict[str, Any]]:
    """What a block shows a part of, with what it leaves out."""
    if {"site", "bases", "mirrors", "downloads", "lab", "signing"} & document.keys():
        return "site", {"site": {"store": "/s", "images": "/i"}, **document}
    if {"cluster", "firmware", "rollout"} & document.keys():
        return "cluster", {"cluster": {"name": "x"}, **document}
    if "fragment" in document:
        return "fragment", document
    return "recipe", {**document, "image": {"name": "x", "base": "y"} | document.get("image", {})}
