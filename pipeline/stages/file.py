"""The stage type ``file``."""

from __future__ import annotations

from pipeline.chroot.root import Root
from pipeline.fileops import single
from pipeline.fileops.owners import MODE_FORM, OWNER_FORM, is_mode, is_owner
from pipeline.fileops.place import path_problem
from pipeline.fileops.text import encode
from pipeline.stages.base import Inputs, Stage

ACTIONS = ("create", "touch", "link", "directory", "remove")


class File(Stage, frozen=True, kw_only=True, tag="file"):
    """Make, change or remove one file, directory or link.

    [[stage]]
    name = "eswitchd-log"
    type = "file"
    path = "/var/log/eswitchd.log"
    touch = true
    owner = "eswitch:eswitch"

    Options
      path       where, as a path of the image

    one of (or none, to change the owner and mode of what is there):
      create     a file with this content, instead of what one that is there has
      touch      true: a file; empty if it is new, unchanged if it is there
      link       a symbolic link to this target; replaces another link, nothing else
      directory  true: a directory, with all those above it
      remove     true: whatever is there, a directory with all that is in it;
                 of a link the link only. If nothing is there, that is said.

    how it looks:
      owner      "user:group", "user" or ":group": names of the image, or numbers
      mode       octal, as text: "0640"

    A new file is 0644 and a new directory 0755, both root:root; what is there keeps
    what is not given. The directory of a file or link has to be there. Links are
    followed within the image only, and create, touch, owner and mode act on what
    they lead to.

    What lies on a fresh filesystem while a stage runs (/tmp, /var/tmp, /run, /dev,
    /proc, /sys), and what no layer keeps, is refused: logs, caches, histories and
    locks of package managers (/var/log/yum.log, /var/cache/dnf) and the backups of
    accounts (/etc/passwd-). The latter can be removed.
    """

    path: str
    create: str | None = None
    touch: bool = False
    link: str | None = None
    directory: bool = False
    remove: bool = False
    owner: str | None = None
    mode: str | None = None

    def check(self) -> tuple[tuple[str, str], ...]:
        found = [("path", problem)] if (problem := path_problem(self.path, self.remove)) else []
        if not self.path.strip("/."):
            found.append(("path", "is the root of the image itself"))
        actions = [name for name in ACTIONS if getattr(self, name) not in (None, False)]
        if len(actions) > 1:
            found.append((actions[1], f"only one of {', '.join(ACTIONS)} can be done; given: {actions}"))
        if not actions and self.owner is None and self.mode is None:
            found.append(("path", f"nothing to do: none of {', '.join(ACTIONS)}, owner and mode is given"))
        if self.owner is not None and not is_owner(self.owner):
            found.append(("owner", f"{self.owner!r} is no owner: {OWNER_FORM}"))
        if self.mode is not None and not is_mode(self.mode):
            found.append(("mode", f"{self.mode!r} is no mode: {MODE_FORM}"))
        if self.mode is not None and self.link is not None:
            found.append(("mode", "a link has no mode of its own"))
        if self.remove and (self.owner is not None or self.mode is not None):
            found.append(("remove", "what is removed has neither owner nor mode"))
        if self.link == "" or "\0" in (self.link or ""):
            found.append(("link", f"{self.link!r} cannot be the target of a link"))
        return tuple(found)

    def changes_packages(self) -> bool:
        """No."""
        return False

    def run(self, root: Root, inputs: Inputs) -> None:
        mode = None if self.mode is None else int(self.mode, 8)
        if self.remove:
            if not root.call(single.remove, self.path):
                root.note(f"{self.path}: nothing to remove")
        elif self.directory:
            root.call(single.directory, self.path, self.owner, mode)
        elif self.link is not None:
            root.call(single.link, self.path, self.link, self.owner)
        elif self.create is not None or self.touch:
            content = None if self.create is None else encode(self.create)
            root.call(single.create, self.path, content, self.owner, mode)
        else:
            root.call(single.look, self.path, self.owner, mode)
