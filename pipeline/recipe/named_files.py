"""The files from outside that stages name: refused at loading when they cannot be had."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.mirrors import is_url
from pipeline.nearest import nearest
from pipeline.packaging.nevra import is_file
from pipeline.stages.base import Stage
from pipeline.urls import url_fault

SCHEMES = ("http", "https", "ftp", "file")


def file_faults(stage: Stage, project: Path) -> Iterator[tuple[str, str]]:
    """(location, what is wrong with it), for each source and RPM of ``stage``. URLs are not asked."""
    request = stage.packages()
    packages = (*request.install, *request.upgrade) if request is not None else ()
    named = (*(source.location for source in stage.sources()), *filter(is_file, packages))
    for location in dict.fromkeys(named):
        fault = _fault(location, project)
        if fault is not None:
            yield location, fault


def _fault(location: str, project: Path) -> str | None:
    if is_url(location):
        scheme = location.partition("://")[0].lower()
        if scheme not in SCHEMES:
            return f'"{location}" cannot be fetched: unknown scheme "{scheme}"{nearest(scheme, SCHEMES)}'
        fault = url_fault(location)
        return f'"{location}" is no URL: {fault}' if fault else None
    inside = os.path.normpath(location)
    if not os.path.isabs(inside) and inside.split("/")[0] == "..":
        return f'"{location}" leads out of the project'
    path = project / inside
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        return f'"{location}" {what} ({path})'
    return None
