"""What stands in the documents: fenced blocks, commands with the output that is shown, code spans, links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

FENCE = re.compile(r"^ *```(.*)$")
FILE_NAME = re.compile(r"# ((?:recipes|overlays)/[\w./-]+)")
COMMAND = re.compile(r"[$#] (.+)")
EXIT_CODE = "echo $?"
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``line`` is that of its first line of text, from 1."""

    page: Path
    line: int
    language: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


@dataclass(frozen=True)
class Step:
    """A command of a page, or a file that the page has its reader write. ``shown`` is the output as shown;
    ``fails`` says whether the page shows that it ends with an error."""

    where: str
    command: str
    shown: tuple[str, ...] = ()
    fails: bool = False
    file: str | None = None


def pages() -> list[Path]:
    """README.md and every page of docs/."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    found: list[Block] = []
    language, begun, lines = "", 0, list[str]()
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if begun and fence:
            found.append(Block(page, begun, language, tuple(lines)))
            begun = 0
        elif begun:
            lines.append(line)
        elif fence:
            language, begun, lines = fence[1].strip(), number + 1, []
    assert not begun, f"{page}:{begun}: a block without an end"
    return found


def prose(page: Path) -> list[tuple[int, str]]:
    """The numbered lines of a page that are in no fenced block."""
    found, inside = [], False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            found.append((number, line))
    return found


def steps(page: Path) -> list[Step]:
    """What a reader does who follows the page from its top: files are written, commands are run."""
    found: list[Step] = []
    for block in blocks(page):
        if block.language == "console":
            found += _console(block)
        elif block.language == "sh":
            found.append(Step(block.where, block.text))
        elif block.language != "text" and block.lines and (named := FILE_NAME.fullmatch(block.lines[0])):
            found.append(Step(block.where, "", file=named[1], shown=block.lines))
    return found


def _console(block: Block) -> list[Step]:
    commands: list[tuple[int, list[str], list[str]]] = []
    for number, line in enumerate(block.lines, block.line):
        begins = COMMAND.match(line)
        if commands and commands[-1][1][-1].endswith("\\"):
            commands[-1][1].append(line)
        elif begins:
            commands.append((number, [begins[1]], []))
        else:
            assert commands, f"{block.where}: output before any command"
            commands[-1][2].append(line)
    return [
        Step(
            f"{block.page.relative_to(REPOSITORY)}:{number}",
            "\n".join(command),
            tuple(line for line in shown if line.strip() not in ("", "…")),
            fails=_fails(shown, commands[index + 1 :]),
        )
        for index, (number, command, shown) in enumerate(commands)
    ]


def _fails(shown: list[str], later: list[tuple[int, list[str], list[str]]]) -> bool:
    if later and later[0][1] == [EXIT_CODE]:
        return later[0][2] != ["0"]
    return any(line.startswith("pipeline: ") for line in shown)
