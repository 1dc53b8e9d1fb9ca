"""Text from outside as it may be shown, and written down: no passwords, nothing that drives a terminal."""

from __future__ import annotations

import re

USER = re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/?#'\"<>]*@", re.IGNORECASE)
"""What stands before the host of a URL (RFC 3986, 3.2.1); a password may have an unquoted ``@``."""


def masked(text: str) -> str:
    """``text`` with ``***`` for users and passwords in URLs."""
    return USER.sub(r"\1***@", text) if "@" in text else text


def plain(text: str) -> str:
    """``text``, ``masked``, with escapes for control characters that are no tab and no end of a line."""
    return CONTROL.sub(
        lambda found: found[0].encode("unicode_escape").decode(), masked(text).replace("\r\n", "\n")
    )


def readable(text: str) -> str:
    """``text``, ``plain``, with escapes for bytes that are not UTF-8."""
    return UNDECODED.sub(_escape, plain(text))


def on_one_line(name: str) -> str:
    """``name``, of a file or another place, ``masked``, with escapes for all control characters, and for
    bytes that are not UTF-8."""
    if name.isprintable() and "@" not in name:
        return name
    return UNSHOWN.sub(_escape, masked(name))


def counted(number: int, what: str) -> str:
    """``1 node``, ``3 nodes``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if code >= 0xDC80 else found[0].encode("unicode_escape").decode()


CONTROL = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f]")
UNDECODED = re.compile(r"[\udc80-\udcff]")
UNSHOWN = re.compile(r"[\0-\x1f\x7f-\x9f\u2028\u2029\udc80-\udcff]")
