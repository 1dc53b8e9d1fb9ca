"""The stage type ``packages``: install, remove and upgrade RPMs."""

from __future__ import annotations

from pipeline.chroot.root import Root
from pipeline.errors import PipelineError
from pipeline.packaging import transaction
from pipeline.packaging.nevra import is_file, matches, parse
from pipeline.stages.base import Inputs, PackageRequest, Stage


class Packages(Stage, frozen=True, kw_only=True, tag="packages"):
    """Install, remove and upgrade packages.

        [[stage]]
        name = "eswitchd"
        type = "packages"
        remove = ["cm-config-intelcompliance-slave", "qlgc-ofed"]
        upgrade = ["openssl"]
        install = [
            "eswitchd",
            "openstack-neutron-mellanox-2014.1.1",
            "http://www.mellanox.com/downloads/mlnx-dnsmasq-2014.1.1-1.noarch.rpm",
            "rpms/site-tools-1.0-1.noarch.rpm",
        ]

    install   what has to be there afterwards: a name, a name with version (`name-1.2`, `name-1.2-3.el6`) or
              arch (`name.i686`), a glob (`perl-*`), something provided (`/usr/bin/tclsh`, `perl(POSIX)`), the
              URL of an RPM, or the path of one below the project (both end in `.rpm`). Whether an older
              version that is there already will do is the package manager's decision: yum takes the
              newest, dnf keeps what there is unless its configuration says `best=True`.
    remove    what must not be there afterwards, and with it everything that needs it. Something that is not
              installed is noted, and is no error.
    upgrade   what has to be at the newest version, or at the one named; it must be installed already. `*` is
              everything.

    Removing comes first, then upgrading, then installing. What this means exactly is worked out once, by
    `pipeline lock`, with the image's own yum or dnf and the repositories of the image, whose `gpgcheck` it
    obeys; RPMs by URL or path are held to their digest alone. The lock then names each RPM with its URL and
    sha256, and a build installs exactly those with the image's own rpm, without network. A scriptlet that
    fails fails the stage, even where rpm would go on.
    """

    install: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    upgrade: tuple[str, ...] = ()

    def check(self) -> tuple[tuple[str, str], ...]:
        """Nothing asked for, things that are no packages, and contradictions."""
        found = []
        if not (self.install or self.remove or self.upgrade):
            found.append(("install", "nothing to do: give install, remove or upgrade"))
        for option, asked in (("install", self.install), ("remove", self.remove), ("upgrade", self.upgrade)):
            found += [(option, message) for name in asked if (message := _why_no_package(name))]
            twice = sorted({name for name in asked if asked.count(name) > 1})
            found += [(option, f"{name!r} stands there twice") for name in twice]
        found += [
            ("remove", f"{name!r} is no name of a package: only those can be removed")
            for name in self.remove
            if is_file(name) or "/" in name or "(" in name
        ]
        both = sorted(set(self.remove) & {*self.install, *self.upgrade})
        found += [("remove", f"{name!r} is asked for as well") for name in both]
        return tuple(found)

    def packages(self) -> PackageRequest:
        """The three lists as they are."""
        return PackageRequest(install=self.install, remove=self.remove, upgrade=self.upgrade)

    def run(self, root: Root, inputs: Inputs) -> tuple[str, ...] | None:
        """Install and remove exactly what was locked."""
        answer = inputs.packages
        if answer is None:
            raise PipelineError(f"no packages are locked for the stage {self.name!r}")
        gone = [parse(nevra) for nevra in answer.remove]
        for asked in self.remove:
            if not any(matches(asked, package) for package in gone):
                root.note(f"remove: {asked} is not installed, nothing to remove")
        replaced = {parse(package.nevra).name for package in answer.install}
        for package in gone:
            if package.name not in replaced and not any(matches(asked, package) for asked in self.remove):
                root.note(f"also removed, because of what was asked: {package}")
        return transaction.carry_out(root, answer, inputs.sources, inputs.installed)


def _why_no_package(asked: str) -> str | None:
    if not asked.strip() or any(sign.isspace() or ord(sign) < 32 for sign in asked):
        return f"{asked!r} is no package: it is empty or has blanks in it"
    if asked.startswith("-"):
        return f"{asked!r} would be an option of the package manager"
    if asked.startswith("@"):
        return f"{asked!r} is a group: name the packages that you need of it"
    if "://" in asked and not is_file(asked):
        return f"{asked!r} is no URL of an RPM: it does not end in .rpm"
    return None
