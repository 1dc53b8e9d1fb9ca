"""A line as cmsh reads it: commands, their words, a block in parentheses, a pipe or redirection.

``"…"`` takes ``\\"`` and ``\\\\`` as escapes, ``'…'`` takes none; neither goes over a line's end. Outside of
quotes ``; ( ) | > <`` are punctuation and a ``\\`` takes the next character as it is. A command that begins
with ``!`` is for the shell, and takes the rest of the line.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.lab.head.errors import CommandError

SHELL = "|<>"
"""What begins the part of a command that a shell runs."""


class Command(NamedTuple):
    """``block`` are the commands in parentheses. ``tail`` is what the shell gets (``| grep x``), ``shell`` is
    a whole line for it (``!ls``)."""

    words: tuple[str, ...]
    block: tuple[Command, ...] | None = None
    tail: str = ""
    shell: str = ""


def parse(line: str) -> tuple[Command, ...]:
    """The commands of a line. Raises ``CommandError`` when quotes or parentheses don't close."""
    reader = _Reader(line)
    commands = reader.commands(nested=False)
    if reader.at < len(line):
        raise CommandError("Syntax error: unexpected )")
    return commands


class _Reader:
    def __init__(self, line: str) -> None:
        self.line = line
        self.at = 0

    def commands(self, *, nested: bool) -> tuple[Command, ...]:
        found = []
        while True:
            command = self._command(nested=nested)
            if command.words or command.shell:
                found.append(command)
            if self._peek() != ";":
                return tuple(found)
            self.at += 1

    def _command(self, *, nested: bool) -> Command:
        words: list[str] = []
        block: tuple[Command, ...] | None = None
        while self._skip_blanks():
            char = self._peek()
            if char == "!" and not words:
                shell, self.at = self.line[self.at + 1 :], len(self.line)
                return Command((), shell=shell.strip())
            if char in ";)":
                break
            if char in SHELL:
                return Command(tuple(words), block, tail=self._tail(nested=nested))
            if char == "(":
                block = self._block(words, block)
            elif block is not None:
                raise CommandError(f"Syntax error: unexpected {char} after )")
            else:
                words.append(self._word())
        return Command(tuple(words), block)

    def _block(self, words: list[str], block: tuple[Command, ...] | None) -> tuple[Command, ...]:
        if block is not None or "foreach" not in words[:2]:
            raise CommandError("Syntax error: unexpected (")
        self.at += 1
        inside = self.commands(nested=True)
        if self._peek() != ")":
            raise CommandError("Syntax error: missing )")
        self.at += 1
        return inside

    def _word(self) -> str:
        word = ""
        while self.at < len(self.line):
            char = self.line[self.at]
            if char.isspace() or char in ";()|<>":
                break
            self.at += 1
            if char in "\"'":
                word += self._quoted(char)
            elif char == "\\" and self.at < len(self.line):
                word += self.line[self.at]
                self.at += 1
            else:
                word += char
        return word

    def _quoted(self, quote: str) -> str:
        text = ""
        while self.at < len(self.line):
            char = self.line[self.at]
            self.at += 1
            if char == quote:
                return text
            if char == "\\" and quote == '"' and self._peek() in '"\\' and self._peek():
                char = self.line[self.at]
                self.at += 1
            text += char
        raise CommandError("Syntax error: unbalanced quotes")

    def _tail(self, *, nested: bool) -> str:
        """Up to the end of the command; the shell sees its own quotes."""
        start, quote = self.at, ""
        while self.at < len(self.line):
            char = self.line[self.at]
            if quote:
                quote = "" if char == quote else quote
            elif char in "\"'":
                quote = char
            elif char == ";" or (char == ")" and nested):
                break
            self.at += 1
        return self.line[start : self.at].strip()

    def _skip_blanks(self) -> bool:
        while self.at < len(self.line) and self.line[self.at].isspace():
            self.at += 1
        return self.at < len(self.line)

    def _peek(self) -> str:
        return self.line[self.at : self.at + 1]
