"""The stage type ``repository``: a repository file for yum or dnf, and keys that sign its packages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from pipeline.chroot.root import CommandError, Root
from pipeline.errors import PipelineError, Problem, UnreadableError
from pipeline.packaging import repofile
from pipeline.stages.base import Inputs, SourceRequest, Stage
from pipeline.urls import url_fault

ID = re.compile(r"[A-Za-z0-9_.:-]+")
KEY = re.compile(r"[a-z][a-z0-9_]*")
VARIABLE = re.compile(r"\$(?:\w+|\{\w+\})")
"""``$basearch``, as yum replaces it in URLs."""

ONE_LINE = "a value is one line, without control characters"

OWN_OPTIONS = frozenset({"name", "baseurl", "mirrorlist", "metalink", *repofile.CHECKS, "gpgkey", "enabled"})


class Repository(Stage, frozen=True, kw_only=True, tag="repository"):
    """Make a package repository known to the image's yum or dnf.

        [[stage]]
        name = "mlnx-icehouse"
        type = "repository"
        source = "http://www.mellanox.com/downloads/solutions/openstack/icehouse/repo/mlnx-icehouse/mlnx-icehouse.repo"
        gpgcheck = false                     # the vendor signs nothing

        [[stage]]
        name = "site-repository"
        type = "repository"
        id = "site"
        baseurl = "http://repos.example.com/el6/$basearch/"
        import_key = ["keys/site.asc"]
        options = { priority = "10" }

    Either fetched as it is:
    source      URL of a .repo file, or its path below the project; locked by digest
    sha256      what that file must be, 64 hex digits (optional)
    id          the name of the file in /etc/yum.repos.d without .repo; by default that of the source

    or written here:
    id          the repository's name for yum, and that of its file
    baseurl     the URL where it is,
    mirrorlist  or that of a list of such URLs,
    metalink    or that of a metalink file
    summary     what yum shows for it (default: the id)
    enabled     true by default
    gpgkey      URLs of the keys that yum may import by itself
    options     anything else that yum.conf(5) or dnf.conf(5) knows, as texts. A password, certificate or
                proxy serves the image's yum or dnf only, as does one in a fetched file: `pipeline lock`
                locks what they get by it. A machine that builds by the lock and has not those RPMs in
                its store needs a mirror (`[mirrors]` in pipeline.toml), which may have a password.
                What stands here is in the image, for all who can read its .repo files.

    and for both:
    gpgcheck    true by default: packages must be signed by a key that the image knows. A fetched file that
                says anything else than 1, yes, true or on is refused, unless the recipe says
                `gpgcheck = false`; that is then noted. One that says nothing gets `gpgcheck=1`.
    import_key  URLs or project paths of keys that are imported into the image's rpm database

    The file in the image keeps its own URLs, whatever mirrors the site has for building.
    """

    id: str | None = None
    source: str | None = None
    sha256: str | None = None
    baseurl: str | None = None
    mirrorlist: str | None = None
    metalink: str | None = None
    summary: str | None = None
    enabled: bool = True
    gpgcheck: bool = True
    gpgkey: tuple[str, ...] = ()
    import_key: tuple[str, ...] = ()
    options: Mapping[str, str] = msgspec.field(default_factory=dict)

    def check(self) -> tuple[tuple[str, str], ...]:
        """Fetched and written mixed up, no place for it, ids that are no file names."""
        found = [("id", f"{self.id!r} is no name for a repository")] if not _is_id(self.id) else []
        found += self._check_fetched() if self.source is not None else self._check_written()
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            found.append(("sha256", "64 hexadecimal digits in lower case are needed"))
        return tuple(found)

    def _check_fetched(self) -> list[tuple[str, str]]:
        of_written = {
            "baseurl": self.baseurl,
            "mirrorlist": self.mirrorlist,
            "metalink": self.metalink,
            "summary": self.summary,
            "gpgkey": self.gpgkey,
            "options": self.options,
        }
        found = [
            (option, "not together with source: the fetched file says it")
            for option, value in of_written.items()
            if value
        ]
        if not self.enabled:
            found.append(("enabled", "not together with source: the fetched file says it"))
        if self.id is None and not _is_id(_stem(self.source or "")):
            found.append(("id", "needed: the source has no name that could be used"))
        return found

    def _check_written(self) -> list[tuple[str, str]]:
        found = []
        places = [place for place in (self.baseurl, self.mirrorlist, self.metalink) if place is not None]
        if self.id is None:
            found.append(("id", "needed, or source"))
        if len(places) != 1:
            found.append(("baseurl", "exactly one of source, baseurl, mirrorlist and metalink is needed"))
        found += [
            (option, f'"{place}" is no URL{fault}')
            for option in ("baseurl", "mirrorlist", "metalink")
            if (place := getattr(self, option)) is not None and (fault := _url_fault(place)) is not None
        ]
        wrong = {option for option, _ in found}
        found += [each for each in self._check_lines() if each[0] not in wrong]
        if self.sha256 is not None:
            found.append(("sha256", "only together with source"))
        for key, value in self.options.items():
            if key in OWN_OPTIONS:
                found.append(("options", f"{key} is an option of this stage type (name: summary)"))
            elif not KEY.fullmatch(key):
                found.append(("options", f"{key!r} is no option of yum"))
            elif not value.isprintable():
                found.append(("options", f"{key}: {ONE_LINE}"))
        return found

    def _check_lines(self) -> list[tuple[str, str]]:
        """A value that goes on in another line would be another option, whatever that says."""
        return [
            (option, ONE_LINE)
            for option in ("summary", "baseurl", "mirrorlist", "metalink")
            if not (getattr(self, option) or "").isprintable()
        ] + [("gpgkey", ONE_LINE) for key in self.gpgkey if not key.isprintable()]

    def sources(self) -> tuple[SourceRequest, ...]:
        """The .repo file and the keys."""
        fetched = (SourceRequest(self.source, self.sha256),) if self.source is not None else ()
        return (*fetched, *(SourceRequest(key) for key in self.import_key))

    def changes_repositories(self) -> bool:
        """Yes."""
        return True

    def changes_packages(self) -> bool:
        """Imported keys are packages, too (gpg-pubkey)."""
        return bool(self.import_key)

    def run(self, root: Root, inputs: Inputs) -> None:
        """Write the file, import the keys."""
        file = f"{self.id or _stem(self.source or '')}.repo"
        text = self._written() if self.source is None else self._fetched(root, inputs)
        root.call(repofile.put, file, text)
        unchecked = repofile.unchecked(text) if not self.gpgcheck else {}
        for name in unchecked:
            root.note(f"{repofile.FOLDER}/{file}: signatures of the packages of {name} are not checked")
        if not self.gpgcheck and not unchecked:
            root.note(f"gpgcheck = false is not needed: {self.source} does not switch the check off")
        for key in self.import_key:
            try:
                root.run(["rpm", "--import", inputs.sources[key]])
            except CommandError as error:
                raise UnreadableError(f"cannot be imported: {error}", where=key) from None

    def _written(self) -> str:
        assert self.id is not None
        places = {"baseurl": self.baseurl, "mirrorlist": self.mirrorlist, "metalink": self.metalink}
        options: dict[str, str | tuple[str, ...]] = {
            "name": self.summary or self.id,
            **{key: place for key, place in places.items() if place is not None},
            "enabled": str(int(self.enabled)),
            "gpgcheck": str(int(self.gpgcheck)),
            **({"gpgkey": self.gpgkey} if self.gpgkey else {}),
            **self.options,
        }
        return repofile.render(self.id, options)

    def _fetched(self, root: Root, inputs: Inputs) -> str:
        assert self.source is not None
        try:
            text = root.call(repofile.read, inputs.sources[self.source]).decode()
            found = repofile.sections(text)
            unchecked = repofile.unchecked(text)
        except ValueError as error:
            raise UnreadableError(f"is no repository file: {error}", where=self.source) from error
        if not found:
            raise UnreadableError("is no repository file: there is no [section] in it", where=self.source)
        if not self.gpgcheck:
            return text
        if unchecked:
            raise PipelineError(
                Problem(
                    f"{self.source} switches off the check of signatures for the repository {name!r}: "
                    f"it says {said!r}, and only 1, yes, true or on are plainly on",
                    hint="if you trust its packages without a signature, say gpgcheck = false in the stage; "
                    "that is then noted",
                )
                for name, said in unchecked.items()
            )
        return repofile.checked(text)


def _is_id(name: str | None) -> bool:
    return name is None or (ID.fullmatch(name) is not None and name.strip(".") != "")


def _stem(location: str) -> str:
    try:
        path = urlsplit(location).path
    except ValueError:  # told where it is found to be no URL
        path = location
    return path.rsplit("/", 1)[-1].removesuffix(".repo")


def _url_fault(place: str) -> str | None:
    """What follows "is no URL"; None when it is one. Yum's variables may stand anywhere in it."""
    if "://" not in place:
        return ""
    fault = url_fault(VARIABLE.sub("1", place))
    return f": {fault}" if fault else None
