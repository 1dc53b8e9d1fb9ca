"""By what this program knows again what it has done: the reason that Nova and Slurm keep."""

from __future__ import annotations

BEGINS = "pipeline rollout "


def reason(number: int) -> str:
    """What rollout ``number`` gives as its reason."""
    return f"{BEGINS}{number}"


def is_ours(text: str) -> bool:
    """Whether a rollout, this or an earlier one, gave it."""
    return text.startswith(BEGINS)
