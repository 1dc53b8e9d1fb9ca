"""Say what this machine has and lacks for building images, with the fix. Exit 3 when something is missing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from pipeline.errors import MachineError, PipelineError
from pipeline.printable import counted, on_one_line

if TYPE_CHECKING:
    from pipeline.chroot.machine import Check
    from pipeline.recipe.model import Site


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.recipe.site import load_site

    found = list(_checks(load_site(options.site)))
    lacking = [check for check in found if check.needed and not check.good]
    if options.json:
        print(json.dumps({"good": not lacking, "checks": [asdict(check) for check in found]}, indent=2))
        return MachineError.exit_code if lacking else 0
    for check in found:
        mark = "ok  " if check.good else "LACK" if check.needed else "note"
        print(f"{mark}  {check.name}: {on_one_line(check.detail)}")
        if not check.good and check.hint:
            print(f"      {on_one_line(check.hint)}")
        if not check.good and check.command:
            print(f"      run: {check.command}")
    missing = f"{counted(len(lacking), 'thing')} {'is' if len(lacking) == 1 else 'are'} missing"
    print(missing if lacking else "this machine can build images")
    return MachineError.exit_code if lacking else 0


def _checks(site: Site) -> Iterator[Check]:
    from pipeline.chroot import machine

    yield from machine.checks(site.bases.values())
    yield _programs()
    yield _store(site)
    yield _bases(site)
    if site.lab is not None:
        yield _lab_programs()
    if site.signing is not None:
        yield _signing(site)
    yield _publishing(site)
    yield _published(site)
    yield _unit(site)


def _programs() -> Check:
    import shutil

    from pipeline.chroot.machine import Check
    from pipeline.store.fingerprint import FIND

    where = shutil.which(FIND)
    return Check(
        "programs",
        where is not None,
        where or f"missing: {FIND}",
        "whether a base changed is looked at with it; its package is findutils",
        "make setup",
    )


def _store(site: Site) -> Check:
    """Whether layers can be kept where the site says; the nearest folder that exists is looked at."""
    import os

    from pipeline.chroot.machine import Check
    from pipeline.cli.text import size
    from pipeline.store.filesystem import check_can_hold_layers

    folder = site.store
    while not folder.exists():
        folder = folder.parent
    room = os.statvfs(folder)
    detail = f"{site.store}, {size(room.f_bavail * room.f_frsize)} free"
    try:
        check_can_hold_layers(folder)
    except PipelineError as error:
        problem = error.problems[0]
        return Check("store", False, f"{detail}: {problem.message}", problem.hint, problem.command)
    return Check("store", True, detail)


def _bases(site: Site) -> Check:
    import os

    from pipeline.chroot.machine import Check

    missing = [f"{name} ({path})" for name, path in sorted(site.bases.items()) if not os.path.isdir(path)]
    if not missing:
        return Check("bases", True, ", ".join(sorted(site.bases)) or "none")
    if site.lab is not None:
        return Check(
            "bases", False, "the lab is not built yet", "the first build makes it", "pipeline lab build",
            needed=False,
        )  # fmt: skip
    return Check("bases", False, f"missing: {', '.join(missing)}", f"{site.file} says where they are")


def _lab_programs() -> Check:
    import os
    import shutil

    from pipeline.chroot.machine import Check
    from pipeline.lab.bases import PROGRAMS

    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = sorted(name for name in PROGRAMS if shutil.which(name, path=path) is None)
    return Check(
        "programs of the lab",
        not missing,
        f"missing: {', '.join(missing)}" if missing else ", ".join(sorted(PROGRAMS)),
        "make setup installs them",
        "make setup",
    )


def _signing(site: Site) -> Check:
    """Whether it can be found out who signed a version: no rollout begins otherwise."""
    from pipeline.chroot.machine import Check
    from pipeline.signing.signers import wrong_lines

    wrong = wrong_lines(site)
    if not wrong:
        return Check("signing", True, f"signers in {site.signing.signers}" if site.signing else "")
    told = "; ".join(f"{each.where}: {each.message}" if each.where else each.message for each in wrong)
    first = wrong[0]
    command = None if first.command == "pipeline doctor" else first.command
    return Check("signing", False, told, first.hint, command)


def _publishing(site: Site) -> Check:
    """Whether what is published here is there for nodes: what a container mounts is not."""
    from pipeline.chroot.machine import Check
    from pipeline.publish.reaching import ELSEWHERE, command, reaches

    mounts = site.publish_mode == "overlay"
    good = not mounts or reaches(site.images)
    detail = f'publish = "{site.publish_mode}"'
    if not good:
        detail += f": mounts made here do not reach the machine from {site.images}"
    return Check("publishing", good, detail, ELSEWHERE, command(site), needed=False)


def _published(site: Site) -> Check:
    from pipeline.chroot.machine import Check
    from pipeline.publish.restoring import gone, not_mounted, outdated
    from pipeline.store.store import Store, is_there

    try:
        store = Store.open(site.store, create=False) if is_there(site.store) else None
        lost = not_mounted(site, store) if store else ()
        old = outdated(site, store) if store else ()
        copies = gone(site, store) if store else ()
    except MachineError as error:  # that this user is not root is a check of its own
        return Check("published versions", False, error.problems[0].message, needed=False)
    wrong = [f"not mounted: {', '.join(map(str, lost))}"] if lost else []
    wrong += [f"mounted of layers that are gone: {', '.join(map(str, old))}"] if old else []
    wrong += [f"gone: {', '.join(map(str, copies))}"] if copies else []
    return Check(
        "published versions",
        not wrong,
        "; ".join(wrong) or "all mounted",
        "after a reboot they are mounted by pipeline-publish.service, or by hand" if lost else None,
        "pipeline publish --restore",
        needed=False,
    )


def _unit(site: Site) -> Check:
    """Whether what is published by mounting comes back with the machine: else nodes get empty directories."""
    from pipeline.chroot.machine import Check
    from pipeline.publish.unit import FOLDERS, NAME, is_current

    wanted = site.publish_mode == "overlay" and site.lab is None
    file = next((folder / NAME for folder in FOLDERS if (folder / NAME).is_file()), None)
    current = file is not None and is_current(file, site)
    state = "enabled" if file is not None else "not enabled"
    if wanted and file is not None and not current:
        state += f", but {file} is not what this program and {site.file} need: it mounts nothing, or others"
    then = "systemctl daemon-reload && systemctl enable"
    return Check(
        "mounts at boot",
        current or not wanted,
        f"{NAME} is {state}{'' if wanted else ', and not needed here'}",
        "published versions are empty directories after a reboot, until they are mounted again",
        f"pipeline publish --unit >/etc/systemd/system/{NAME} && {then} {NAME}",
        needed=False,
    )
