"""This machine as the image under test, so that the same questions can be put to its own programs."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec

from pipeline.chroot.root import Finished, nothing
from pipeline.store.records import Verification
from pipeline.verify.image import Image
from pipeline.verify.messages import Ask, Ran, Run
from pipeline.verify.runner import QUESTIONS, ImageFacts, run_tests

P = ParamSpec("P")
T = TypeVar("T")

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/",
    "LANG": "C",
}
FACTS = ImageFacts(
    name="openstack-image",
    number=3,
    kernel="2.6.32-431.el6.x86_64",
    kernel_parameters=("intel_iommu=on", "iommu=pt"),
    parameters={"vfs": 16, "networks": ["ibhostnet"]},
)


class LocalRoot:
    """A ``pipeline.chroot.root.Root`` without a chroot. ``commands`` are those that ran, in order."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    @property
    def kernel(self) -> str | None:
        return FACTS.kernel

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str = "/",
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        exit_codes: Collection[int] = (0,),
        separate: bool = False,
        most: int | None = None,
        on_lines: Callable[[Sequence[str]], None] = nothing,
    ) -> Finished:
        self.commands.append(argv[-1])
        done = subprocess.run(
            argv, cwd=cwd, env={**ENVIRONMENT, **(env or {})}, input=stdin, capture_output=True
        )
        return Finished(tuple(argv), done.returncode, done.stdout, done.stderr)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    def note(self, text: str) -> None:
        raise AssertionError("tests have nothing to note")


def verify(folder: Path, text: str, root: LocalRoot | None = None, **others: str) -> Verification:
    """Run ``text`` as ``test_image.py`` (and ``others``: name → text) against this machine."""
    files = {"test_image": text, **others}
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content)
    paths = [folder / f"{name}.py" for name in files]
    return run_tests(paths, root or LocalRoot(), FACTS, folder / "out", lambda line: None)


class DirectImage(Image):
    """An image whose questions are answered in this process."""

    def __init__(self, root: LocalRoot) -> None:
        ours, theirs = socket.socketpair()
        theirs.close()
        super().__init__(ours)
        ours.close()
        self._root = root

    def _exchange(self, request: Run | Ask, kind: Any) -> Any:
        if isinstance(request, Run):
            finished = self._root.run(["/bin/sh", "-c", os.fsdecode(request.command)])
            return Ran(finished.exit_code, finished.stdout, finished.stderr)
        encoded = msgspec.msgpack.encode(QUESTIONS[request.question](*request.arguments))
        return msgspec.msgpack.decode(encoded, type=kind)
