"""The commands of cmsh, a module for each subject."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.lab.head.session import Verb
from pipeline.lab.head.verbs import (
    choosing,
    committing,
    images,
    making,
    places,
    powering,
    provisioning,
    reading,
    running,
    setting,
)

VERBS: Mapping[str, Verb] = {
    **places.VERBS,
    **reading.VERBS,
    **setting.VERBS,
    **making.VERBS,
    **committing.VERBS,
    **choosing.VERBS,
    **running.VERBS,
    **powering.VERBS,
    **provisioning.VERBS,
    **images.VERBS,
}
