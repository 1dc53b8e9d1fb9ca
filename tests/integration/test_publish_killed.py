"""SIGKILL at every step of publish, rollback, unpublish and restore: nothing is half done."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from published_versions import Place, make_place, private_mounts, says

from pipeline.chroot import syscalls
from pipeline.publish.publication import not_mounted, publication, publish, rollback
from pipeline.publish.restoring import restore
from pipeline.publish.unpublishing import unpublish
from pipeline.store.mounts import mount_points

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

Act = Callable[[Place], object]
STEPS = frozenset(
    f"os.{name}"
    for name in (
        "mkdir",
        "rename",
        "remove",
        "rmdir",
        "symlink",
        "link",
        "chmod",
        "chown",
        "utime",
        "setxattr",
    )
)
"""Audit events before each of which a run is killed, and before the opening of what may be written or synced:
every change on the disk is one of them or lies between two."""

TEXTS = ("one", "two", "three")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with private_mounts():
        syscalls.mount("none", str(tmp_path), "tmpfs")  # hundreds of runs, and no disk to wait for
        yield make_place(tmp_path)


def killed_at(step: int, act: Act, place: Place) -> bool:
    """Run ``act`` in a child that is killed before its step number ``step``; whether it got that far."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            flags = arguments[2] if event == "open" else 0
            changes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_DIRECTORY)
            if event in STEPS or changes:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            sys.addaudithook(count)
            act(place)
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


def clear(place: Place) -> None:
    """As if nothing had ever been published."""
    for point in mount_points():
        if Path(point).is_relative_to(place.site.images):
            syscalls.unmount(point)
    shutil.rmtree(place.site.images, ignore_errors=True)
    shutil.rmtree(place.store.path / "published", ignore_errors=True)
    (place.store.path / "images/web/published.json").unlink(missing_ok=True)


def check_what_readers_see(place: Place) -> None:
    """The link leads to a whole tree; every directory is whole, or empty and not mounted."""
    for name in os.listdir(place.site.images) if place.site.images.exists() else ():
        path = place.site.images / name
        if name == "web" or (re.fullmatch("web-[0-9]", name) and os.listdir(path)):
            number = int(str(path.resolve()).rsplit("-", 1)[1])
            assert {(path / "motd").read_text(), (path / "etc/motd").read_text()} == {TEXTS[number - 1]}


def check_record(place: Place) -> None:
    """Record, link, directories and mounts say the same, and nothing else lies about."""
    now = publication(place.store, "web")
    there = {f"web-{number}" for number in now.directories} | ({"web"} if now.current else set())
    found = {name for name in os.listdir(place.site.images) if name != ".web.link"}
    assert found == there
    if now.current:
        assert os.readlink(place.site.images / "web") == f"web-{now.current}"
    mounted = {Path(point).name for point in mount_points() if Path(point).parent == place.site.images}
    assert mounted == {f"web-{number}" for number, mode in now.directories.items() if mode == "overlay"}


def publish_number(number: int) -> Act:
    def act(place: Place) -> None:
        publish(place.site, place.store, place.store.versions.resolve(f"web@{number}"))

    return act


def restore_after_reboot(place: Place) -> None:
    for point in mount_points():
        if Path(point).parent == place.site.images:
            syscalls.unmount(point)
    restore(place.site, place.store)


@dataclass(frozen=True)
class Case:
    """What is run with 1 and 2 published, where the link may point, and what is published at the end."""

    act: Act
    seen: frozenset[str | None]
    history: tuple[int, ...]
    numbers: frozenset[int]

    def is_done(self, place: Place) -> bool:
        now = publication(place.store, "web")
        if not_mounted(place.site, place.store):
            return False
        return (now.history, frozenset(now.directories)) == (self.history, self.numbers)


def case(act: Act, *seen: str | None, history: tuple[int, ...], numbers: tuple[int, ...] = (1, 2)) -> Case:
    return Case(act, frozenset(seen), history, frozenset(numbers))


CASES = {
    "publish": case(publish_number(3), "web-2", "web-3", history=(1, 2, 3), numbers=(1, 2, 3)),
    "publish-older": case(publish_number(1), "web-2", "web-1", history=(2, 1)),
    "rollback": case(lambda at: rollback(at.site, at.store, "web"), "web-2", "web-1", history=(1,)),
    "rollback-to": case(
        lambda at: rollback(at.site, at.store, "web", to=1), "web-2", "web-1", history=(2, 1)
    ),
    "unpublish-one": case(
        lambda at: unpublish(at.site, at.store, "web", 1), "web-2", history=(2,), numbers=(2,)
    ),
    "unpublish-all": case(
        lambda at: unpublish(at.site, at.store, "web", None), "web-2", None, history=(), numbers=()
    ),
    "restore": case(restore_after_reboot, "web-2", history=(1, 2)),
}


@pytest.mark.parametrize("repair", ["again", "restore"])
@pytest.mark.parametrize("mode", ["overlay", "copy"])
@pytest.mark.parametrize("name", CASES)
def test_killed_before_any_step_it_is_done_or_not_and_the_next_run_repairs(
    place: Place, name: str, mode: str, repair: str
) -> None:
    place, wanted = place.with_mode(mode), CASES[name]
    for text in TEXTS:
        place.version(says(text))
    step, going = 0, True
    while going:
        step += 1
        clear(place)
        publish_number(1)(place)
        publish_number(2)(place)
        going = killed_at(step, wanted.act, place)
        assert pointed(place) in wanted.seen
        if name != "restore":
            check_what_readers_see(place)
        if repair == "restore":
            restore(place.site, place.store)
            assert pointed(place) in wanted.seen
            assert not_mounted(place.site, place.store) == ()
            if not name.startswith("unpublish"):
                turned = pointed(place) != "web-2"
                assert publication(place.store, "web").history == (wanted.history if turned else (1, 2))
        else:
            if not wanted.is_done(place):
                wanted.act(place)
            assert wanted.is_done(place)
            check_record(place)
        check_what_readers_see(place)
    assert step > (1 if (name, mode) == ("restore", "copy") else 5)


def pointed(place: Place) -> str | None:
    link = place.site.images / "web"
    return os.readlink(link) if os.path.lexists(link) else None


def test_killed_at_any_moment_in_a_long_run_of_turns_the_next_restore_repairs(place: Place) -> None:
    for text in TEXTS:
        place.version(says(text))
    dice = random.Random(7)

    def turns(place: Place) -> None:
        while True:
            kind = dice.randrange(4)
            if kind < 2:
                publish_number(dice.randint(1, 3))(place)
            elif publication(place.store, "web").previous:
                rollback(place.site, place.store, "web")
                loose = set(publication(place.store, "web").directories) - {
                    publication(place.store, "web").current
                }
                if kind == 3 and loose:
                    unpublish(place.site, place.store, "web", max(loose))

    for _ in range(40):
        dice.random()
        child = os.fork()
        if child == 0:
            try:
                turns(place)
            finally:
                os._exit(1)
        time.sleep(dice.random() * 0.03)  # the moment is what is tried
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        check_what_readers_see(place)
        restore(place.site, place.store)
        check_what_readers_see(place)
    publish_number(3)(place)
    check_record(place)
