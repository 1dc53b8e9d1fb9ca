"""Jinja as templates of configuration files need it: what is no tag stays as it is written, to the byte.

Line ends are kept, whichever they are and however they are mixed. A line of nothing but blocks and comments
is left out; on a line with anything else no blank and no line end is lost. Jinja by itself writes all line
ends alike, and its ``trim_blocks`` joins lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from jinja2 import StrictUndefined
from jinja2.lexer import Lexer
from jinja2.sandbox import ImmutableSandboxedEnvironment

LINE_END = re.compile(r"\r\n|\r|\n")
"""As Jinja has them."""

PART = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
"""A line with its end, or what follows the last one."""

TAG_ENDS = frozenset({"block_end", "variable_end", "comment_end", "raw_begin", "raw_end"})

Token = tuple[int, str, str]
"""Line, kind and text, as Jinja's lexer gives them."""


class SameBytes(Lexer):
    """Jinja's lexer, with the line ends of the source, without lines of nothing but blocks and comments."""

    def tokeniter(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> Iterator[Token]:
        """The tokens of ``source``."""
        ends = LINE_END.findall(source)
        tokens = super().tokeniter(source, name, filename, state)
        return _without_lines_of_blocks([_as_written(token, ends) for token in tokens])

    def _normalize_newlines(self, value: str) -> str:
        return value


class Templating(ImmutableSandboxedEnvironment):
    """Where templates are rendered: by this program, as root and outside of any chroot, so in a sandbox."""

    def __init__(self, text: str, finalize: Callable[[object], object]) -> None:
        found = LINE_END.search(text)
        super().__init__(
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            # For lines that filters make, as wordwrap does.
            newline_sequence=found[0] if found else "\n",
            finalize=finalize,
        )
        # The same inputs have to give the same file.
        del self.filters["random"], self.globals["lipsum"]

    @property
    def lexer(self) -> Lexer:
        """This project's own."""
        return SameBytes(self)


def _as_written(token: Token, ends: list[str]) -> Token:
    """``token`` with the line ends of the source, of which Jinja's lexer makes ``\\n``."""
    line, kind, text = token
    if kind not in ("data", "string"):
        return token
    number = iter(range(line - 1, len(ends)))
    return line, kind, re.sub("\n", lambda _: ends[next(number)], text)


def _without_lines_of_blocks(tokens: Iterable[Token]) -> Iterator[Token]:
    line: list[Token] = []
    for token in _parts(tokens):
        line.append(token)
        if _ends_line(token):
            yield from _kept(line)
            line = []
    yield from _kept(line)


def _parts(tokens: Iterable[Token]) -> Iterator[Token]:
    """The tokens, with each line of a text by itself."""
    for line, kind, text in tokens:
        if kind != "data":
            yield line, kind, text
            continue
        for number, part in enumerate(PART.findall(text)):
            yield line + number, kind, part


def _ends_line(token: Token) -> bool:
    """Whether a line is over: at its end, or at a ``-%}`` that has taken the end away."""
    _, kind, text = token
    if kind == "data":
        return text.endswith(("\r", "\n"))
    return kind in TAG_ENDS and "\n" in text[len(text.rstrip()) :]


def _kept(line: list[Token]) -> Iterator[Token]:
    """A line's tokens; without its blanks and its end if it holds nothing but blocks and comments."""
    kinds = {kind for _, kind, _ in line}
    blank = all(not text.strip(" \t\r\n") for _, kind, text in line if kind == "data")
    tags = [text for _, kind, text in line if kind.endswith(("_begin", "_end"))]
    # With {%+ and +%} the template itself says that blanks are to be kept.
    only_blocks = tags and blank and "variable_begin" not in kinds and not any("+" in tag for tag in tags)
    return (token for token in line if not (only_blocks and token[1] == "data"))
