"""What is wrong with a URL as it is written, in words; nobody is asked."""

from __future__ import annotations

from urllib.parse import urlsplit

LONGEST_LABEL = 63
"""Of a host name (RFC 1035, 2.3.4)."""


def url_fault(url: str) -> str | None:
    """Why ``url`` cannot be the address of anything, whatever its scheme; None when it can."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:  # brackets that are no IPv6 address
        return "its host cannot be read"
    try:
        if parts.port == 0:
            raise ValueError
    except ValueError:
        return "its port is no number from 1 to 65535"
    if not host:
        return None if parts.scheme == "file" else "it names no host"
    good = host.isprintable() and not any(letter.isspace() for letter in parts.netloc)
    if good and ":" not in host:
        good = all(0 < len(label) <= LONGEST_LABEL for label in host.removesuffix(".").split("."))
    return None if good else "its host cannot be read"
