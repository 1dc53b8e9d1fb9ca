"""A list of file modifications is carried out in its order."""

from __future__ import annotations

import pytest

from pipeline.cluster.drivers.bright.modifications import Setting, merged, settings
from pipeline.cluster.objects import Assignment, Change, Ref

NAME = "/etc/x.ini[s]k"


@pytest.mark.parametrize(
    ("entries", "value"),
    [
        ([f"-{NAME}", f"+{NAME}=v"], "v"),
        ([f"+{NAME}=v", f"-{NAME}"], None),
        ([f"-{NAME}", f"+{NAME}=v", f"-{NAME}"], None),
        ([f"+{NAME}=old", f"-{NAME}", f"+{NAME}=v"], "v"),
        ([f"-{NAME}", f"+{NAME}=a", f"+{NAME}=b"], "a\nb"),
    ],
)
def test_a_minus_takes_out_what_was_put_in_before_it(entries: list[str], value: str | None) -> None:
    assert settings(entries) == [Setting(NAME, value, True)]


@pytest.mark.parametrize("entries", [[f"-{NAME}"], [f"+{NAME}=a", f"+{NAME}=b"], [f"-{NAME}", f"+{NAME}="]])
def test_what_somebody_put_into_a_list_is_written_into_another_as_it_is(entries: list[str]) -> None:
    (there,) = settings(entries)
    new = tuple(Assignment(name, None, value) for name, value in there.properties().items())
    wanted = Setting(NAME, None, False).changed(Change(Ref("setting", NAME, "node/n"), "add", new))
    assert merged([], [wanted]) == entries


def test_a_setting_that_is_taken_out_again_is_put_back() -> None:
    entries = [f"-{NAME}", f"+{NAME}=v", "+/etc/a[b]c=1", f"-{NAME}"]
    assert merged(entries, [Setting(NAME, "v", True)]) == [f"-{NAME}", f"+{NAME}=v", "+/etc/a[b]c=1"]
