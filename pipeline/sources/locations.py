"""Where a location of a recipe or lock is read from: a URL, or a file of this machine."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.errors import UsageError
from pipeline.mirrors import FILE_SCHEME, Mirrors, is_url
from pipeline.urls import url_fault

SCHEMES = ("http", "https", "ftp")


def locate(location: str, mirrors: Mirrors, project: Path) -> str | Path:
    """What to read for ``location``: the URL of the mirror that answers for it, or the path of a file.

    A path is relative to ``project``. Raises ``UsageError`` when the URL is none that can be read.
    """
    if not location or "\0" in location:
        raise UsageError(f"{location!r} is no location of a file")
    if not is_url(location):
        return project / location
    found = mirrors.to(location)
    if not is_url(found):
        return project / found
    fault = url_fault(found)
    if fault is not None:
        raise UsageError(f"{found} is no URL: {fault}")
    if found.lower().startswith(FILE_SCHEME):
        return Path("/", unquote(urlsplit(found).path))
    if urlsplit(found).scheme not in SCHEMES:
        raise UsageError(
            f"{found} cannot be downloaded",
            hint=f"a location is a path or a URL that begins with {', '.join(SCHEMES)} or file",
        )
    return found
