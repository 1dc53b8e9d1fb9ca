"""The stage type ``archive``."""

from __future__ import annotations

import re

from pipeline.chroot.root import Root
from pipeline.fileops.members import Limits
from pipeline.fileops.owners import OWNER_FORM, is_owner
from pipeline.fileops.place import path_problem
from pipeline.stages.base import Inputs, SourceRequest, Stage


class Archive(Stage, frozen=True, kw_only=True, tag="archive"):
    """Unpack an archive: tar (plain, gz, bz2, xz or zst), zip or ISO 9660.

    [[stage]]
    name = "ofed-installer"
    type = "archive"
    source = "http://www.mellanox.com/downloads/MLNX_OFED_LINUX-2.3-1.0.1.tgz"
    destination = "/root/ofed"
    strip = 1

    Options
      source       a URL (http, https, ftp), or a path in the project
      sha256       its digest, 64 hex digits; without it the first download's digest
                   is written to the lock, and holds from then on
      destination  the directory of the image to unpack to; made if it is missing
      strip        leave out so many leading parts of each name (default: 0); what
                   has no more parts than that is left out
      owner        "user:group" for all of it, names of the image or numbers
                   (default: the numbers in the archive; root for zip). Files then
                   lose their setuid and setgid bits and their capabilities.
      max_bytes    the most it may unpack to (default: 34359738368, 32 GiB)
      max_files    the most members it may have (default: 1000000)

    The kind of archive is told by its content, whatever its name.

    Modes, times, links and hard links are kept; of the extended attributes in a
    tar the capabilities, ACLs and user.*. Others (trusted.*, security.selinux) are
    not, and that is noted. Directories that the image has keep
    their owner and mode; files and links are replaced.

    The whole archive is looked at before anything is written. It is refused, with
    the names of what is wrong, when it is damaged or empty; when a member has an
    absolute name, a ".." or control characters in it, is a device or a fifo, is a
    link or hard link that leads out of the destination, or would be written through
    a link; when a path is too long or over 256 folders deep; when /tmp, /run or
    another fresh filesystem of the chroot would swallow a member; when it exceeds
    max_bytes, max_files or the free space, or unpacks to over 1000 times its size.

    Logs, caches, histories and locks of package managers (/var/log/yum.log,
    /var/cache/dnf) and the backups of accounts (/etc/passwd-) are in no layer, an
    archive's either.
    """

    source: str
    destination: str
    sha256: str | None = None
    strip: int = 0
    owner: str | None = None
    max_bytes: int = 32 << 30
    max_files: int = 1_000_000

    def check(self) -> tuple[tuple[str, str], ...]:
        found = [("destination", problem)] if (problem := path_problem(self.destination)) else []
        if not self.source:
            found.append(("source", "is empty: expected a URL or a path in the project"))
        if self.sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            found.append(("sha256", f"{self.sha256!r} is no digest: expected 64 lower-case hex digits"))
        if self.strip < 0:
            found.append(("strip", f"is {self.strip}; expected 0 or more"))
        if self.owner is not None and not is_owner(self.owner):
            found.append(("owner", f"{self.owner!r} is no owner: {OWNER_FORM}"))
        for option, number in (("max_bytes", self.max_bytes), ("max_files", self.max_files)):
            if number < 1:
                found.append((option, f"is {number}; expected 1 or more"))
        return tuple(found)

    def sources(self) -> tuple[SourceRequest, ...]:
        return (SourceRequest(self.source, self.sha256),)

    def prepare(self) -> None:
        """Import the readers of archives, 0.1 s: nothing can be imported once the root is entered."""
        import pipeline.fileops.unpack  # noqa: F401

    def changes_packages(self) -> bool:
        """No."""
        return False

    def run(self, root: Root, inputs: Inputs) -> None:
        from pipeline.fileops.unpack import Request, unpack

        limits = Limits(self.max_bytes, self.max_files)
        archive = inputs.sources[self.source]
        left_out = root.call(
            unpack, Request(archive, self.source, self.destination, self.strip, self.owner, limits)
        )
        if left_out:
            root.note(f"{self.source}: attributes that are not unpacked: {', '.join(left_out)}")
