"""The site's published images, as the lab's head node sees them: at the same place as this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def see(directory: Path, images: Path) -> None:
    """Have the head node at ``directory`` see this machine's folder ``images`` at the same absolute path.

    An image that is published there can then be the path of a software image, as on a real head node. It is
    a link below the head node's root, made again when it leads elsewhere.
    """
    place = directory / "root" / str(images.absolute()).lstrip("/")
    if place.is_symlink() and place.readlink() == images.absolute():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink():
        place.unlink()
    if not place.exists():
        place.symlink_to(images.absolute())
