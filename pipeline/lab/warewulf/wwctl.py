"""The stand-in's command line."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.lab.warewulf import listing, setting
from pipeline.lab.warewulf.flags import RefusedError, parse
from pipeline.lab.warewulf.registry import Registry, opened

CHANGES = frozenset({"set", "add", "delete", "import", "build"})


def main(home: Path, argv: Sequence[str]) -> int:
    """Run one call; the exit code is 0 or 255."""
    with opened(home, list(argv)) as found:
        try:
            _interfere(found, len(argv) > 1 and argv[1] in CHANGES)
            out = _run(found, argv)
        except RefusedError as error:
            print(f"ERROR  : {error}", file=sys.stderr)
            return 255
        if out:
            print(out)
        return 0


def _interfere(found: Registry, changes: bool) -> None:
    """Do what the switches have for this call: somebody else's change, or a failure."""
    if not changes:
        return
    counter = found.home / "changes"
    number = int(counter.read_text()) + 1 if counter.exists() else 1
    counter.write_text(str(number))
    other = found.switches["interfere_at"].get(str(number))
    if other:
        _run(found, other)
    if number == found.switches["fail_at"]:
        raise RefusedError("open /etc/warewulf/nodes.conf: input/output error")


def _run(found: Registry, argv: Sequence[str]) -> str:
    if list(argv[:1]) == ["version"]:
        return f"wwctl version:\t {found.switches['release']}.0-1"
    what, verb, rest = argv[0] if argv else "", argv[1] if len(argv) > 1 else "", argv[2:]
    image = "container" if found.switches["release"] == "4.5" else "image"
    if what == image:
        return _image(found, verb, rest)
    if what in ("node", "profile"):
        return _object(found, what, verb, rest)
    if (what, verb) == ("overlay", "build"):
        return _overlays(found, rest)
    if what in ("overlay", "power"):
        raise RefusedError(f'unknown command "{verb}" for "wwctl {what}"')
    raise RefusedError(f'unknown command "{what}" for "wwctl"')


def _object(found: Registry, what: str, verb: str, rest: Sequence[str]) -> str:
    if verb == "list":
        options, names = parse(rest, {"json": "bool", "all": "bool"})
        return _list(found, what, names, as_json="json" in options)
    if (what, verb) == ("profile", "delete"):
        return _delete(found, rest)
    if verb not in ("set", "add"):
        raise RefusedError(f'unknown command "{verb}" for "wwctl {what}"')
    options, names = setting.options_of(found, what, verb, rest)
    kept = found.nodes if what == "node" else found.profiles
    if verb == "add":
        names = setting.expanded(names) if what == "node" else names[:1]
        there = [name for name in names if name in kept]
        if there:
            raise RefusedError(f"{what} with name {there[0]} already exists")
        if found.switches["add_yes"] and what == "profile" and options.get("yes") != "true":
            return _asked(f"Are you sure you want to add the profile {names}")
        kept.update({name: {"profiles": ["default"]} if what == "node" else {} for name in names})
    elif options.get("yes") != "true":
        return _asked(f"Are you sure you want to modify {len(names)} {what}(s)")
    for warning in setting.apply(found, what, options, names):
        _warn(found, warning)
    return ""


def _delete(found: Registry, rest: Sequence[str]) -> str:
    options, names = parse(rest, {"yes": "bool", "force": "bool"})
    if options.get("yes") != "true":
        return _asked(f"Are you sure you want to delete {len(names)} profile(s)")
    for name in names:
        if found.profiles.pop(name, None) is None:
            _warn(found, f"profile not found: {name}")
        for node in found.nodes.values():
            node["profiles"] = [other for other in node.get("profiles", ()) if other != name]
    found.save()
    return ""


def _asked(question: str) -> str:
    """Nobody answers: nothing is done, and that is no error."""
    return f"{question}: [y/N] "


def _warn(found: Registry, text: str) -> None:
    print(f"WARN   : {text}", file=sys.stdout if found.switches["log"] == "stdout" else sys.stderr)


def _list(found: Registry, what: str, names: Sequence[str], as_json: bool) -> str:
    if what == "node":
        wanted = setting.expanded(names)
        objects = {name: listing.merged(found, name) for name in found.nodes if name in wanted or not names}
        missing = {name for node in objects.values() for name in node.get("profiles", ())}
        for name in sorted(missing - found.profiles.keys()):
            _warn(found, f"profile not found: {name}")
        header = ["NODE NAME", "PROFILES", "NETWORK"]
        rows = [
            [name, ",".join(node.get("profiles", ())), ",".join(node.get("network devices", ()))]
            for name, node in objects.items()
        ]
    else:
        objects = {name: value for name, value in found.profiles.items() if name in names or not names}
        header = ["PROFILE NAME", "COMMENT/DESCRIPTION"]
        rows = [[name, value.get("comment", "")] for name, value in objects.items()]
    return listing.as_json(found, objects) if as_json else listing.table(header, rows)


def _image(found: Registry, verb: str, rest: Sequence[str]) -> str:
    if verb == "list":
        options, _ = parse(rest, {"long": "bool"})
        return listing.images(found, "long" in options)
    if verb == "import":
        options, args = parse(rest, {"build": "bool", "force": "bool", "update": "bool"})
        if not 1 <= len(args) <= 2:
            raise RefusedError(f"accepts between 1 and 2 arg(s), received {len(args)}")
        name = args[1] if len(args) == 2 else os.path.basename(args[0])
        _import(found, args[0], name, force="force" in options)
        return _build(found, name) if "build" in options else ""
    if verb == "delete":
        options, names = parse(rest, {"yes": "bool"})
        if options.get("yes") != "true":
            return _asked(f"Are you sure you want to delete {names}")
        for name in names:
            shutil.rmtree(found.tree(name).parent, ignore_errors=True)
            found.built(name).unlink(missing_ok=True)
        return ""
    if verb == "build":
        _, names = parse(rest, {})
        return "\n".join(_build(found, name) for name in names)
    if verb == "show":
        _, names = parse(rest, {})
        return "\n".join(str(found.tree(name)) for name in names)
    raise RefusedError(f'unknown command "{verb}" for "wwctl image"')


def _import(found: Registry, source: str, name: str, force: bool) -> None:
    if not re.fullmatch(r"[\w\-.:]+", name, re.ASCII):
        raise RefusedError(f"image name contains illegal characters: {name}")
    tree = found.tree(name)
    if tree.is_dir() and not force:
        raise RefusedError(
            f"image name exists, specify --force, --update, or choose a different name: {name}"
        )
    if not os.path.isdir(source):
        raise RefusedError(f"invalid dir or uri: {source}")
    if not os.path.lexists(os.path.join(source, "bin/sh")):
        raise RefusedError(f"could not import image: source directory has no /bin/sh: {source}")
    shutil.rmtree(tree, ignore_errors=True)
    with found.released():
        _copy(found, source, tree)


def _copy(found: Registry, source: str, tree: Path) -> None:
    """Copy file by file to where the image is, as ImportDirectory does: what is there is listed at once."""
    after, how = found.switches["import_stops"] or (-1, "")
    copied = 0

    def copy(one: str, to: str) -> None:
        nonlocal copied
        if copied == after and how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        while copied == after and not (found.home / "go_on").exists():
            time.sleep(0.01)
        copied += 1
        shutil.copy2(one, to, follow_symlinks=False)

    shutil.copytree(source, tree, symlinks=True, copy_function=copy)


def _build(found: Registry, name: str) -> str:
    if name not in found.images():
        raise RefusedError(f"VNFS name does not exist: {name}")
    if (found.home / "build_fails").exists():
        raise RefusedError(f"could not build image {name}: problems creating image: no space left on device")
    file = found.built(name)
    file.write_text("".join(f"{path.name}\n" for path in sorted(found.tree(name).iterdir())))
    return f"Building image: {name}"


def _overlays(found: Registry, rest: Sequence[str]) -> str:
    _, names = parse(rest, {"workers": "str"})
    wanted = setting.expanded(names) or list(found.nodes)
    if any(name not in found.nodes for name in wanted):
        raise RefusedError("failed to find nodes")
    with (found.home / "overlays").open("a") as built:
        built.writelines(f"{name}\n" for name in wanted)
    return "\n".join(f"Building system overlay image for {name}" for name in wanted)
