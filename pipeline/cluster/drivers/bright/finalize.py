"""The seed's other way on nodes: a block in the finalize script that sets keys of files after installing.

The installer runs the script with the node's disk at /localdisk, just before its init. The block has what it
sets in comments of its own, so that it can be read back, and freezes the files for the node's CMDaemon, which
would overwrite them otherwise. It uses sh, sed and awk.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from pipeline.cluster.drivers.bright.modifications import NAME, Setting, merged, settings

BEGIN = "# begin: files set by the pipeline's cluster file; changed here, it is changed back"
END = "# end: files set by the pipeline's cluster file"
SAYS = "#: "
"""Before each entry that the block carries out, as a role would have it."""

ROOT = "/localdisk"
CMD_CONF = "/cm/local/apps/cmd/etc/cmd.conf"

FUNCTIONS = rf"""
pipeline_set() {{
    file={ROOT}$1
    [ -f "$file" ] || {{ mkdir -p "${{file%/*}}" && : > "$file"; }} || return 0
    SECTION=$2 KEY=$3 VALUE=$4 awk '
        function put() {{ if (!done) print ENVIRON["KEY"] "=" ENVIRON["VALUE"]; done = 1 }}
        /^[ \t]*\[/ {{
            if (here) put()
            name = $0; sub(/^[ \t]*\[/, "", name); sub(/\].*/, "", name)
            here = (name == ENVIRON["SECTION"])
        }}
        here && !/^[ \t]*[#;[]/ {{
            key = $0; sub(/[ \t]*=.*/, "", key); sub(/^[ \t]*/, "", key)
            if (key == ENVIRON["KEY"]) {{ put(); next }}
        }}
        {{ print }}
        END {{ if (!here && !done) print "[" ENVIRON["SECTION"] "]"; put() }}
    ' "$file" > "$file.pipeline" && cat "$file.pipeline" > "$file"
    rm -f "$file.pipeline"
}}
pipeline_freeze() {{
    conf={ROOT}{CMD_CONF}
    [ -f "$conf" ] || return 0
    grep -q "^FrozenFile.*\"$1\"" "$conf" && return 0
    if grep -q '^FrozenFile *= *{{' "$conf"; then
        sed -i -e "s|^\(FrozenFile *= *{{\) *}}|\1 \"$1\" }}|;t" \
            -e "s|^\(FrozenFile *= *{{\) *|\1 \"$1\", |" "$conf"
    else
        echo "FrozenFile = {{ \"$1\" }}" >> "$conf"
    fi
}}
""".strip()

BLOCK = re.compile(rf"^{re.escape(BEGIN)}\n(?P<inside>.*?)^{re.escape(END)}\n?", re.MULTILINE | re.DOTALL)

OURS = "# Frozen by the pipeline's cluster file: "
"""Before the path, in a line of CMDaemon's configuration: nobody else wanted it frozen."""

SAFE_PATH = re.compile(r"/[\w./+-]+\Z")
"""Paths that need no quotes in sed, nor in CMDaemon's configuration."""

FROZEN = re.compile(r"^(?P<before>FrozenFile\s*=\s*\{)(?P<files>[^}]*)\}", re.MULTILINE)


SHELL = re.compile(r"\s*(?:/\S*/env\s+(?:-\S+\s+)*)?(?:/?\S*/)?(?:sh|bash|dash)(?:\s.*)?\Z")
"""What stands behind ``#!`` in a script that sh can read."""


def other_interpreter(script: str) -> str:
    """What a script is run by that can't have the block; empty for sh and bash, and when it doesn't say."""
    first = script.partition("\n")[0].rstrip()
    if not first.startswith("#!") or SHELL.match(first[2:]):
        return ""
    return first[2:].strip()


def has_block(script: str) -> bool:
    """Whether the block is in it, wherever, and sets something."""
    return bool(_entries(script))


def kept(script: str) -> list[Setting]:
    """What the block in a finalize script sets. Behind other commands it may never run: then nothing."""
    return settings(_entries(script)) if BLOCK.match(_parted(script)[1]) else []


def with_settings(script: str, wanted: Sequence[Setting]) -> str:
    """``script`` with ``wanted`` in its block, right behind its first line; all else stays.

    There it runs whatever the rest does; with nothing to set there is none. Call it with what
    `other_interpreter` has nothing against.
    """
    entries = merged(_entries(script), wanted)
    block = _block(entries) if entries else ""
    first, rest = _parted(BLOCK.sub("", script))
    if not first and not rest.strip():
        return block and f"#!/bin/bash\n{block}"
    if not block and first == "#!/bin/bash\n" and not rest.strip():
        return ""  # it was made for the block; a node's would still replace its category's
    return f"{first}{block}{rest}"


def _parted(script: str) -> tuple[str, str]:
    """The line with ``#!``, if there is one, and the rest."""
    if not script.startswith("#!"):
        return "", script
    first, _, rest = script.partition("\n")
    return f"{first}\n", rest


def _entries(script: str) -> list[str]:
    match = BLOCK.search(script)
    lines = match["inside"].splitlines() if match else []
    return [line.removeprefix(SAYS) for line in lines if line.startswith(SAYS)]


def _block(entries: Iterable[str]) -> str:
    entries = tuple(entries)
    calls: list[str] = []
    files: dict[str, None] = {}
    for setting in settings(entries):
        match = NAME.match(setting.name)
        if match is not None and setting.value is not None:
            files[match["file"]] = None
            words = (match["file"], match["section"], match["key"], setting.value)
            calls.append(f"pipeline_set {' '.join(map(shlex.quote, words))}")
    frozen = [f"pipeline_freeze {shlex.quote(file)}" for file in files]
    says = [f"{SAYS}{entry}" for entry in entries]
    return "\n".join([BEGIN, *says, FUNCTIONS, *calls, *frozen, END, ""])


def frozen_files(conf: str) -> list[str]:
    """The files that CMDaemon leaves alone, of its configuration's text."""
    match = FROZEN.search(conf)
    return re.findall(r'"([^"]*)"', match["files"]) if match else []


def with_frozen(conf: str, files: Iterable[str]) -> str:
    """CMDaemon's configuration with ``files`` left alone too, and marked as ours."""
    here = frozen_files(conf)
    new = [file for file in dict.fromkeys(files) if file not in here]
    if not new:
        return conf
    line = "".join(f"{OURS}{file}\n" for file in new) + _frozen_line([*here, *new])
    if FROZEN.search(conf):
        return FROZEN.sub(lambda _: line, conf, count=1)
    return f"{conf}{'' if not conf or conf.endswith(chr(10)) else chr(10)}{line}\n"


def frozen_by_us(conf: str) -> list[str]:
    """The frozen files that `with_frozen` has marked."""
    marked = {line.removeprefix(OURS) for line in conf.splitlines() if line.startswith(OURS)}
    return [file for file in frozen_files(conf) if file in marked]


def without_frozen(conf: str, files: Iterable[str]) -> str:
    """CMDaemon's configuration with ``files`` no longer left alone."""
    files = set(files)
    left = [file for file in frozen_files(conf) if file not in files]
    lines = [
        line for line in conf.splitlines(keepends=True) if line.rstrip("\n").removeprefix(OURS) not in files
    ]
    return FROZEN.sub(lambda _: _frozen_line(left), "".join(lines), count=1)


def _frozen_line(files: Iterable[str]) -> str:
    inside = ", ".join(f'"{file}"' for file in files)
    return f"FrozenFile = {{ {inside} }}" if inside else "FrozenFile = { }"
