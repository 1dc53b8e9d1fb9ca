"""The table at the end of a build."""

from __future__ import annotations

import pytest

from pipeline.build.outcome import ImageOutcome, StageOutcome
from pipeline.cli.build import tell


@pytest.mark.parametrize(("ran", "told"), [(0, "0 stages ran"), (1, "1 stage ran"), (2, "2 stages ran")])
def test_stages_are_counted_in_good_english(ran: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    stages = tuple(
        StageOutcome(
            name=str(n), type="file", key="k", cached=n >= ran, seconds=0.1, bytes=1, packages=0, notes=()
        )
        for n in range(3)
    )
    tell((ImageOutcome(image="web", exit_code=1, stages=stages),), as_json=False)
    assert f"failed; {told}, " in capsys.readouterr().out
