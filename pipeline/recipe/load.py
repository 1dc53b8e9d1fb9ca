"""Recipes as plain data, or everything that is wrong with them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline import regular, stages
from pipeline.kernel_words import is_parameter
from pipeline.nearest import nearest
from pipeline.recipe.documents import Document, read_document, read_text
from pipeline.recipe.findings import Findings
from pipeline.recipe.kinds import there_are
from pipeline.recipe.lines import KeyPath
from pipeline.recipe.model import Recipe, Site
from pipeline.recipe.names import file_name_fault
from pipeline.recipe.scopes import Scope, declare
from pipeline.recipe.stage_tables import FRAGMENTS, Expansion, StageTypes
from pipeline.recipe.tables import fields_of
from pipeline.recipe.top import STAGES, tables_of
from pipeline.recipe.written import ImageTable, RecipeFile

FILE = "recipe.toml"

NOT_IMAGES = frozenset({FRAGMENTS, "clusters"})
"""Folders of ``recipes/`` that hold other things."""

VERSION = re.compile(r"(.+)-[0-9]+")
"""How the directory of a published version is called: the image's name and a number."""


def recipe_names(site: Site) -> tuple[str, ...]:
    """The recipes that there are, sorted."""
    return tuple(
        sorted(
            file.parent.name for file in site.recipes.glob(f"*/{FILE}") if file.parent.name not in NOT_IMAGES
        )
    )


def load_recipe(name: str, site: Site, *, types: StageTypes = stages) -> Recipe:
    """The recipe ``name`` of ``site``; see ``load_recipes``."""
    return load_recipes([name], site, types=types)[0]


def load_recipes(names: Iterable[str], site: Site, *, types: StageTypes = stages) -> tuple[Recipe, ...]:
    """The recipes of these names, each once, in this order.

    Raises ``UsageError`` with every problem of all of them, of the recipes that are their bases, and of the
    fragments and templates that they use. Nothing is written, run or fetched.
    """
    wanted = tuple(dict.fromkeys(names))
    loading = _Loading(site, types)
    for name in wanted:
        loading.load(name, ())
    loading.findings.raise_if_any()
    return tuple(recipe for name in wanted if (recipe := loading.loaded[name]) is not None)


class _Loading(msgspec.Struct):
    site: Site
    types: StageTypes
    findings: Findings = msgspec.field(default_factory=Findings)
    loaded: dict[str, Recipe | None] = msgspec.field(default_factory=dict)
    fragments: dict[Path, Document | None] = msgspec.field(default_factory=dict)

    def load(self, name: str, above: tuple[str, ...]) -> None:
        """Load a recipe and those that it is based on. ``above`` are the recipes that are based on it."""
        if name in self.loaded:
            return
        self.loaded[name] = None
        fault = file_name_fault(name)
        file = self.site.recipes / name / FILE
        if fault:
            others = {*recipe_names(self.site)} - {name}
            meant = [part for part in re.split("[@/]", name) if part in others]
            instead = f'; a recipe goes by its name alone (did you mean "{meant[0]}"?)' if meant else ""
            self.findings.add(self.site.recipes, None, f'the name "{name}" {fault}{instead}')
        elif name in NOT_IMAGES or not os.path.lexists(file):
            known = recipe_names(self.site)
            self.findings.add(
                self.site.recipes, None, f'no recipe "{name}"{nearest(name, known) or there_are(known)}'
            )
        else:
            self._refuse_names_of_versions(name)
            document = read_document(file, self.findings)
            if document is not None:
                self.loaded[name] = self._recipe(name, document, above)

    def _refuse_names_of_versions(self, name: str) -> None:
        """``IMAGES/web-1`` is version 1 of ``web``, so that no image can be called that."""
        names = set(recipe_names(self.site))
        for longer in names:
            match = VERSION.fullmatch(longer)
            if match and match[1] in names and name in (longer, match[1]):
                self.findings.add(
                    self.site.recipes / longer / FILE,
                    ("image", "name"),
                    f'[image]: the name "{longer}" is that of a version of the image "{match[1]}"',
                    "name one of the two otherwise",
                )

    def _recipe(self, name: str, document: Document, above: tuple[str, ...]) -> Recipe | None:
        told = self.findings.told
        tables = tables_of(document, RecipeFile, self.findings)
        scope = Scope(document.file, self.findings)
        declare(scope, tables.get("parameters", {}), {})
        image = self._image(name, tables.get("image"), scope)
        base_recipe = self._base(image["base"], name, document, above) if "base" in image else False
        expansion = Expansion(self.site.project, self.findings, self.types, fragments=self.fragments)
        expansion.expand(tables.get(STAGES, []), scope)
        directory = document.file.parent
        tests = tuple(sorted(directory.glob("test_*.py")))
        self._look_into_tests(tests, scope)
        scope.tell_unused()
        if self.findings.told > told:
            return None
        table = ImageTable(**image)
        fragments = [self.fragments[file] for file in sorted(expansion.used)]
        documents = (document, *(fragment for fragment in fragments if fragment is not None))
        return Recipe(
            name=name,
            base=table.base,
            summary=table.summary,
            directory=directory,
            kernel_parameters=table.kernel.append_parameters,
            parameters=scope.parameters,
            stages=tuple(expansion.stages),
            tests=tests,
            files=tuple(each.file for each in documents),
            base_recipe=base_recipe,
            digest=_digest(documents),
        )

    def _image(self, folder: str, table: dict[str, Any] | None, scope: Scope) -> dict[str, Any]:
        """The arguments of ``ImageTable`` that are right."""
        if table is None:
            return {}
        label = "[image]: "

        def say(path: KeyPath, message: str) -> None:
            self.findings.add(scope.file, ("image", *path), label + message)

        kernel = {key: scope.filled(table[key], ("image", key), label) for key in table.keys() & {"kernel"}}
        image = fields_of(table, ImageTable, say, forms=kernel)
        parameters = image["kernel"].append_parameters if "kernel" in image else _written(kernel)
        for index, parameter in enumerate(parameters):
            if not isinstance(parameter, str):
                continue  # told with its type
            if not is_parameter(parameter):
                at = ("kernel", "append_parameters", index)
                say(at, f'"append_parameters[{index}]" is not one kernel parameter: {parameter!r}')
        name = image.get("name")
        fault = file_name_fault(name) if name is not None else None
        if fault:
            say(("name",), f'the name "{name}" {fault}')
        elif name is not None and name != folder:
            say(("name",), f'the name "{name}" is not that of the folder, "{folder}"')
        return image

    def _base(self, base: str, name: str, document: Document, above: tuple[str, ...]) -> bool:
        """Whether ``base`` is another recipe, which is then loaded as well.

        An image that has the name of its base is made of the site's base.
        """
        recipes = recipe_names(self.site)
        if base in recipes and not (base == name and base in self.site.bases):
            chain = (*above, name)
            if base in chain:
                circle = " -> ".join((*chain[chain.index(base) :], base))
                self._say_base(document, f"the bases go in a circle: {circle}")
            else:
                self.load(base, chain)
            return True
        if base not in self.site.bases:
            known = {*self.site.bases, *recipes} - {name}
            near = nearest(base, known) or there_are(known)
            self._say_base(document, f'no recipe and no base of the site is called "{base}"{near}')
        return False

    def _say_base(self, document: Document, message: str) -> None:
        self.findings.add(document.file, ("image", "base"), f"[image]: {message}")

    def _look_into_tests(self, tests: Iterable[Path], scope: Scope) -> None:
        """Tell of tests that are no files; count as used the parameters whose names are words of a test."""
        for file in tests:
            try:
                regular.check(file)
            except OSError as error:
                self.findings.add(file, None, f"cannot be read: {error.strerror}")
        left = scope.parameters.keys() - scope.used
        for file in tests if left else ():
            text = read_text(file, self.findings)
            if text is None:
                scope.blind = True
            else:
                scope.used |= left & set(re.findall(r"\w+", text))


def _digest(documents: Iterable[Document]) -> str:
    whole = hashlib.sha256()
    for document in documents:
        whole.update(hashlib.sha256(document.text.encode()).digest())
    return whole.hexdigest()


def _written(kernel: Mapping[str, tuple[Any, ...]]) -> list[object]:
    """The kernel parameters of a table in which something is of the wrong type."""
    table = next(iter(kernel.get("kernel", ())), None)
    found = table.get("append_parameters") if isinstance(table, dict) else None
    return list(found) if isinstance(found, list | tuple) else []
