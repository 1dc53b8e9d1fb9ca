"""Ten commands that take some time, each a stage, beside the same commands in one shell script.

What the program adds is the same for each stage, so it is told by commands as long as those of real images.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measuring import Row, Sample, in_turns, run, seconds
from tests.bench.site import make_site
from tests.bench.trees import SMALL, make_tree

STEPS = 10
LIMIT = 1.1
TURNS = 1_200_000
"""Of a loop of the shell, in each command: one to two seconds."""


def rows(work: Path, count: int) -> Iterator[Row]:
    """The figures, each of ``count`` runs; ``work`` is a new folder."""
    tree, copy = work / "tree", work / "copy"
    make_tree(tree, SMALL)
    commands = [
        f"n=0; while [ $n -lt {TURNS} ]; do n=$((n + 1)); done; echo $n > /etc/step{number}"
        for number in range(STEPS)
    ]
    site = make_site(work / "site", tree)
    site.write_recipe(commands)
    site.build()  # the import, and bytecode
    subprocess.run(["cp", "-a", str(tree), str(copy)], check=True)

    def ours() -> Sample:
        site.forget()
        return site.build()

    def script() -> Sample:
        there = ["sh", "-ec", 'chroot "$1" /bin/sh -ec "$2"; sync -f "$1"', "sh", str(copy)]
        return run([*there, "\n".join(commands)], work)

    cold, by_hand = in_turns(count, ours, script)
    shutil.rmtree(copy)
    each = sum(seconds(by_hand)) / count / STEPS
    yield Row(
        f"{STEPS} commands of {each:.1f} s: cold",
        seconds(cold),
        LIMIT,
        "shell script",
        seconds(by_hand),
        note="layers only; the script in one chroot",
    )
