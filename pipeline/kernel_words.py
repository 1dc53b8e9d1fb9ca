"""Kernel parameters as they stand on one line: quotes keep blanks together, as the kernel reads them."""

from __future__ import annotations

import re

WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')


def is_parameter(text: str) -> bool:
    """Whether it is one parameter, of characters that can be shown; its quotes are closed."""
    return text.isprintable() and WORD.fullmatch(text) is not None


def parameters_in(line: str) -> tuple[str, ...]:
    """The parameters of a line. Where a quote is not closed nobody knows how they go: each blank parts."""
    return tuple(line.split() if line.count('"') % 2 else WORD.findall(line))
