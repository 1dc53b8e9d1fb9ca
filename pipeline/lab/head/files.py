"""The head node's own files: what the daemon writes as roles have it, and what it leaves alone."""

from __future__ import annotations

import os
import re

from pipeline.lab.head.objects import Object
from pipeline.lab.head.state import Store

CMD_CONF = "/cm/local/apps/cmd/etc/cmd.conf"
FROZEN = re.compile(r"^\s*FrozenFile\s*=\s*\{([^}]*)\}", re.MULTILINE)
ENTRY = re.compile(r"([-+])(/[^\[]+)\[([^\]]+)\]([^=]+)(?:=(.*))?", re.DOTALL)


def frozen_files(root: str) -> frozenset[str]:
    """What ``FrozenFile = { "…", "…" }`` names."""
    try:
        with open(f"{root}{CMD_CONF}") as file:
            found = FROZEN.findall(file.read())
    except FileNotFoundError:
        return frozenset()
    return frozenset(path for inside in found for path in re.findall(r'"([^"]*)"', inside))


def write_head_files(store: Store, head: Object, knows_underscores: bool) -> None:
    """Write the daemon's files as the head node's roles modify them; not those that are frozen.

    A daemon that doesn't know sections with ``_`` in their name leaves such entries out, and says nothing.
    """
    frozen = frozen_files(store.root)
    for path, base in store.state["base_files"].items():
        if path in frozen:
            continue
        text = base
        for entry in modifications(head, knows_underscores).get(path, ()):
            text = modified(text, entry)
        _write(f"{store.root}{path}", text)


def modifications(one: Object, knows_underscores: bool) -> dict[str, list[str]]:
    """What the roles of a device or a category have changed in files, by path, in order."""
    found: dict[str, list[str]] = {}
    for role in one["sub"].get("roles", {}).values():
        entries = role["values"].get("configfilemodifications", [])
        for entry in entries if isinstance(entries, list) else ():
            parts = ENTRY.fullmatch(entry)
            if parts and (knows_underscores or "_" not in parts[3]):
                found.setdefault(parts[2], []).append(entry)
    return found


def modified(text: str, entry: str) -> str:
    """``text`` as one entry of ``configfilemodifications`` has it."""
    found = ENTRY.fullmatch(entry)
    return _modified(text, found[1], found[3], found[4], found[5] or "") if found else text


def _modified(text: str, sign: str, section: str, key: str, value: str) -> str:
    """``-`` takes the key out of the section, ``+`` puts it at the section's end; a section that isn't there
    is made at the file's end."""
    lines = text.splitlines()
    start = next((at for at, line in enumerate(lines) if line.strip() == f"[{section}]"), None)
    if start is None:
        if sign == "-":
            return text
        lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
        start = len(lines) - 1
    end = next((at for at in range(start + 1, len(lines)) if lines[at].startswith("[")), len(lines))
    body = lines[start + 1 : end]
    if sign == "-":
        body = [line for line in body if line.partition("=")[0].strip() != key]
    else:
        filled = len("\n".join(body).rstrip().split("\n")) if "".join(body).strip() else 0
        body.insert(filled, f"{key}={value}")
    return "\n".join([*lines[: start + 1], *body, *lines[end:]]) + "\n"


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f"{path}.new", "w") as file:
        file.write(text)
    os.replace(f"{path}.new", path)
