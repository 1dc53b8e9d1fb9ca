"""Problems as they are printed."""

from __future__ import annotations

from pipeline.errors import Problem


def test_a_line_of_a_message_or_a_name_in_it_cannot_pass_for_a_problem_of_its_own() -> None:
    shown = str(Problem("there is no file a\npipeline: all is well", "r.toml:1", "look"))
    assert shown == "r.toml:1: there is no file a\n    pipeline: all is well\n  hint: look"
