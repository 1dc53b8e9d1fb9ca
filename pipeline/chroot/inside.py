"""Looking into an image from outside without being led out of it by its links."""

from __future__ import annotations

import errno
import os
import re

MAX_LINKS = 40
"""As many links as the kernel follows for one path (path_resolution(7))."""

RELEASE = re.compile(r"[\w.+~-]+", re.ASCII)

NO_KERNEL = "0.0.0-none"
"""What programs in an image without a kernel are told instead of this machine's release. It looks like one,
so that they read on; no machine has it, so that modules for it are not found and nothing is built for it."""


def resolve(root: str, path: str, *, missing_ok: bool = False) -> str | None:
    """Where ``path`` of the image at ``root`` really lies, relative to ``root`` and free of links.

    None when there is no such file (with ``missing_ok`` it is said where it would be), or when it takes more
    than 40 links. ``..`` stops at the root. Nothing else may change the tree meanwhile.
    """
    done: list[str] = []
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            del done[-1:]
            continue
        try:
            target = os.readlink("/".join([root, *done, part]))
        except OSError as error:
            if error.errno == errno.EINVAL:  # it is there, and no link
                done.append(part)
                continue
            if not missing_ok:
                return None
            done.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            return None
        if target.startswith("/"):
            done.clear()
        todo += [piece for piece in reversed(target.split("/")) if piece not in ("", ".")]
    return "/".join(done)


def kernel_release(root: str) -> str | None:
    """The release of the kernel that nodes of this image boot; the newest one when there are several.

    A release counts when ``/lib/modules/RELEASE`` has modules or ``/boot/vmlinuz-RELEASE`` exists, and when
    it is written as kernels write theirs.
    """
    folder = resolve(root, "lib/modules")
    if folder is None:
        return None
    releases = [
        name
        for name in os.listdir(f"{root}/{folder}")
        if RELEASE.fullmatch(name)
        and any(resolve(root, sign) for sign in (f"{folder}/{name}/kernel", f"boot/vmlinuz-{name}"))
    ]
    return max(releases, key=_release_order, default=None)


def _release_order(release: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[.\-_+]", release))
