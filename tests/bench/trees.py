"""Trees of a given size, each the same whenever it is made, with a shell that runs in a chroot."""

from __future__ import annotations

import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

POOL = 8 << 20
FILES_IN_A_DIRECTORY = 10


@dataclass(frozen=True)
class Size:
    """How big a tree is: ``files`` regular files of ``size`` bytes in all."""

    name: str
    files: int
    size: int


SMALL = Size("345 MB", 12_600, 345_000_000)
BIG = Size("5 GB", 140_000, 5_000_000_000)
TENTH = Size("0.5 GB", 14_000, 500_000_000)


def make_tree(path: Path, of: Size) -> None:
    """Make the tree ``path``: most files are small and a few hold most of the bytes, as in an image."""
    path.mkdir(parents=True)
    for folder in ("etc", "opt", "proc", "sys", "dev", "tmp", "run"):
        (path / folder).mkdir()
    (path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (path / "etc/group").write_text("root:x:0:\n")
    for program in ("/bin/sh", "/bin/true"):
        _lay_program(path, Path(program))
    chance = random.Random(of.files)
    pool = memoryview(chance.randbytes(POOL))
    weights = [chance.lognormvariate(0, 2) for _ in range(of.files)]
    scale = of.size / sum(weights)
    for number, weight in enumerate(weights):
        directory = (
            path / f"usr/share/d{number // FILES_IN_A_DIRECTORY // 50}/d{number // FILES_IN_A_DIRECTORY}"
        )
        if number % FILES_IN_A_DIRECTORY == 0:
            directory.mkdir(parents=True)
        left = int(weight * scale)
        with open(directory / f"file{number}", "wb", buffering=0) as file:
            while left > 0:
                begin = chance.randrange(POOL // 2)
                left -= file.write(pool[begin : begin + min(left, POOL // 2)])


def _lay_program(root: Path, program: Path) -> None:
    """Copy a program of this machine with the libraries that it is linked to."""
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    libraries = [word for word in listed.split() if word.startswith("/")]
    for source in (str(program), *libraries):
        target = root / source.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
