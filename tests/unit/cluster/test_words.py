"""Lines ``KEY VALUE`` in a file of a head node."""

from __future__ import annotations

import pytest

from pipeline.cluster.words import with_words


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "allow_both_pkeys TRUE\n"),
        (
            "# allow_both_pkeys FALSE\n\nsm_lid 1\n",
            "# allow_both_pkeys FALSE\n\nsm_lid 1\nallow_both_pkeys TRUE\n",
        ),
        ("allow_both_pkeys FALSE\nsm_lid 1\n", "allow_both_pkeys TRUE\nsm_lid 1\n"),
        ("allow_both_pkeys TRUE\nx y\nallow_both_pkeys FALSE", "allow_both_pkeys TRUE\nx y\n"),
        ("allow_both_pkeys_x FALSE\n", "allow_both_pkeys_x FALSE\nallow_both_pkeys TRUE\n"),
    ],
    ids=["empty", "comment", "replaced", "twice", "longer"],
)
def test_a_line_is_there_once(before: str, after: str) -> None:
    assert with_words(before, ["allow_both_pkeys TRUE"]) == after
    assert with_words(after, ["allow_both_pkeys TRUE"]) == after
