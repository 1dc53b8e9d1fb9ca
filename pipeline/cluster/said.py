"""Keys of configuration files that have to agree with each other, wherever they are said."""

from __future__ import annotations

import msgspec

from pipeline.cluster.networks import path_of_range
from pipeline.cluster.reading import Reading
from pipeline.recipe.lines import KeyPath

INFINIBAND_FILES = ("mlnx_conf.ini", "eswitchd.conf")
"""They are about the InfiniBand networks only."""


class Said(msgspec.Struct, frozen=True):
    """A key of an INI file that is set: in the cluster file (``at``), or in a ``recipe`` (``where``)."""

    file: str
    key: str
    value: str
    at: KeyPath = ()
    where: str = ""
    recipe: str = ""


def say(reading: Reading, said: Said, provider: str, message: str) -> None:
    """At the key of this file, with the provider's place; or at the provider, with the recipe's place."""
    at = path_of_range(reading, provider)
    if said.at:
        reading.say(said.at, f"{said.key}: {message} ({reading.place(at)})")
    else:
        reading.say(at, f"{said.key} of {said.file} ({said.where}): {message}")
