"""The stage type ``overlay``."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.chroot.root import Root
from pipeline.fileops.owners import MODE_FORM, OWNER_FORM, is_mode, is_owner
from pipeline.fileops.place import path_problem
from pipeline.fileops.tree import Look, lay, plan
from pipeline.stages.base import Inputs, Stage
from pipeline.templates import render


class Overlay(Stage, frozen=True, kw_only=True, tag="overlay"):
    """Lay a tree of files over the image.

    [[stage]]
    name = "mellanox-configuration"
    type = "overlay"
    tree = "openstack-mellanox"
    [stage.owners]
    "etc/eswitchd/*" = "root:eswitch"
    [stage.modes]
    "etc/eswitchd/*.conf" = "0640"

    Options
      tree         the folder below overlays/
      destination  where in the image it is laid (default: "/"); made if missing
      owner        of all that is laid: "user:group" (default: "root:root"), names
                   of the image or numbers
      owners       {GLOB = OWNER} for some of it
      modes        {GLOB = MODE}, octal, as text: "0640"

    A glob is matched with the whole path in the tree, without the suffix .j2; *
    matches / as well. When several match, the last one written counts; one that
    matches nothing is an error.

    A file whose name ends in .j2 is a template of the parameters of recipe or
    fragment, "{{ vfs }}", and is laid without that suffix. It is written in Jinja.
    Its line ends stay as they are, mixed ones too. A line of nothing but blocks
    {% … %} and comments {# … #} is left out; on any other line they take no blank
    and no line end away. What is put in has to be text, a number, true or false:
    anything else, a list for instance, is refused with its line. All other files
    are laid as they are, links as links.

    Since git keeps no modes, a file is 0755 if it is executable in the tree and
    0644 if not, and a new directory is 0755. Directories that the image has keep
    their owner and mode; links to directories are followed, within the image only.
    A file replaces a file or a link; a file in place of a directory, or the other
    way round, is an error.

    A file that would lie on a fresh filesystem of the chroot (/tmp, /var/tmp, /run,
    /dev, /proc, /sys), or that no layer keeps, is refused: logs, caches, histories
    and locks of package managers (/var/log/yum.log, /var/cache/dnf) and the backups
    of accounts (/etc/passwd-).
    """

    tree: str
    destination: str = "/"
    owner: str = "root:root"
    owners: Mapping[str, str] = {}
    modes: Mapping[str, str] = {}

    def check(self) -> tuple[tuple[str, str], ...]:
        found = [("destination", problem)] if (problem := path_problem(self.destination)) else []
        found += [
            (option, f"{owner!r} is no owner: {OWNER_FORM}")
            for option, owner in (("owner", self.owner), *(("owners", o) for o in self.owners.values()))
            if not is_owner(owner)
        ]
        found += [
            ("modes", f"{mode!r} is no mode: {MODE_FORM}")
            for mode in self.modes.values()
            if not is_mode(mode)
        ]
        return tuple(found)

    def trees(self) -> tuple[str, ...]:
        return (self.tree,)

    def lays_at(self) -> str:
        return self.destination

    def changes_packages(self) -> bool:
        """No."""
        return False

    def run(self, root: Root, inputs: Inputs) -> None:
        folder = inputs.trees[self.tree]
        look = Look(self.owner, self.modes, self.owners)
        entries = plan(
            folder.host,
            folder.inside,
            self.destination,
            look,
            lambda text: render(text, inputs.parameters),
        )
        root.call(lay, self.destination, entries)
