"""All that is known here of testinfra's insides (pytest-testinfra 10.2.2, pinned; it is hardly maintained).

Each of its modules is allowed as it is, replaced by one of ours, or refused: ``MODULES`` says which.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, NoReturn

import testinfra
import testinfra.backend.base
import testinfra.host
import testinfra.modules
from testinfra.modules.base import InstanceModule
from testinfra.modules.command import Command
from testinfra.modules.file import GNUFile
from testinfra.modules.group import Group
from testinfra.modules.package import RpmPackage
from testinfra.modules.pip import Pip
from testinfra.modules.service import Service
from testinfra.modules.systeminfo import SystemInfo
from testinfra.modules.user import User

from pipeline.verify import refusals, services
from pipeline.verify.bulk import ANSWERS, READ_ONLY
from pipeline.verify.image import Image
from pipeline.verify.refusals import Refusal

ENABLED = frozenset({"enabled", "static", "indirect", "alias"})
"""States for which ``systemctl is-enabled`` exits with 0."""


class ImageBackend(testinfra.backend.base.BaseBackend):  # type: ignore[misc]
    """Runs commands in the image, or answers them in bulk where ``pipeline.verify.bulk`` can."""

    NAME = "image"

    def __init__(self, image: Image, name: str) -> None:
        self.image = image
        super().__init__(name)

    def __repr__(self) -> str:
        return f"<{self.get_pytest_id()}>"

    def get_encoding(self) -> str:
        """Names and texts are UTF-8, whatever python the image has or lacks."""
        return "UTF-8"

    def encode(self, data: str) -> bytes:
        """As names of files are: one that is not UTF-8 has surrogates in it."""
        return data.encode(errors="surrogateescape")

    def run(self, command: str, *args: str, **kwargs: Any) -> testinfra.backend.base.CommandResult:
        """Run a shell command. Refused when it can't be true in an image, see ``refusals``."""
        __tracebackhide__ = True
        text = self.get_command(command, *args)
        ran = ANSWERS[command](self.image, *args) if command in ANSWERS else None
        if ran is None:
            if command not in READ_ONLY and (refused := refusals.command_refusal(text)):
                self.image.refuse(f"the command {refused[0]!r}", refused[1])
            ran = self.image.run(text, changes=command not in READ_ONLY)
        return self.result(ran.exit_code, self.encode(text), ran.stdout, ran.stderr)


class ImageHost(testinfra.host.Host):  # type: ignore[misc]
    """testinfra's ``host`` for an image."""

    def __getattr__(self, name: str) -> Any:
        __tracebackhide__ = True
        # A module that a newer testinfra has and the table has not is never silently allowed.
        found = MODULES.get(name, refusals.UNKNOWN)
        if name not in testinfra.modules.modules:
            return super().__getattr__(name)
        if isinstance(found, Refusal):
            image: Image = self.backend.image
            image.refuse(f"host.{name}", found)
        module = found.get_module(self)
        setattr(self, name, module)
        return module


class ImageFile(GNUFile):  # type: ignore[misc]
    """``host.file``; every answer is one of ``pipeline.verify.bulk``.

    Other than the original, md5sum and sha256sum fail for a missing file (the original returns "").
    """

    @classmethod
    def get_module_class(cls, host: testinfra.host.Host) -> type[ImageFile]:
        return cls


class ImagePackage(RpmPackage):  # type: ignore[misc]
    """``host.package`` from one list of all packages.

    Other than the original, version and release fail when several packages have the name (the original
    returns their versions written together), and everything fails when rpm lists no package at all.
    """

    @classmethod
    def get_module_class(cls, host: testinfra.host.Host) -> type[ImagePackage]:
        return cls


class ImageUser(User):  # type: ignore[misc]
    """``host.user`` from the image's own files."""

    @property
    def name(self) -> str:
        """The name; that of the one who runs tests, root, where none was given."""
        return self._name if self._name is not None else "root"

    @classmethod
    def get_module_class(cls, host: testinfra.host.Host) -> type[ImageUser]:
        return cls


class ImageService(Service):  # type: ignore[misc]
    """``host.service`` from init scripts, rc links, Upstart jobs and unit files.

    Other than the original: ``exists`` wants the whole name (the original, with systemd, a prefix) and also
    answers for init scripts; a script is enabled when a link in runlevel 2, 3, 4, 5 or S leads to it (the
    original takes 0, 1 and 6, and links that lead nowhere, as well).
    """

    @property
    def exists(self) -> bool:
        """Whether there is such an init script, Upstart job or unit."""
        found = self._services
        return self._unit in found.units or self.name in found.scripts or self.name in found.jobs

    @property
    def is_enabled(self) -> bool:
        """Whether init starts it, or, as ``systemctl is-enabled`` sees it, has nothing to decide (static)."""
        found = self._services
        state = found.units.get(self._unit) if found.systemd else None
        if state in ENABLED:
            return True
        if state == "disabled":
            return False
        if found.systemd and self.name not in found.scripts:
            if state == "masked":
                return False
            raise RuntimeError(f"the image has no service {self.name}: is it enabled?")
        return found.scripts.get(self.name, False) or (not found.systemd and found.jobs.get(self.name, False))

    @property
    def is_masked(self) -> bool:
        """Whether the unit is masked; systemd only."""
        if not self._services.systemd:
            raise NotImplementedError("only systemd masks services")
        return self._services.units.get(self._unit) == "masked"

    @property
    def is_valid(self) -> bool:
        """Whether ``systemd-analyze verify`` has nothing to say about the unit; systemd only."""
        if not self._services.systemd:
            raise NotImplementedError("only systemd has units to be verified")
        ran = self.run("systemd-analyze verify %s", self._unit)
        assert (ran.rc, ran.stdout, ran.stderr) == (0, "", "")
        return True

    @property
    def is_running(self) -> NoReturn:
        """Refused."""
        __tracebackhide__ = True
        self._refuse("is_running", refusals.NOTHING_RUNS)

    @functools.cached_property
    def systemd_properties(self) -> NoReturn:
        """Refused: most of them are about the running unit."""
        __tracebackhide__ = True
        self._refuse("systemd_properties", refusals.NOTHING_RUNS)

    @classmethod
    def get_module_class(cls, host: testinfra.host.Host) -> type[ImageService]:
        return cls

    def _refuse(self, member: str, refusal: Refusal) -> NoReturn:
        __tracebackhide__ = True
        self._image.refuse(f"host.service({self.name!r}).{member}", refusal)

    @property
    def _services(self) -> services.Services:
        return self._image.services()

    @property
    def _image(self) -> Image:
        image: Image = self._host.backend.image
        return image

    @property
    def _unit(self) -> str:
        return self.name if services.UNIT.fullmatch(self.name) else f"{self.name}.service"


class ImagePip(Pip):  # type: ignore[misc]
    """``host.pip`` with what needs no network."""

    @classmethod
    def get_outdated_packages(cls, pip_path: str = "pip") -> NoReturn:
        """Refused: without network nothing is ever outdated."""
        __tracebackhide__ = True
        image: Image = cls._host.backend.image
        image.refuse("host.pip.get_outdated_packages", refusals.BUILDERS_NETWORK)


class ImageSudo(InstanceModule):  # type: ignore[misc]
    """``host.sudo``: tests run as root already."""

    @contextlib.contextmanager
    def __call__(self, user: str | None = None) -> Iterator[None]:
        __tracebackhide__ = True
        if user not in (None, "root"):
            image: Image = self._host.backend.image
            image.refuse(f"host.sudo({user!r})", refusals.BY_SU)
        yield


MODULES: dict[str, type[Any] | Refusal] = {
    # as they are
    "command": Command,
    "group": Group,
    "system_info": SystemInfo,
    # ours
    "file": ImageFile,
    "package": ImagePackage,
    "pip": ImagePip,
    "service": ImageService,
    "sudo": ImageSudo,
    "user": ImageUser,
    # refused
    "addr": refusals.BUILDERS_NETWORK,
    "ansible": refusals.NOT_THIS_IMAGE,
    "block_device": refusals.BUILDERS_KERNEL,
    "docker": refusals.NOTHING_RUNS,
    "environment": refusals.ENVIRONMENT,
    "facter": refusals.BUILDERS_KERNEL,
    "interface": refusals.BUILDERS_NETWORK,
    "iptables": refusals.BUILDERS_NETWORK,
    "mount_point": refusals.BUILDERS_MOUNTS,
    "podman": refusals.NOTHING_RUNS,
    "process": refusals.NOTHING_RUNS,
    "puppet_resource": refusals.NOT_THIS_IMAGE,
    "salt": refusals.NOT_THIS_IMAGE,
    "socket": refusals.NOTHING_RUNS,
    "supervisor": refusals.NOTHING_RUNS,
    "sysctl": refusals.BUILDERS_KERNEL,
}
"""Every module of testinfra: the class that answers in an image, or why none can."""

REFUSED_MEMBERS = (
    "service.is_running",
    "service.systemd_properties",
    "pip.get_outdated_packages",
    "sudo(user)",
)
"""What is refused of modules that are not."""


def image_host(image: Image, name: str) -> ImageHost:
    """The ``host`` of all tests; ``testinfra.get_host``, with which they would reach another, is refused."""

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        __tracebackhide__ = True
        image.refuse("testinfra.get_host", refusals.NOT_THIS_IMAGE)

    for place in (testinfra, testinfra.host, testinfra.host.Host):
        place.get_host = place.get_hosts = refuse
    backend = ImageBackend(image, name)
    host = ImageHost(backend)
    backend.set_host(host)
    return host
