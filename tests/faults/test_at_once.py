"""Two commands at once on one store: the same result as one after the other, and no stage runs twice."""

from __future__ import annotations

import json
import os
import signal

from tests.faults.site import Site, add_shell, command_stage, file_stage, until

SLOW = (
    file_stage("one"),
    command_stage("two", "sleep 0.5; echo two > /etc/two"),
    command_stage("three", "sleep 0.5; echo three > /etc/three"),
)


def stages_ran(*documents: str) -> list[str]:
    """Every stage that one of the builds ran itself."""
    return [
        f"{image['image']}:{stage['name']}"
        for document in documents
        for image in json.loads(document)["images"]
        for stage in image["stages"]
        if not stage["cached"]
    ]


def test_two_builds_of_one_image_share_every_stage(site: Site) -> None:
    add_shell(site.base)
    site.recipe(*SLOW)
    processes = [site.start("build", "--json") for _ in range(2)]
    ended = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    images = [json.loads(out)["images"][0] for out, _ in ended]
    assert images[0]["tree"] == images[1]["tree"]
    assert [image["version"] for image in images] == [1, 1]
    assert sorted(stages_ran(*(out for out, _ in ended))) == ["web:one", "web:three", "web:two"]
    assert len(site.layers()) == 4


def test_two_builds_of_images_with_the_same_first_stages_share_those(site: Site) -> None:
    add_shell(site.base)
    site.recipe(*SLOW, file_stage("left"), image="left")
    site.recipe(*SLOW, file_stage("right"), image="right")
    processes = [site.start("build", "--json", image) for image in ("left", "right")]
    ended = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    ran = [word.partition(":")[2] for word in stages_ran(*(out for out, _ in ended))]
    assert sorted(ran) == ["left", "one", "right", "three", "two"]
    for image in ("left", "right"):
        assert (site.images / image / "etc/three").read_text() == "three\n"
        assert (site.images / image / f"etc/{image}").read_text() == image


def test_when_one_of_two_builds_is_killed_the_other_takes_over_its_stage(site: Site) -> None:
    add_shell(site.base)
    site.recipe(*SLOW)
    first = site.start("build", "--json")
    until(
        lambda: "one" in site.layers() and bool(os.listdir(site.store / "work")), "it is at the second stage"
    )
    first.send_signal(signal.SIGSTOP)
    waits = site.write("waits", "").open("w")
    second = site.start("build", "--json", stderr=waits)
    until(lambda: "another run is at it; waiting" in (site.path / "waits").read_text(), "the second waits")
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    out, _ = second.communicate(timeout=60)
    waits.close()
    assert second.returncode == 0, (site.path / "waits").read_text()
    assert (site.images / "web/etc/three").read_text() == "three\n"
    assert len(site.layers()) == 4
    assert json.loads(out)["images"][0]["version"] == 1


def test_a_build_and_every_other_verb_at_once_do_not_disturb_each_other(site: Site) -> None:
    add_shell(site.base)
    site.recipe(file_stage("one"))
    assert site.run("build").exit_code == 0
    site.recipe(*SLOW)
    build = site.start("build", "--json")
    while build.poll() is None:
        for words in (("fsck",), ("versions",), ("show", "web@1"), ("publish", "web@1"), ("verify", "web@1")):
            ended = site.run(*words)
            assert ended.exit_code == 0, (words, ended.err, ended.out)
    _, err = build.communicate()
    assert build.returncode == 0, err
    assert {stage for stage in site.layers() if stage} == {"small", "one", "two", "three"}
