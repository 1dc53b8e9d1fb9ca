"""The systemd unit that mounts everything again when the machine starts."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.recipe.model import Site

NAME = "pipeline-publish.service"

UNIT = """\
# Made by: pipeline publish --unit
[Unit]
Description=Software images published by pipeline
RequiresMountsFor={places}
# The daemons that install nodes must not see the empty directories: Bright's, Warewulf's, rsync.
Before=cmd.service warewulfd.service rsync.service rsyncd.service

[Service]
Type=oneshot
RemainAfterExit=yes
WorkingDirectory={code}
ExecStart={start}

[Install]
WantedBy=multi-user.target
"""


def unit(site: Site) -> str:
    """``pipeline-publish.service`` for this installation and ``site``, with absolute paths."""
    import pipeline

    words = (sys.executable, "-m", "pipeline", "publish", "--restore", "--site", str(site.file))
    return UNIT.format(
        places=" ".join(_quoted(str(place)) for place in (site.store, site.images)),
        code=str(Path(pipeline.__file__).parent.parent).replace("%", "%%"),
        start=" ".join(_quoted(word).replace("$", "$$") for word in words),
    )


def _quoted(word: str) -> str:
    """A word as systemd.syntax(7) reads it: ``%`` begins a specifier, quotes and backslashes are escaped."""
    escaped = word.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if set(escaped) & set(" \t'\"\\;") else escaped
