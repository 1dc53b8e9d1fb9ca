"""Looking into an image from outside without being led out of it by its links."""

from __future__ import annotations

import os
import re

MAX_LINKS = 40
"""As many links as the kernel follows for one path (path_resolution(7))."""


def resolve(root: str, path: str, *, missing_ok: bool = False) -> str | None:
    """Where ``path`` of the image at ``root`` really lies, relative to ``root`` and free of links.

    None when there is no such file (with ``missing_ok`` only when its folder is missing too), or when it
    takes more than 40 links. ``..`` stops at the root. Nothing else may change the tree meanwhile.
    """
    done: list[str] = []
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            del done[-1:]
            continue
        here = "/".join([root, *done, part])
        if not os.path.lexists(here):
            return "/".join([*done, part]) if missing_ok and not todo else None
        if not os.path.islink(here):
            done.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            return None
        target = os.readlink(here)
        if target.startswith("/"):
            done.clear()
        todo += [piece for piece in reversed(target.split("/")) if piece not in ("", ".")]
    return "/".join(done)


def kernel_release(root: str) -> str | None:
    """The release of the kernel that nodes of this image boot; the newest one when there are several.

    A release counts when ``/lib/modules/RELEASE`` has modules or ``/boot/vmlinuz-RELEASE`` exists.
    """
    folder = resolve(root, "lib/modules")
    if folder is None:
        return None
    releases = [
        name
        for name in os.listdir(f"{root}/{folder}")
        if os.path.isdir(f"{root}/{folder}/{name}/kernel") or os.path.exists(f"{root}/boot/vmlinuz-{name}")
    ]
    return max(releases, key=_release_order, default=None)


def _release_order(release: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[.\-_+]", release))
