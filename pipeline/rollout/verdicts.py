"""What all checks of a node come to."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cluster.shells import Shell
from pipeline.rollout.asking import Tested
from pipeline.rollout.comparing import Compared
from pipeline.rollout.model import Check, Verdict

REACHED = "ssh"
"""The check that the node can be reached."""


def verdict(
    tested: Tested,
    shell: Shell,
    general: Sequence[Check],
    compared: Compared,
    *,
    tests: bool,
    notes: tuple[str, ...] = (),
) -> Verdict:
    """The verdict on a node whose shell has ended. ``general`` are errors that concern all nodes; ``tests``:
    there were some."""
    if not shell.was_open:
        return Verdict(False, shell.why, (Check(REACHED, "error", shell.why),))
    checks = [*general, *tested.checks]
    if tests and not tested.is_done and not any(_is_bad(check) for check in checks):
        checks.append(Check("tests", "error", shell.why or "they did not come to their end"))
    checks += compared.checks
    if not checks:
        checks = [Check(REACHED, "error", shell.why) if shell.why else Check(REACHED, "passed")]
    bad = [check for check in checks if _is_bad(check)]
    passed = not bad and any(check.outcome == "passed" for check in checks)
    return Verdict(passed, _why(checks, bad), tuple(checks), {**tested.reported, **compared.facts}, notes)


def _is_bad(check: Check) -> bool:
    return check.outcome not in ("passed", "skipped")


def _why(checks: Sequence[Check], bad: Sequence[Check]) -> str:
    if not bad:
        return (
            "" if any(check.outcome == "passed" for check in checks) else "no check passed: all were skipped"
        )
    first = bad[0]
    line = first.why.strip().split("\n", 1)[0]
    return f"{len(bad)} of {len(checks)} checks failed: {first.name}{f': {line}' if line else ''}"
