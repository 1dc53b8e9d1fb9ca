"""The systemd unit that mounts everything again when the machine starts."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pipeline.recipe.model import Site

NAME = "pipeline-publish.service"
FOLDERS = (Path("/etc/systemd/system/multi-user.target.wants"), Path("/usr/lib/systemd/system"))
"""Where it is when it is enabled."""
PYTHON = re.compile(r"(?m)^(ExecStart=.*?/python)[0-9.]*(?=[ \"])")
"""An environment has its interpreter under several names."""

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


def is_current(file: Path, site: Site) -> bool:
    """Whether ``file`` is what ``unit`` writes now: it may be of a program or a site that has moved since."""
    try:
        there = file.read_text(errors="replace")
    except OSError:
        return False
    return PYTHON.sub(r"\1", there) == PYTHON.sub(r"\1", unit(site))


def _quoted(word: str) -> str:
    """A word as systemd.syntax(7) reads it: ``%`` begins a specifier, quotes and backslashes are escaped."""
    escaped = word.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if set(escaped) & set(" \t'\"\\;") else escaped
