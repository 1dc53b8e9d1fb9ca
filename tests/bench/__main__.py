"""The benchmark: ``python -m tests.bench`` (root, a quarter of an hour or more, 25 GB of room)."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tests.bench import against_buildah, against_script, big_base, shipped
from tests.bench.installation import install
from tests.bench.machine import facts
from tests.bench.measuring import REPOSITORY, BenchError, Row
from tests.bench.report import keep, markdown, shown
from tests.bench.trees import BIG, TENTH

KEPT = REPOSITORY / ".pipeline/bench"


def main() -> int:
    """Run all parts or those named, print the table, keep the figures. Exit 1 when a limit is not met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help="buildah, commands, shipped, large, tenth, big",
    )
    parser.add_argument("-n", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument("--slow", type=int, default=3, help="runs of what copies a tree (default: 3)")
    parser.add_argument("--dir", type=Path, default=KEPT / "work", help="a folder for what is made meanwhile")
    parser.add_argument("--lab", type=Path, default=REPOSITORY / ".pipeline/lab", help="the lab's home")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, too")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("the benchmark takes root: it makes chroots and mounts", file=sys.stderr)
        return 3
    parts: dict[str, Callable[[Path], Iterator[Row]]] = {
        "buildah": partial(against_buildah.rows, count=options.n),
        "commands": partial(against_script.rows, count=options.n),
        "shipped": partial(shipped.rows, lab=options.lab.absolute(), count=options.n),
        "large": partial(shipped.large_rows, lab=options.lab.absolute(), count=options.n),
        "tenth": partial(big_base.rows, size=TENTH, count=options.n, slow=options.slow, limits=False),
        "big": partial(big_base.rows, size=BIG, count=options.n, slow=options.slow, limits=True),
    }
    if unknown := set(options.parts) - parts.keys():
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    install()
    work = options.dir.absolute()
    work.mkdir(parents=True, exist_ok=True)
    machine, rows, failed = facts(work), list[Row](), False
    for name in options.parts or parts:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        try:
            rows += list(parts[name](_fresh(work / name)))
        except BenchError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
        finally:
            shutil.rmtree(work / name)
    file = KEPT / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    keep(file, machine, rows)
    print("\n".join(f"{name}: {value}" for name, value in machine.items()))
    print(f"\n{shown(rows)}\n\nraw figures: {file}")
    if options.markdown:
        options.markdown.write_text(markdown(rows) + "\n")
    return int(failed or any(row.met is False for row in rows))


def _fresh(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    return folder


sys.exit(main())
