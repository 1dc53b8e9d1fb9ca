"""Keys: the digest of all that a stage's result depends on, and of nothing else."""

from __future__ import annotations

import pickle

import pytest

from pipeline.build import keys
from pipeline.stages.archive import Archive
from pipeline.stages.base import Stage
from pipeline.stages.command import Command, Requirement
from pipeline.stages.edit import Edit

STAGES = (
    Archive(name="a", source="http://vendor/a.tgz", destination="/opt"),
    Command(name="c", argv=("true",), require=(Requirement(file="/etc/fstab"),)),
    Edit(name="e", file="/etc/hosts", after="x", insert="y"),
)


def key_of(stage: Stage) -> str:
    parts = keys.basis(stage, parent="", code="", sources={}, trees={}, packages=None, parameters={}, epoch=0)
    return keys.key(parts)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_that_was_sent_to_another_process_has_the_same_key_there(stage: Stage) -> None:
    assert key_of(pickle.loads(pickle.dumps(stage))) == key_of(stage)


def test_an_option_written_with_its_default_gives_the_same_key_as_without() -> None:
    plain = Archive(name="a", source="http://vendor/a.tgz", destination="/opt")
    written = Archive(
        name="a", source="http://vendor/a.tgz", destination="/opt", max_bytes=int("34359738368")
    )
    assert key_of(written) == key_of(plain)


def test_the_name_of_a_stage_changes_nothing_and_every_option_does() -> None:
    plain = Edit(name="e", file="/etc/hosts", after="x", insert="y")
    renamed = Edit(name="other", file="/etc/hosts", after="x", insert="y")
    changed = Edit(name="e", file="/etc/hosts", after="x", insert="z")
    assert key_of(renamed) == key_of(plain) != key_of(changed)
