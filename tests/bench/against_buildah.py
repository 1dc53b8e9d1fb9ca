"""Ten small chroot steps and one overlay file on a tree that both have imported before, beside buildah."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from tests.bench.buildah import Buildah
from tests.bench.measuring import Row, Sample, in_turns, run, seconds
from tests.bench.site import make_site
from tests.bench.trees import SMALL, make_tree

STEPS = 10
CHANGED = 5
PEER = "buildah"
SCRIPT = "the steps by a shell script in one chroot"


def rows(work: Path, count: int) -> Iterator[Row]:
    """The figures, each of ``count`` runs; ``work`` is a new folder."""
    tree = work / "tree"
    make_tree(tree, SMALL)
    site = make_site(work / "site", tree)
    peer = Buildah(work / "buildah")
    try:
        peer.import_tree(tree)
        numbers = itertools.count()

        def commands(special: int | None = None) -> list[str]:
            changed = {CHANGED - 1: f"echo {special} > /etc/step{CHANGED}"} if special is not None else {}
            return [changed.get(n, f"echo {n + 1} > /etc/step{n + 1}") for n in range(STEPS)]

        def ours(text: str, special: int | None = None) -> Sample:
            site.write_recipe(commands(special), text)
            return site.build()

        def theirs(text: str, special: int | None = None) -> Sample:
            (peer.context / "file").write_text(text)
            return peer.build([*(f"RUN {command}" for command in commands(special)), "COPY file /etc/file"])

        def cold_ours() -> Sample:
            site.forget()
            return ours("first")

        def cold_theirs() -> Sample:
            peer.forget()
            return theirs("first")

        ours("first"), theirs("first")  # the import, and bytecode
        cold, cold_peer = in_turns(count, cold_ours, cold_theirs)
        idle, idle_peer = in_turns(count, lambda: ours("first"), lambda: theirs("first"))
        last, last_peer = in_turns(
            count, lambda: ours(f"{next(numbers)}"), lambda: theirs(f"{next(numbers)}")
        )
        fifth, fifth_peer = in_turns(
            count, lambda: ours("first", next(numbers)), lambda: theirs("first", next(numbers))
        )
        (script,) = in_turns(count, lambda: _by_script(tree, commands()))
    finally:
        peer.close()
    for name, mine, its, limit in (
        ("cold", cold, cold_peer, 1 / 5),
        ("nothing to do", idle, idle_peer, 0.4),
        ("last file changed", last, last_peer, 0.5),
        (f"step {CHANGED} changed", fifth, fifth_peer, 1 / 5),
    ):
        yield Row(f"{STEPS} steps and a file: {name}", seconds(mine), limit, PEER, seconds(its))
    yield Row(
        "overhead of a stage over its command",
        tuple(
            (whole.seconds - nothing.seconds - alone.seconds) / (STEPS + 1)
            for whole, nothing, alone in zip(cold, idle, script, strict=True)
        ),
        0.060,
        note=f"(cold - nothing to do - {SCRIPT}) / {STEPS + 1}",
    )
    yield Row(SCRIPT, seconds(script), None)


def _by_script(tree: Path, commands: list[str]) -> Sample:
    return run(["chroot", str(tree), "/bin/sh", "-e", "-c", "\n".join(commands)], tree)
