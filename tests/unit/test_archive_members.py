"""Which members of an archive may be unpacked."""

from __future__ import annotations

import pytest

from pipeline.errors import PipelineError
from pipeline.fileops.members import (
    RATIO_FROM,
    TOLD,
    Limits,
    Member,
    check_limits,
    check_ratio,
    leads_out,
    paths,
)


def refusal(*members: Member, strip: int = 0, destination: str = "/opt/x") -> str:
    with pytest.raises(PipelineError) as caught:
        paths(members, strip, (destination,), "a.tgz")
    return str(caught.value)


def file(name: str) -> Member:
    return Member(name, "file")


def link(name: str, target: str) -> Member:
    return Member(name, "link", target=target)


def hard_link(name: str, target: str) -> Member:
    return Member(name, "hardlink", target=target)


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (file("../x"), "'..'"),
        (file("a/../../x"), "'..'"),
        (file("a/.."), "'..'"),
        (file("/etc/passwd"), "absolute"),
        (file("a\nb"), "control characters"),
        (file("a\0b"), "control characters"),
        (file("a\x7f"), "control characters"),
        (file("n" * 256), "more than 255 bytes"),
        (link("a", "/etc"), "leads out"),
        (link("a", ".."), "leads out"),
        (link("d/a", "../.."), "leads out"),
        (link("a", "b/../../c"), "leads out"),
        (link("a", "/opt/xy"), "leads out"),
        (hard_link("a", "/etc/passwd"), "leads out"),
        (hard_link("a", "../x"), "leads out"),
        (hard_link("a", "not-there"), "no earlier file"),
        (Member("a", "refused", what="is a fifo"), "is a fifo"),
        (Member("a", "file", uid=2**32), "owner"),
    ],
)
def test_a_member_that_does_harm_is_refused_by_name(member: Member, reason: str) -> None:
    message = refusal(file("good"), member)
    assert f"a.tgz: member {member.name!r}" in message and reason in message


DEEP = "d/" * 3000 + "d"


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (file(DEEP), "lies 3000 folders deep, more than 256"),
        (Member(DEEP, "directory"), "lies 3000 folders deep"),
        (file("d/" * 257 + "d"), "lies 257 folders deep"),
        (file("/".join(["n" * 250] * 17)), "would have a path of more than 4095 bytes"),
        (link("a", "t/" * 2048), "links to a path of more than 4095 bytes"),
    ],
)
def test_a_member_that_no_filesystem_takes_or_nobody_could_remove_is_refused(
    member: Member, reason: str
) -> None:
    message = refusal(file("good"), member)
    assert f"a.tgz: member '{member.name[:100]}" in message and reason in message
    assert len(message) < 500


def test_the_destination_counts_as_part_of_a_path() -> None:
    name = "/".join(["n" * 250] * 16)
    room = 4095 - len(name) - 1
    assert paths([file(name)], 0, ("/" + "x" * (room - 1),), "a.tgz") == [name]
    assert "4095" in refusal(file(name), destination="/" + "x" * room)


def test_as_deep_as_allowed_is_unpacked_and_strip_counts() -> None:
    deep = "d/" * 256 + "d"
    assert paths([file(deep)], 0, ("/opt/x",), "a.tgz") == [deep]
    assert paths([file("d/" + deep)], 1, ("/opt/x",), "a.tgz") == [deep]


def test_a_link_that_leads_out_only_through_another_link_is_refused() -> None:
    up = link("deep/a/b/up", "../../..")
    assert paths([up], 0, ("/opt/x",), "a.tgz") == ["deep/a/b/up"]
    assert "member 'z' is a link that leads out" in refusal(up, link("z", "deep/a/b/up/../secret"))


@pytest.mark.parametrize("target", ["b", "./b", "d/../b", "/opt/x", "/opt/x/b", "not/there", ".", "a"])
def test_links_that_stay_inside_are_fine(target: str) -> None:
    assert paths([link("a", target)], 0, ("/opt/x",), "a.tgz") == ["a"]


def test_nothing_leads_out_of_the_root() -> None:
    assert not leads_out("a", {"a": "/etc"}, ("/",))
    assert not leads_out("a", {"a": "../../.."}, ("/",))


def test_nothing_is_written_through_a_link_whichever_comes_first() -> None:
    for members in ((link("a", "."), file("a/b/c")), (file("a/b/c"), link("a", "."))):
        assert "lies below a, which is a symbolic link" in refusal(*members)
    assert "lies below a, which is no directory" in refusal(file("a"), file("a/b"))


def test_a_second_member_of_the_same_name_may_replace_a_file_and_nothing_else() -> None:
    assert paths([file("a"), file("./a")], 0, ("/x",), "a.tgz") == ["a", "a"]
    assert "comes twice, first as a symbolic link" in refusal(link("a", "b"), file("a"))
    assert "comes twice, first as a hard link" in refusal(file("b"), hard_link("a", "b"), file("a"))


def test_strip_leaves_out_leading_parts_of_names_and_hard_links() -> None:
    members = [Member("top/", "directory"), file("./top/a"), hard_link("top/b", "top/a")]
    assert paths(members, 1, ("/x",), "a.tgz") == ["", "a", "b"]
    assert "strip = 3 leaves nothing" in refusal(*members[:2], strip=3)


def test_all_that_is_refused_is_told_at_once_up_to_a_limit() -> None:
    assert refusal(file("/a"), file("../b")).count("a.tgz: member") == 2
    many = refusal(*(file(f"/{number}") for number in range(50)))
    assert many.count("a.tgz: member") == TOLD and "30 more" in many


def test_limits_name_the_option_that_raises_them() -> None:
    with pytest.raises(PipelineError, match="max_files"):
        check_limits(11, 0, Limits(100, 10), "a.tgz")
    with pytest.raises(PipelineError, match="max_bytes"):
        check_limits(1, 101, Limits(100, 10), "a.tgz")
    check_limits(10, 100, Limits(100, 10), "a.tgz")


def test_only_what_unpacks_to_over_a_thousand_times_its_size_is_a_bomb() -> None:
    with pytest.raises(PipelineError, match="a bomb"):
        check_ratio(RATIO_FROM + 1, RATIO_FROM // 1000, "a.tgz")
    check_ratio(RATIO_FROM, 1, "a.tgz")
    check_ratio(RATIO_FROM * 10, RATIO_FROM // 100, "a.tgz")
