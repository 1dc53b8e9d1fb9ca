"""Text from outside as it may be shown, and written down: without passwords."""

from __future__ import annotations

import re

USER = re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/?#'\"<>]*@", re.IGNORECASE)
"""What stands before the host of a URL (RFC 3986, 3.2.1); a password may have an unquoted ``@``."""


def masked(text: str) -> str:
    """``text`` with ``***`` for users and passwords in URLs."""
    return USER.sub(r"\1***@", text) if "@" in text else text
