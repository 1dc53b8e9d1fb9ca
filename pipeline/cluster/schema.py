"""The JSON Schema of cluster files, for editors and such."""

from __future__ import annotations

from pipeline.cluster.written import ClusterFile
from pipeline.recipe.schema import Schema, schema_of


def schema() -> Schema:
    """The schema; what it can't say (that names are known, that ranges agree) is left to loading."""
    return schema_of(ClusterFile, "recipes/clusters/NAME.toml")
