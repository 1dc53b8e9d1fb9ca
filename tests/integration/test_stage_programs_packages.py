from __future__ import annotations

from pathlib import Path

import pytest
from stage_programs_rpms import EPOCH, NEEDED, Workshop, after, nevra, put_program, run

from pipeline.chroot.enter import enter
from pipeline.chroot.root import INPUTS, RootSpec
from pipeline.errors import PipelineError
from pipeline.packaging import rpmdb
from pipeline.stages.base import Inputs
from pipeline.stages.packages import Packages

pytestmark = NEEDED


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


def test_exactly_the_locked_packages_are_installed(workshop: Workshop) -> None:
    assert run(workshop, workshop.answer(["kernel-firmware-2-1"])) == after("+kernel-firmware-2-1")


def test_an_upgrade_replaces_the_old_version_and_notes_what_rpm_warns_of(workshop: Workshop) -> None:
    with workshop.root() as root:
        root.run(["sh", "-c", "echo mine > /etc/alpha.conf"])
        Packages(name="x").run(root, workshop.answer(["alpha-2.0-1", "gamma-1.0-1"], ["alpha-1.0-1"]))
        assert set(rpmdb.installed(root)) >= {"alpha-1:2.0-1.noarch", "gamma-1.0-1.noarch"}
        assert "alpha-1.0-1.noarch" not in rpmdb.installed(root)
    assert any("alpha.conf.rpmnew" in note for note in workshop.notes)


def test_a_lock_may_go_back_to_an_older_version(workshop: Workshop) -> None:
    with workshop.root() as root:
        Packages(name="x").run(root, workshop.answer(["alpha-2.0-1"], ["alpha-1.0-1"]))
        Packages(name="x").run(root, workshop.answer(["alpha-1.0-1"], ["alpha-2.0-1"]))
        assert "alpha-1.0-1.noarch" in rpmdb.installed(root)


def test_a_kernel_stays_beside_the_one_that_the_package_manager_kept(workshop: Workshop) -> None:
    inputs = workshop.answer(["kernel-2-1", "kernel-firmware-2-1"])
    assert run(workshop, inputs) == after("+kernel-2-1", "+kernel-firmware-2-1")


def test_a_package_that_needs_the_new_kernel_is_upgraded_after_it(workshop: Workshop) -> None:
    with workshop.root() as root:
        root.run(["rpm", "-i", f"{INPUTS}/kmod-1-1"])
        Packages(name="x").run(root, workshop.answer(["kmod-3-1", "kernel-3-1"], ["kmod-1-1"]))
        assert {"kmod-3-1.noarch", "kernel-1-1.noarch", "kernel-3-1.noarch"} <= set(rpmdb.installed(root))


def test_a_kernel_and_packages_that_need_each_other_are_installed(workshop: Workshop) -> None:
    names = ["kmod-2-1", "kernel-2-1", "kernel-firmware-2-1"]
    with workshop.root() as root:
        root.run(["rpm", "-i", f"{INPUTS}/kmod-1-1"])
        Packages(name="x").run(root, workshop.answer(names, ["kmod-1-1"]))
        assert {*map(nevra, names), "kernel-1-1.noarch"} <= set(rpmdb.installed(root))


def test_what_a_package_beside_a_kernel_still_lacks_is_an_error(workshop: Workshop) -> None:
    inputs = workshop.answer(["kmod-4-1", "kernel-2-1", "kernel-firmware-2-1"], ["kmod-1-1"])
    with workshop.root() as root, pytest.raises(PipelineError, match="what-nobody-has"):
        root.run(["rpm", "-i", f"{INPUTS}/kmod-1-1"])
        Packages(name="x").run(root, inputs)


def test_the_oldest_kernel_goes_when_the_package_manager_said_so(workshop: Workshop) -> None:
    with workshop.root() as root:
        Packages(name="x").run(root, workshop.answer(["kernel-2-1", "kernel-firmware-2-1"]))
        Packages(name="x").run(root, workshop.answer(["kernel-3-1"], ["kernel-1-1"]))
        kernels = [
            name for name in rpmdb.installed(root) if name.startswith("kernel-") and "firm" not in name
        ]
    assert kernels == ["kernel-2-1.noarch", "kernel-3-1.noarch"]


def test_removing_takes_exactly_what_was_locked_and_notes_what_went_along(workshop: Workshop) -> None:
    inputs = workshop.answer([], ["alpha-1.0-1", "beta-1.0-1"])
    assert run(workshop, inputs, remove=("alpha", "qlgc-ofed")) == after("-alpha-1.0-1", "-beta-1.0-1")
    assert "remove: qlgc-ofed is not installed, nothing to remove" in workshop.notes
    assert any("also removed" in note and "beta-1.0-1.noarch" in note for note in workshop.notes)


def test_a_conflict_is_solved_by_removing_first(workshop: Workshop) -> None:
    inputs = workshop.answer(["against-alpha-1.0-1"], ["alpha-1.0-1", "beta-1.0-1"])
    expected = after("+against-alpha-1.0-1", "-alpha-1.0-1", "-beta-1.0-1")
    assert run(workshop, inputs, remove=("alpha",)) == expected


def test_what_a_package_obsoletes_goes_with_its_installation(workshop: Workshop) -> None:
    inputs = workshop.answer(["beta-next-1.0-1"], ["beta-1.0-1"])
    assert run(workshop, inputs) == after("+beta-next-1.0-1", "-beta-1.0-1")


def test_the_same_packages_once_more_are_no_error(workshop: Workshop) -> None:
    assert run(workshop, workshop.answer(["alpha-1.0-1"])) == after()


@pytest.mark.parametrize(
    ("install", "words"),
    [
        ("breaks-after-1.0-1", "scriptlet of breaks-after-1.0-1.noarch failed: exit status 3"),
        ("breaks-before-1.0-1", "scriptlet of breaks-before-1.0-1.noarch failed: exit status 4"),
        ("needy-1.0-1", "what-nobody-has is needed by needy-1.0-1.noarch"),
        ("against-alpha-1.0-1", "alpha conflicts with against-alpha-1.0-1.noarch"),
    ],
)
def test_a_failure_is_told_in_the_words_of_rpm(workshop: Workshop, install: str, words: str) -> None:
    with pytest.raises(PipelineError) as caught:
        run(workshop, workshop.answer([install]))
    assert words in str(caught.value)


def test_a_scriptlet_shows_what_it_printed(workshop: Workshop) -> None:
    with pytest.raises(PipelineError, match="about to break"):
        run(workshop, workshop.answer(["breaks-after-1.0-1"]))


def test_a_scriptlet_that_fails_while_removing_is_an_error(workshop: Workshop) -> None:
    with workshop.root() as root:
        root.run(["rpm", "-i", f"{INPUTS}/breaks-when-erased-1.0-1"])
        with pytest.raises(PipelineError, match="preun scriptlet of breaks-when-erased"):
            Packages(name="x").run(root, workshop.answer([], ["breaks-when-erased-1.0-1"]))


def test_an_owner_that_the_image_does_not_know_is_noted(workshop: Workshop) -> None:
    run(workshop, workshop.answer(["foreign-owner-1.0-1"]))
    assert any("user nobody-knows does not exist" in note for note in workshop.notes)


def test_a_locked_package_that_was_not_fetched_is_named(workshop: Workshop) -> None:
    answer = workshop.answer(["leaf-1.0-1"]).packages
    with pytest.raises(PipelineError, match=r"leaf-1\.0-1\.noarch is locked to leaf-1\.0-1"):
        run(workshop, Inputs(packages=answer))


def test_an_rpm_file_that_is_none_is_an_error(workshop: Workshop, tmp_path: Path) -> None:
    with workshop.root() as root, pytest.raises(PipelineError, match=r"^leaf-1\.0-1: is no RPM"):
        inputs = workshop.answer(["leaf-1.0-1"])
        broken = Inputs(packages=inputs.packages, sources={"leaf-1.0-1": "/etc/passwd"})
        Packages(name="x").run(root, broken)


def test_an_rpm_that_does_nothing_and_says_nothing_is_found_out(workshop: Workshop) -> None:
    with workshop.root() as root:
        idle = 'case "$1" in -Uv|-ev) ;; *) exec /usr/bin/rpm "$@" ;; esac'
        put_program(root, "/usr/local/bin/rpm", idle)
        with pytest.raises(PipelineError) as caught:
            Packages(name="x").run(root, workshop.answer(["kernel-firmware-2-1"], ["leaf-1.0-1"]))
    assert [problem.message for problem in caught.value.problems] == [
        "kernel-firmware-2-1.noarch is not installed, though rpm reported no error",
        "leaf-1.0-1.noarch is still installed, though rpm reported no error",
    ]


def test_an_image_without_rpm_has_no_packages(workshop: Workshop, tmp_path: Path) -> None:
    for name in ("proc", "sys", "dev", "run", "tmp"):
        (tmp_path / name).mkdir()
    with enter(RootSpec(layers=(tmp_path,))) as root:
        assert rpmdb.installed(root) == ()


def test_two_installations_of_the_same_packages_leave_the_same_times(workshop: Workshop) -> None:
    def times() -> str:
        with workshop.root() as root:
            Packages(name="x").run(root, workshop.answer(["kernel-firmware-2-1"]))
            query = ["rpm", "-q", "--qf", "%{INSTALLTIME}", "kernel-firmware"]
            return root.run(query).text

    assert times() == str(EPOCH)
