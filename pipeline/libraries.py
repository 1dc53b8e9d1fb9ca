"""Which versions of the libraries that this program uses are installed."""

from __future__ import annotations

import os
import sys
from functools import cache


@cache
def installed_version(name: str) -> str:
    """The version of the installed distribution ``name``: that in the name of its ``.dist-info``.

    importlib.metadata, which knows all the other ways, takes longer to import than a build with nothing to do
    may take for everything; it is asked only where that name is not to be found.
    """
    begin, end = f"{name.replace('-', '_')}-".lower(), ".dist-info"
    for folder in sys.path:
        found = [each for each in _information(folder) if each.lower().startswith(begin)]
        if len(found) == 1:
            return found[0][len(begin) : -len(end)]
    from importlib.metadata import version

    return version(name)


@cache
def _information(folder: str) -> tuple[str, ...]:
    if not os.path.isdir(folder):
        return ()
    return tuple(each for each in os.listdir(folder) if each.endswith(".dist-info"))
