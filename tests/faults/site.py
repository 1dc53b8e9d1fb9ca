"""A site with a base of a few files, in which everything that can go wrong is made to go wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
PASSWD = "root:x:0:0::/root:/bin/sh\n"
TESTS = 'def test_it_has_users(host):\n    assert host.file("/etc/passwd").exists\n'
SECONDS_TO_END = 60.0


@dataclass(frozen=True)
class Ended:
    """A command that ended. ``err`` never is a traceback or an unforeseen defect."""

    exit_code: int
    out: str
    err: str

    def __post_init__(self) -> None:
        for text in (self.out, self.err):
            assert "Traceback" not in text, text
            assert "a defect of this program" not in text, text

    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)

    def images(self) -> dict[str, Any]:
        """The images of that document, by name."""
        return {image["image"]: image for image in self.json()["images"]}


def file_stage(name: str, content: str = "") -> str:
    """A stage that needs no program of the image."""
    return (
        f'\n[[stage]]\nname = "{name}"\ntype = "file"\npath = "/etc/{name}"\ncreate = "{content or name}"\n'
    )


def archive_stage(source: str, *, name: str = "archive", more: str = "") -> str:
    """A stage that unpacks ``source`` to /opt/x."""
    return (
        f'\n[[stage]]\nname = "{name}"\ntype = "archive"\nsource = "{source}"\ndestination = "/opt/x"\n{more}'
    )


def command_stage(name: str, shell: str, more: str = "") -> str:
    """A stage that runs ``shell`` in an image that has one (``add_shell``)."""
    return f'\n[[stage]]\nname = "{name}"\ntype = "command"\nshell = "{shell}"\n{more}'


@dataclass(frozen=True)
class Site:
    """A project of its own. ``marker`` is in the environment of every process that it starts."""

    path: Path
    marker: str = field(default_factory=lambda: os.urandom(8).hex())

    @property
    def base(self) -> Path:
        """The base ``small``."""
        return self.path.parent / "base"

    @property
    def store(self) -> Path:
        return self.path / "store"

    @property
    def images(self) -> Path:
        """Where versions are published."""
        return self.path / "images"

    def lock(self, image: str = "web") -> Path:
        return self.path / "recipes" / image / "recipe.lock"

    def write(self, name: str, text: str) -> Path:
        """A file of the project."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def settle(self, more: str = "", *, images: str = "images", bases: str = "") -> None:
        """Write the site file; ``more`` are further tables of it."""
        self.write(
            "pipeline.toml",
            f'[site]\nstore = "store"\nimages = "{images}"\n\n'
            f'[bases]\nsmall = "{self.base}"\n{bases}\n[downloads]\nattempts = 2\nlongest_wait = 0.1\n'
            f"timeout = 1.0\n{more}",
        )

    def recipe(self, *stages: str, image: str = "web", base: str = "small", tests: str = TESTS) -> Path:
        """Write the recipe of an image and its tests."""
        text = f'[image]\nname = "{image}"\nbase = "{base}"\n' + "".join(stages)
        if tests:
            self.write(f"recipes/{image}/test_image.py", tests)
        return self.write(f"recipes/{image}/recipe.toml", text)

    def line(self, text: str, image: str = "web") -> str:
        """``recipes/IMAGE/recipe.toml:LINE`` of the first line that has ``text``."""
        name = f"recipes/{image}/recipe.toml"
        lines = (self.path / name).read_text().splitlines()
        number = next(number for number, line in enumerate(lines, 1) if text in line)
        return f"{name}:{number}"

    def environment(self) -> dict[str, str]:
        return {**os.environ, "FAULTS_MARKER": self.marker, "PYTHONPATH": str(REPOSITORY)}

    def run(self, *words: str, before: Sequence[str] = (), timeout: float = 120) -> Ended:
        """``pipeline WORDS`` in the project; ``before`` is a program that starts it."""
        process = self.start(*words, before=before)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return Ended(process.returncode, out, err)

    def start(self, *words: str, before: Sequence[str] = (), **options: Any) -> subprocess.Popen[str]:
        """The same, begun: the leader of a process group of its own."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(
            [*before, sys.executable, "-m", "pipeline", *words],
            cwd=self.path,
            env=self.environment(),
            text=True,
            start_new_session=True,
            **{**pipes, **options},
        )

    def processes(self) -> list[int]:
        """Those that the commands of this project started and that live, chroots included."""
        wanted = f"FAULTS_MARKER={self.marker}".encode()
        return [
            int(entry)
            for entry in os.listdir("/proc")
            if entry.isdigit() and wanted in _environment_of(entry)
        ]

    def mounts(self) -> list[str]:
        """Mount points below the project, as this process sees them."""
        lines = Path("/proc/self/mounts").read_text().splitlines()
        return [line.split()[1] for line in lines if line.split()[1].startswith(f"{self.path}/")]

    def unmount(self) -> None:
        """Unmount what was published."""
        for mount in reversed(self.mounts()):
            subprocess.run(["umount", mount], check=True)

    def layers(self) -> dict[str, Mapping[str, Any]]:
        """The records of all layers, by stage."""
        files = (self.store / "layers").glob("*/layer.json")
        records = [json.loads(file.read_text()) for file in files]
        return {record["stage"]: record for record in records}

    @contextmanager
    def stored_in(self, place: Path) -> Iterator[None]:
        """Have the store on the file system mounted at ``place``, which is unmounted at the end."""
        file = self.path / "pipeline.toml"
        file.write_text(file.read_text().replace('store = "store"', f'store = "{place}/store"'))
        self.store.symlink_to(place / "store")
        try:
            yield
        finally:
            self.unmount()
            self.store.unlink()
            subprocess.run(["umount", str(place)], check=True)

    def check_whole(self) -> None:
        """Assert that nothing runs or is mounted but what is published, and that the store is consistent."""
        until(lambda: not self.processes(), "its processes end")
        published = {str(path.resolve()) for path in self.images.glob("*") if path.is_symlink()}
        directories = {str(path) for path in self.images.glob("*-*")}
        assert set(self.mounts()) <= published | directories
        if not (self.store / "format").exists():
            return
        checked = self.run("fsck")
        assert checked.exit_code == 0, checked.out
        assert os.listdir(self.store / "work") == []

    def check_nothing_ran(self) -> None:
        """Assert that the store has not even been made."""
        assert not self.store.exists()
        assert not self.images.exists()
        assert not self.processes()


def until(condition: Callable[[], bool], what: str, seconds: float = SECONDS_TO_END) -> None:
    """Return as soon as ``condition`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s until {what}"
        time.sleep(0.005)


def make_old(base: Path) -> None:
    """Have ``base`` changed long ago: of one that was just now it counts when it is imported."""
    for place in (base, *base.rglob("*")):
        os.utime(place, (1_400_000_000, 1_400_000_000), follow_symlinks=False)


def make_site(folder: Path) -> Site:
    """A site in the new folder ``folder``, with a base and without recipes."""
    site = Site(folder / "project")
    for name in ("recipes", "overlays"):
        (site.path / name).mkdir(parents=True)
    for name in ("etc", "bin", "opt"):
        (site.base / name).mkdir(parents=True)
    (site.base / "etc/passwd").write_text(PASSWD)
    (site.base / "etc/group").write_text("root:x:0:\n")
    site.settle()
    return site


def add_shell(base: Path) -> None:
    """Put sh, sleep and cat of this machine into ``base``, with their libraries."""
    for program in ("sh", "sleep", "cat"):
        path = os.path.realpath(shutil.which(program) or "")
        (base / "bin").mkdir(exist_ok=True)
        shutil.copy(path, base / "bin" / program)
        printed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        for word in printed.split():
            if word.startswith("/"):
                target = base / word.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(word, target)


def _environment_of(process: str) -> bytes:
    try:
        if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return b""
        return Path(f"/proc/{process}/environ").read_bytes()
    except OSError:
        return b""
