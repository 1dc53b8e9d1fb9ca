"""``[[image]]``: software images of the cluster manager."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping

import msgspec

from pipeline.cluster.cloning import in_order
from pipeline.cluster.objects import Ref, Value, Wanted
from pipeline.cluster.reading import Reading
from pipeline.cluster.written import ImageTable
from pipeline.kernel_words import is_parameter
from pipeline.nearest import nearest
from pipeline.recipe.kinds import there_are
from pipeline.recipe.lines import KeyPath
from pipeline.recipe.load import recipe_names
from pipeline.recipe.model import Recipe, Site

SYSTEM = (
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr/bin",
    "/usr/include",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/sbin",
    "/usr/share",
    "/usr/src",
    "/var/cache",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/lock",
    "/lost+found",
    "/cm/local",
    "/cm/node-installer",
    "/cm/shared",
)
"""Directories of the head node's own system, and of its cluster manager's."""

PARENTS = frozenset({"/cm", "/cm/images", "/usr", "/usr/local", "/var", "/var/lib"})
"""They have others' directories in them."""


def tree_fault(path: str) -> str:
    """Why ``path`` can't be an image's directory on the head node; empty if it can."""
    if not path.startswith("/") or ".." in path.split("/"):
        return "has to be an absolute path without .."
    plain = posixpath.normpath(f"/{path.lstrip('/')}")
    if plain in PARENTS or plain.count("/") < 2:
        return f"has to be a directory of the image's own, two levels deep or more, got {plain}"
    system = next((one for one in SYSTEM if plain == one or plain.startswith(f"{one}/")), None)
    return f"{plain} belongs to the head node's own system ({system})" if system else ""


class Images(msgspec.Struct, frozen=True):
    """The images that are wanted, and the kernel parameters that the file itself gives each of them."""

    wanted: tuple[Wanted, ...]
    appended: Mapping[str, tuple[str, ...]]


def images_of(reading: Reading, site: Site, recipes: Mapping[str, Recipe]) -> Images:
    """The images that are wanted. An image that is neither cloned nor at a path has to be there already."""
    tables = list(reading.each("image", ImageTable))
    found = [_image(reading, site, recipes, at, table) for at, table in tables]
    _refuse_shared(reading, found)
    wanted = in_order(reading, found, lambda item: (item.ref.name, item.source, item.at))
    return Images(tuple(wanted), {table.name: table.append_kernel_parameters for _, table in tables})


def _refuse_shared(reading: Reading, images: Iterable[Wanted]) -> None:
    """Tell of images one of which has another's directory, or one within it."""
    first: dict[str, Wanted] = {}
    for item in images:
        path = str(item.exact.get("path", ""))
        if not path or tree_fault(path):
            continue
        path = posixpath.normpath(path)
        for other, holder in first.items():
            if f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/"):
                where = reading.place(holder.place("path"))
                message = f"{path} is the directory of another image, or within it or around it"
                reading.say(
                    item.place("path"),
                    f'image "{item.ref.name}": {message}: "{holder.ref.name}" has {other} ({where})',
                )
                break
        first.setdefault(path, item)


def _image(
    reading: Reading, site: Site, recipes: Mapping[str, Recipe], at: KeyPath, table: ImageTable
) -> Wanted:
    label = f'image "{table.name}": '
    reading.name((*at, "name"), table.name, label)
    if table.clone:
        reading.name((*at, "clone"), table.clone, label)
    if table.clone == table.name:
        reading.say((*at, "clone"), f"{label}it cannot be cloned from itself")
    path = _path(reading, site, recipes, at, table, label)
    recipe = recipes.get(table.name)
    own = recipe.kernel_parameters if recipe else ()
    for index, text in enumerate(table.append_kernel_parameters):
        if not is_parameter(text):
            place = (*at, "append_kernel_parameters", index)
            reading.say(place, f"{label}{text!r} is not one kernel parameter")
    appended = tuple(dict.fromkeys((*own, *table.append_kernel_parameters)))
    exact: dict[str, Value] = {"path": path} if path else {}
    return Wanted(
        Ref("image", table.name),
        exact,
        append={"kernel_parameters": appended} if appended else {},
        source=table.clone,
        make=bool(table.clone or path),
        at=at,
        ats={"path": (*at, "path" if table.path else "version")} if path else {},
        version=_version(table),
    )


def _version(table: ImageTable) -> str:
    """What `pipeline publish` is told for it; empty for an image that is at a path of its own."""
    if table.version is None:
        return ""
    return f"{table.name}@{table.version}" if isinstance(table.version, int) else table.name


def _path(
    reading: Reading,
    site: Site,
    recipes: Mapping[str, Recipe],
    at: KeyPath,
    table: ImageTable,
    label: str,
) -> str:
    if table.path and table.version is not None:
        reading.say((*at, "version"), f'{label}either "path" or "version", not both')
    if table.path and (fault := tree_fault(table.path)):
        reading.say((*at, "path"), f'{label}"path" {fault}')
    if table.version is None:
        return table.path
    if table.name not in recipes and not reading.scope.blind:
        known = recipe_names(site)
        near = nearest(table.name, known) or there_are(known)
        reading.say((*at, "version"), f"{label}a version needs a recipe of this name{near}")
    if isinstance(table.version, int) and table.version < 1:
        reading.say((*at, "version"), f"{label}versions are numbered from 1, got {table.version}")
    suffix = "" if table.version == "published" else f"-{table.version}"
    return str(site.images / f"{table.name}{suffix}")
