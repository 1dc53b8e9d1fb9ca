"""The package manager of an image: which one it is, and how it is called so that what it fetches is kept."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from pipeline.chroot.root import LAST_LINES, OUT, CommandError, Root
from pipeline.errors import PipelineError
from pipeline.packaging.programs import first_found, meaning

CACHE = f"{OUT}/cache"

LISTED = re.compile(r"^(?:Repo-id|Repo ID|Repo-baseurl|Base URL)\s*:\s*(?P<value>\S.*?)?\s*$")
LISTED_ID = re.compile(r"^Repo.id\s*:", re.IGNORECASE)
TROUBLE = re.compile(
    r"\s*(?:errors?|fatal|problem|traceback|no package|no match|you have enabled)\b", re.IGNORECASE
)
SCRIPTLET_LINES = 5
UNSIGNED = re.compile(
    r"\bis not signed\b|\bpublic key for \S+ is not installed|\b(?:gpg|pgp|openpgp) check\b.*\bfailed"
    r"|\benabled checking of packages via GPG keys\b",
    re.IGNORECASE,
)
"""yum 3, dnf 4 and dnf 5 about a package whose signature is missing, or by a key that the image lacks."""

UNSIGNED_HINT = (
    "the repository checks signatures (gpgcheck): give its stage of type repository the key, "
    'with import_key = ["…"]; or, if you trust its packages without a signature, say gpgcheck = false there, '
    "which the build then notes"
)

SILENTLY_ABSENT = re.compile(r"^(?:No package .+ available|No match for argument: .+|Unable to find .+)")


class Yum(msgspec.Struct, frozen=True):
    """yum 3, dnf 4 or dnf 5 of an image, by the path of its program and the first number of its version."""

    program: str
    major: int

    def argv(self, *words: str) -> list[str]:
        """A command line that keeps everything it downloads below ``OUT``.

        dnf removes what nothing needs any more unless told otherwise, which no recipe asked for.
        """
        options = ["-y", "--setopt=keepcache=1", f"--setopt=cachedir={CACHE}"]
        if self.major >= 4:
            options.append("--setopt=clean_requirements_on_remove=False")
        return [self.program, *options, *words]

    def repositories(self) -> list[str]:
        """The command line that prints the enabled repositories with their base URLs."""
        return self.argv("repo", "info") if self.major >= 5 else self.argv("-v", "repolist")


def find(root: Root) -> Yum:
    """The package manager of an image. Raises ``PipelineError`` when it has none."""
    program = root.call(first_found, "yum", "dnf", "dnf5")
    if program is None:
        raise PipelineError(
            "the image has no package manager: neither yum nor dnf was found",
            hint="install it in the base image; rpm alone can install, but cannot resolve",
        )
    finished = root.run([program, "--version"])
    number = re.search(r"(\d+)\.\d+", finished.text)
    if number is None:
        raise PipelineError(f"{program} --version says nothing that is a version: {finished.text!r}")
    return Yum(program, int(number[1]))


def ask(root: Root, argv: Sequence[str]) -> str:
    """Run a package manager; what it printed. A failure is told in its own words."""
    try:
        return root.run(argv).text
    except CommandError as error:
        raise PipelineError(
            f"the image's package manager could not do it{quoted(words(error.finished.text))}",
            hint=UNSIGNED_HINT if UNSIGNED.search(error.finished.text) else meaning(error.finished.exit_code),
        ) from error


def words(text: str) -> list[str]:
    """What matters in what a package manager printed before it failed: from the first complaint on.

    dnf ends some complaints with all the settings of the repository, so the last lines would not do. What a
    scriptlet printed stands before the complaint about it.
    """
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if TROUBLE.match(line)), None)
    if first is None:
        return lines[-LAST_LINES:]
    if "scriptlet" in lines[first]:
        first = max(0, first - SCRIPTLET_LINES)
    return lines[first:][:LAST_LINES]


def quoted(lines: Sequence[str]) -> str:
    """Lines of a program as they stand in an error."""
    return "".join(f"\n  | {line}" for line in lines)


def base_urls(text: str) -> dict[str, str]:
    """Repository → base URL in what ``Yum.repositories`` printed; those without one are left out.

    yum 3 prints ``base/6/x86_64`` for an id and ``http://… (9 more)`` for a mirror list.
    """
    found: dict[str, str] = {}
    current = ""
    for line in text.splitlines():
        listed = LISTED.match(line)
        if listed is None or not listed["value"]:
            continue
        if LISTED_ID.match(line):
            current = listed["value"].split("/")[0]
        elif current:
            found[current] = re.split(r"[\s,]", listed["value"])[0]
    return found


def complaints(text: str) -> list[str]:
    """The lines in which a package manager says that it left out something that was asked for."""
    return [line.strip() for line in text.splitlines() if SILENTLY_ABSENT.match(line.strip())]
