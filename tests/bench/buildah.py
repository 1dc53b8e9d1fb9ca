"""The peer: buildah as the distribution ships it, with cached layers, in a storage of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.bench.measuring import BenchError, Sample, environment, run

BASE, RESULT = "localhost/base", "localhost/result"


class Buildah:
    """A storage below the new folder ``home``; ``context`` is where files to be copied lie."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.context = home / "context"
        self.context.mkdir(parents=True)
        places = ("--root", str(home / "root"), "--runroot", str(home / "run"))
        self._command = ("buildah", *places, "--storage-driver", "overlay")

    def import_tree(self, tree: Path) -> None:
        """Make an image of ``tree``, to build upon."""
        container = self._say("from", "scratch").strip()
        self._say("add", "--quiet", container, str(tree), "/")
        self._say("commit", "--quiet", container, BASE)
        self._say("rm", container)

    def build(self, lines: Sequence[str]) -> Sample:
        """Build ``FROM`` the imported tree with these lines of a Containerfile; layers are kept and used."""
        file = self._home / "Containerfile"
        file.write_text("\n".join([f"FROM {BASE}", *lines]) + "\n")
        options = ("--layers", "--isolation", "chroot", "--pull-never", "--quiet")
        return run(
            [*self._command, "build", *options, "-t", RESULT, "-f", str(file), str(self.context)], self._home
        )

    def forget(self) -> None:
        """Remove every layer but the imported tree's."""
        self._say("rmi", "--force", RESULT)
        self._say("rmi", "--prune", "--force")

    def close(self) -> None:
        """Remove the storage."""
        for words in (("rm", "--all"), ("rmi", "--all", "--force")):
            subprocess.run([*self._command, *words], capture_output=True, check=False)
        subprocess.run(["umount", str(self._home / "root/overlay")], capture_output=True, check=False)
        shutil.rmtree(self._home)

    def _say(self, *words: str) -> str:
        ended = subprocess.run([*self._command, *words], capture_output=True, text=True, env=environment())
        if ended.returncode:
            raise BenchError(f"buildah {' '.join(words)}: {ended.stderr}")
        return ended.stdout
