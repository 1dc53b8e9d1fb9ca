"""The stage type ``kernel``: the list of the kernel's modules, and parameters that it is booted with."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import msgspec

from pipeline.chroot.root import Root
from pipeline.errors import PipelineError, Problem
from pipeline.kernel_words import is_parameter
from pipeline.packaging.programs import first_found
from pipeline.stages.base import Inputs, Stage

MODULES = "/lib/modules"
MODULE_FILE = re.compile(r"(?P<name>[^/]+)\.ko(?:\.(?:gz|xz|zst))?$")


class Listed(msgspec.Struct, frozen=True):
    """What ``depmod`` left. ``stamp`` differs whenever modules.dep was written anew."""

    stamp: tuple[int, int, int] | None = None
    modules: frozenset[str] = frozenset()
    builtin: frozenset[str] = frozenset()


class Kernel(Stage, frozen=True, kw_only=True, tag="kernel"):
    """List the modules of the image's kernel anew (depmod), and record what it is booted with.

        [[stage]]
        name = "kernel"
        type = "kernel"
        require_modules = ["mlx4_core", "mlx4_ib"]
        append_parameters = ["intel_iommu=on"]

    release            the kernel, as `uname -r` names it (default: the image's, if it has only one)
    require_modules    modules that must be in the list afterwards, without .ko
    append_parameters  kernel parameters, which are recorded with the version in addition to the recipe's; the
                       cluster manager appends them when nodes boot. Nothing in the image is changed for them.
    """

    release: str | None = None
    require_modules: tuple[str, ...] = ()
    append_parameters: tuple[str, ...] = ()

    def check(self) -> tuple[tuple[str, str], ...]:
        """Releases and parameters that are none."""
        found = []
        if self.release is not None and not re.fullmatch(r"\w[\w.+~-]*", self.release):
            found.append(("release", f"{self.release!r} is no release of a kernel"))
        found += [
            ("append_parameters", f"{parameter!r} is not one kernel parameter")
            for parameter in self.append_parameters
            if not is_parameter(parameter)
        ]
        found += [
            ("require_modules", f"{name!r}: the name alone, without folder and .ko")
            for name in self.require_modules
            if "/" in name or MODULE_FILE.search(name) or not name.strip()
        ]
        return tuple(found)

    def kernel_parameters(self) -> tuple[str, ...]:
        """As the recipe says."""
        return self.append_parameters

    def changes_packages(self) -> bool:
        """No."""
        return False

    def run(self, root: Root, inputs: Inputs) -> None:
        """Run depmod and look at what it wrote."""
        del inputs
        release = self._release(root)
        if root.call(first_found, "depmod") is None:
            raise PipelineError("the image has no depmod", hint="install kmod, or module-init-tools on EL6")
        before = root.call(listed, release)
        said = root.run(["depmod", "-a", release]).text
        for line in dict.fromkeys(said.splitlines()):
            root.note(line)
        after = root.call(listed, release)
        problems = list(self._wrong(release, before, after))
        if problems:
            raise PipelineError(problems)

    def _release(self, root: Root) -> str:
        releases = root.call(kernel_releases)
        has = f"{MODULES} has {', '.join(releases)}" if releases else f"{MODULES} has none"
        if self.release is not None:
            if self.release not in releases:
                near = get_close_matches(self.release, releases, n=1)
                hint = f"did you mean {near[0]!r}?" if near else None
                raise PipelineError(f"the image has no kernel {self.release}: {has}", hint=hint)
            return self.release
        if len(releases) > 1:
            raise PipelineError(
                f"the image has several kernels: {has}", hint='say which one: release = "…" in the stage'
            )
        release = root.kernel or next(iter(releases), None)
        if release is None or release not in releases:
            raise PipelineError(
                "the image has no kernel: " + has, hint="install one in a stage before this one"
            )
        return release

    def _wrong(self, release: str, before: Listed, after: Listed) -> Iterator[Problem]:
        path = f"{MODULES}/{release}/modules.dep"
        if after.stamp is None:
            yield Problem(f"depmod ended well, but there is no {path}")
            return
        if after.stamp == before.stamp:
            yield Problem(f"depmod ended well, but did not write {path}")
        if not after.modules:
            yield Problem(f"{path} lists no module: {MODULES}/{release} holds none")
            return
        known = after.modules | after.builtin
        for name in self.require_modules:
            if _canonical(name) not in known:
                near = get_close_matches(_canonical(name), known, n=3)
                yield Problem(
                    f"the module {name} is not in {path}, which lists {len(after.modules)}",
                    hint=f"there is {', '.join(near)}" if near else None,
                )


def kernel_releases() -> tuple[str, ...]:
    """The kernels that have modules, sorted. Meant for the inside of a chroot."""
    if not os.path.isdir(MODULES):
        return ()
    return tuple(
        sorted(name for name in os.listdir(MODULES) if os.path.isdir(os.path.join(MODULES, name, "kernel")))
    )


def listed(release: str) -> Listed:
    """What the lists of modules say. Meant for the inside of a chroot."""
    path = Path(MODULES, release, "modules.dep")
    if not path.is_file():
        return Listed()
    status = path.stat()
    builtin = path.with_name("modules.builtin")
    return Listed(
        stamp=(status.st_ino, status.st_mtime_ns, status.st_ctime_ns),
        modules=_modules(path.read_text().splitlines()),
        builtin=_modules(builtin.read_text().splitlines()) if builtin.is_file() else frozenset(),
    )


def _modules(lines: Sequence[str]) -> frozenset[str]:
    found = (MODULE_FILE.search(line.partition(":")[0]) for line in lines)
    return frozenset(_canonical(match["name"]) for match in found if match)


def _canonical(name: str) -> str:
    """The kernel takes ``-`` and ``_`` in names of modules for the same."""
    return name.replace("-", "_")
