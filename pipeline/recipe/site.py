"""The site file, ``pipeline.toml``: where things are on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from pipeline.errors import UsageError
from pipeline.recipe.documents import Document, read_document
from pipeline.recipe.findings import Findings
from pipeline.recipe.kinds import faults as kind_faults
from pipeline.recipe.lines import KeyPath
from pipeline.recipe.model import Downloads, HeadSite, Signing, Site
from pipeline.recipe.names import file_name_fault
from pipeline.recipe.tables import dotted, fields_of
from pipeline.recipe.top import tables_of
from pipeline.recipe.written import DownloadsTable, HeadTable, LabTable, SigningTable, SiteFile, SiteTable
from pipeline.urls import url_fault

FILE = "pipeline.toml"

LAB_BASES = ("openstack-image", "virtual-node-image")
"""The images that the lab's vendor makes."""

URL = re.compile(r"(?:https?|ftp)://[^\s/]+\S*")

SSH_WORD = re.compile(r"[^\s\0-\x1f\x7f-][^\s\0-\x1f\x7f]*")

HOW_TO_MAKE = (
    f'write {FILE} beside recipes/: [site], store = "DIRECTORY" (where layers and versions are kept), '
    'images = "DIRECTORY" (where they are published, such as /cm/images/published), '
    '[bases], NAME = "DIRECTORY"'
)

Table = TypeVar("Table", bound=msgspec.Struct)


def load_site(path: Path | None) -> Site:
    """The site that ``path`` describes; None: the nearest ``pipeline.toml`` here or in a folder above.

    Raises ``UsageError`` with every problem. That the directories are there is not looked at.
    """
    file = Path(os.path.abspath(path)) if path else _nearest_file()
    findings = Findings()
    document = read_document(file, findings)
    reading = _Reading(document, findings) if document else None
    site = reading.site() if reading else None
    findings.raise_if_any()
    assert site is not None  # everything that makes it None has been told
    return site


def _real(path: Path) -> Path:
    """Where ``path`` leads through links, as far as it is there."""
    return Path(os.path.realpath(path))


def _overlap(one: Path, other: Path) -> bool:
    one, other = _real(one), _real(other)
    return one.is_relative_to(other) or other.is_relative_to(one)


def _nearest_file() -> Path:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE).exists():
            return folder / FILE
    raise UsageError(f"no {FILE} in {here} or a folder above it", hint=HOW_TO_MAKE)


class _Reading:
    """One site file being read."""

    def __init__(self, document: Document, findings: Findings) -> None:
        self.file = document.file
        self.findings = findings
        self.tables = tables_of(document, SiteFile, findings)

    def site(self) -> Site | None:
        site = self.table("site", SiteTable)
        downloads = self.table("downloads", DownloadsTable)
        lab = self.table("lab", LabTable) if "lab" in self.tables else None
        store = self.path(("site", "store"), site.store) if site else None
        images = self.path(("site", "images"), site.images) if site else None
        home = self.path(("lab", "home"), lab.home) if lab else None
        head = self.head(self.table("head", HeadTable) if "head" in self.tables else None, home)
        signing = self.signing()
        bases = {**({name: home / "images" / name for name in LAB_BASES} if home else {}), **self.bases()}
        mirrors = self.mirrors()
        if store and images and _overlap(store, images):
            self.say(("site", "images"), '"images" and "store" cannot be one inside the other')
        self.refuse_overlaps(bases, store=store, images=images)
        if site is None or downloads is None or store is None or images is None:
            return None
        return Site(
            file=self.file,
            project=self.file.parent,
            store=store,
            images=images,
            bases=bases,
            mirrors=mirrors,
            publish_mode=site.publish,
            downloads=Downloads(downloads.attempts, downloads.timeout, downloads.longest_wait),
            lab=home,
            head=head,
            signing=signing,
        )

    def say(self, at: KeyPath, message: str, hint: str | None = None) -> None:
        self.findings.add(self.file, at, f"[{at[0]}]: {message}", hint)

    def table(self, name: str, struct: type[Table]) -> Table | None:
        """The table ``name``; None when something is wrong with it, which has been told."""
        told = self.findings.told

        def say(path: KeyPath, message: str) -> None:
            self.say((name, *path), message)

        arguments = fields_of(self.tables.get(name, {}), struct, say) if name in self.tables else {}
        required = any(field.required for field in msgspec.structs.fields(struct))
        if self.findings.told > told or (required and name not in self.tables):
            return None
        return struct(**arguments)

    def head(self, table: HeadTable | None, home: Path | None) -> HeadSite | None:
        """The head node; in the lab it is the lab's, as far as nothing else is said."""
        if table is None and (home is None or "head" in self.tables):
            return None
        table = table or HeadTable()
        for key in ("address", "role", "cloud"):
            if (value := getattr(table, key)) and not SSH_WORD.fullmatch(value):
                self.say(("head", key), f'"{key}" cannot be {value!r}: it has blanks, or begins with "-"')
        for key in ("programs", "ssh_options"):
            for index, word in enumerate(getattr(table, key) or ()):
                if not word or not word.isprintable():
                    self.say(("head", key, index), f'"{key}[{index}]" cannot be {word!r}')
        lab = home / "head" if home and not table.address else None
        root, programs = table.root, table.programs
        if root is None:
            root = str(lab / "root") if lab else "/"
        else:
            root = str(self.path(("head", "root"), root) or root)
        if programs is None:
            programs = (str(lab / "bin"),) if lab else ()
        elif not table.address:
            at = ("head", "programs")
            programs = tuple(str(self.path((*at, index), name)) for index, name in enumerate(programs))
        return HeadSite(
            table.manager, table.address, programs, root, table.role, table.cloud, table.ssh_options
        )

    def signing(self) -> Signing | None:
        """Who has to sign; that the files are there is looked at when they are needed."""
        table = self.table("signing", SigningTable) if "signing" in self.tables else None
        if table is None:
            return None
        signers = self.path(("signing", "signers"), table.signers)
        revoked = None if table.revoked is None else self.path(("signing", "revoked"), table.revoked)
        return Signing(signers, table.required, revoked) if signers else None

    def strings(self, name: str) -> Mapping[str, str]:
        """The strings of the table ``name``; whatever is no string is told."""
        table = self.tables.get(name, {})
        wrong = kind_faults(table, dict[str, str])
        for path, message in wrong:
            self.say((name, *path), f'key "{dotted(path)}" {message}')
        return {key: value for key, value in table.items() if isinstance(value, str)}

    def path(self, at: KeyPath, text: str) -> Path | None:
        """An absolute path; None when it is none, which has been told."""
        if text.startswith("~"):
            self.say(at, f'"{at[-1]}" cannot begin with "~": {text}', "write the whole path")
        elif not text or "\0" in text:
            self.say(at, f'"{at[-1]}" is empty' if not text else f'"{at[-1]}" is no path')
        else:
            return Path(os.path.normpath(self.file.parent / text))
        return None

    def bases(self) -> dict[str, Path]:
        bases: dict[str, Path] = {}
        for name, text in self.strings("bases").items():
            fault = file_name_fault(name)
            if fault:
                self.say(("bases", name), f'the name "{name}" {fault}')
            path = self.path(("bases", name), text)
            if path:
                bases[name] = path
        return bases

    def refuse_overlaps(self, bases: Mapping[str, Path], **others: Path | None) -> None:
        """Tell of every base that would be imported with what is made of it, or be made of it."""
        for name, base in bases.items():
            at = ("bases", name) if name in self.tables.get("bases", {}) else ("lab", "home")
            for other, path in others.items():
                if path and _overlap(base, path):
                    self.say(at, f'the base "{name}" and "{other}" cannot be one inside the other')

    def mirrors(self) -> dict[str, str]:
        mirrors: dict[str, str] = {}
        for prefix, target in self.strings("mirrors").items():
            at = ("mirrors", prefix)
            if not URL.fullmatch(prefix):
                self.say(
                    at, f'"{prefix}" is no beginning of a URL', "it begins with http://, https:// or ftp://"
                )
            if "://" not in target:
                directory = self.path(at, target)
                mirrors[prefix] = str(directory)
            elif URL.fullmatch(target) and (fault := url_fault(target)) is not None:
                self.say(at, f'"{target}" is no URL: {fault}')
            elif URL.fullmatch(target):
                mirrors[prefix] = target
            else:
                self.say(at, f'"{target}" is neither a directory nor a URL with http://, https:// or ftp://')
        return mirrors
