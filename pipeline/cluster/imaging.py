"""``[[image]]``: software images of the cluster manager."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.cluster.objects import Ref, Value, Wanted
from pipeline.cluster.reading import Reading
from pipeline.cluster.written import ImageTable
from pipeline.nearest import nearest
from pipeline.recipe.kinds import there_are
from pipeline.recipe.lines import KeyPath
from pipeline.recipe.load import recipe_names
from pipeline.recipe.model import Recipe, Site


def images_of(reading: Reading, site: Site, recipes: Mapping[str, Recipe]) -> list[Wanted]:
    """The images that are wanted. An image that is neither cloned nor at a path has to be there already."""
    return [_image(reading, site, recipes, at, table) for at, table in reading.each("image", ImageTable)]


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
        if not text or not text.isprintable() or " " in re.sub(r'"[^"]*"', "", text):
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
    )


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
    if table.path and (not table.path.startswith("/") or ".." in table.path.split("/")):
        reading.say((*at, "path"), f'{label}"path" has to be an absolute path without ..')
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
