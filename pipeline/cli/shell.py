"""Enter a version, or the stage that failed: a shell in the same chroot in which stages run.

Nothing that is done there stays, except in a failed stage: there it stays until the stage is built again.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys

from pipeline.printable import on_one_line

ON_TERMINAL = ["/bin/sh", "-c", "[ -x /bin/bash ] && exec /bin/bash --norc -i; exec /bin/sh -i"]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", metavar="IMAGE[@N]", help="without @N the newest one")
    parser.add_argument(
        "--stage",
        metavar="NAME",
        help="the failed stage as it was left, or the version as it was after this stage",
    )
    parser.add_argument("--network", action="store_true", help="with this machine's network")
    parser.usage = "pipeline shell [--stage NAME] [--network] IMAGE[@N] [-- COMMAND …]"


def run(options: argparse.Namespace) -> int:
    from pipeline.build.entering import last_failed, root_of
    from pipeline.build.session import require_root
    from pipeline.chroot.enter import run_interactively
    from pipeline.interrupts import work_begins
    from pipeline.recipe.site import load_site
    from pipeline.store.store import Store

    require_root()
    store = Store.open(load_site(options.site).store, create=False)
    work_begins()
    failed = last_failed(store, options.version) if options.stage is None else None
    if failed is not None:
        enter_it = shlex.join(["pipeline", "shell", options.version, "--stage", failed])
        print(
            f"note: this is not the stage {on_one_line(failed)!r}, in which the last build failed; to enter "
            f"that one: {on_one_line(enter_it)}",
            file=sys.stderr,
        )
    with root_of(store, options.version, options.stage, network=options.network) as spec:
        command = options.command or (ON_TERMINAL if os.isatty(0) and os.isatty(1) else ["/bin/sh"])
        return run_interactively(spec, command, os.environ.get("TERM", "dumb"))
