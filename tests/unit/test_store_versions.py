"""The store's records: opening, versions, verifications, failures, locks."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from pipeline.errors import PipelineError, UsageError
from pipeline.events import ignore
from pipeline.store.check import MOST_TOLD, check
from pipeline.store.garbage import Needs, Removal, garbage, remove
from pipeline.store.records import Draft, Failure, Layer, Verification, Version
from pipeline.store.seal import SPAN
from pipeline.store.store import Store, layer_name
from tests.small_store import commit_layer, version_record
from tests.trees import deep


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def version(image: str = "web", identity: str = "one") -> Version:
    return version_record(image=image, identity=identity, parameters={"n": 1}, packages=("bash-1-1.x86_64",))


def commit(store: Store, key: str, content: str = "x") -> Layer:
    return commit_layer(store, key, lambda upper: (upper / "file").write_text(content))


def test_a_directory_with_other_things_in_it_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(PipelineError, match="not a store: it holds 'precious'"):
        Store.open(tmp_path)
    assert os.listdir(tmp_path) == ["precious"]


def test_a_newer_store_is_refused(store: Store) -> None:
    (store.path / "format").write_text("2\n")
    with pytest.raises(PipelineError, match="format '2', this program knows 1\n  hint: a newer release"):
        Store.open(store.path)


def test_a_store_that_was_half_made_is_completed(store: Store) -> None:
    (store.path / "format").unlink()
    assert Store.open(store.path) == store


def test_without_create_a_missing_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="there is no store"):
        Store.open(tmp_path / "store", create=False)
    assert not (tmp_path / "store").exists()


def test_a_layer_is_found_by_its_key_only(store: Store) -> None:
    key = "a" * 64
    assert store.layer(key) is None
    layer = commit(store, key)
    assert store.layer(key) == layer
    assert store.layer("a" * 63 + "b") is None
    assert (store.layer_tree(layer_name(key)) / "file").read_text() == "x"
    assert layer.bytes == layer.files == 1
    assert os.listdir(store.path / "work") == []


def test_work_that_is_not_committed_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.begin() as work:
        (work.upper / "dir").mkdir()
        raise ZeroDivisionError
    assert os.listdir(store.path / "work") == []


def test_work_without_an_owner_is_swept_and_that_of_others_is_not(store: Store) -> None:
    (store.path / "work/dead/upper").mkdir(parents=True)
    with store.begin() as work:
        Store.open(store.path)
        assert os.listdir(store.path / "work") == [work.path.name]


def test_a_stage_that_went_too_deep_leaves_a_store_that_opens_and_is_swept(store: Store) -> None:
    (store.path / "work/dead").mkdir()
    with deep(store.path / "work/dead", 3000):
        Store.open(store.path)
        assert os.listdir(store.path / "work") == []


def test_what_cannot_be_swept_keeps_nobody_from_the_store_and_gc_tells_of_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.path / "work/dead").mkdir()

    def broken(path: Path) -> None:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr("pipeline.store.work.remove_tree", broken)
    Store.open(store.path)
    with store.begin():
        pass
    nothing = frozenset[str]()
    left = garbage(store, Needs((), nothing, nothing, nothing, nothing))
    assert ("leftover", "dead") in [(each.kind, each.name) for each in left]
    gone: list[Removal] = []
    (told,) = remove(store, [each for each in left if each.name == "dead"], gone.append)
    assert "the leftover dead cannot be removed: Input/output error" in told and not gone


def test_a_folder_of_the_store_that_was_removed_is_named(store: Store) -> None:
    (store.path / "layers").rmdir()
    with pytest.raises(PipelineError, match=f"{store.path}/layers: the store has lost this folder") as caught:
        commit(store, "c" * 64)
    assert caught.value.problems[0].command == f"mkdir {store.path}/layers"


def test_a_clock_that_is_set_back_while_a_stage_runs_leaves_no_time_of_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    key = "d" * 64
    with store.begin() as work:
        monkeypatch.setattr(time, "time", lambda: now - 86400)
        for name, when in (("new", now - 86300), ("old", now - 86500)):
            (work.upper / name).touch()
            os.utime(work.upper / name, (when, when))
        store.commit(work, Draft(key=key, image="i", stage="s", type="t"), epoch=5)
    tree = store.layer_tree(layer_name(key))
    assert 5 <= (tree / "new").stat().st_mtime < 5 + SPAN
    assert (tree / "old").stat().st_mtime == pytest.approx(now - 86500)


def test_the_first_of_two_commits_of_a_key_stands(store: Store) -> None:
    key = "b" * 64
    with store.begin() as slow:
        (slow.upper / "file").write_text("slow")
        quick = commit(store, key, "quick")
        got = store.commit(slow, Draft(key=key, image="i", stage="s", type="t"), epoch=5)
    assert got == quick
    assert os.listdir(store.path / "work") == []
    assert check(store, ignore) == ()


def test_versions_count_up_and_equal_ones_are_one(store: Store) -> None:
    versions = store.versions
    assert versions.images() == () and versions.get("web") is None
    first = versions.add(version(), {"recipe.lock": b"lock"})
    assert first.number == 1
    assert versions.add(version(), {}) == first
    second = versions.add(version(identity="two"), {})
    assert second.label == "web@2"
    assert versions.get("web") == second
    assert versions.all("web") == (first, second)
    assert (versions.directory(first) / "recipe.lock").read_bytes() == b"lock"
    assert versions.images() == ("web",)
    assert versions.add(version(), {}) == first


def test_versions_added_at_once_get_numbers_of_their_own(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: store.versions.add(version(identity=str(n % 10)), {}), range(40)))
    assert {one.number for one in made} == set(range(1, 11))
    assert len({(one.number, one.identity) for one in made}) == 10


def test_a_version_is_named_by_image_or_image_and_number(store: Store) -> None:
    one = store.versions.add(version(), {})
    two = store.versions.add(version(identity="two"), {})
    assert store.versions.resolve("web") == two
    assert store.versions.resolve("web@1") == one


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("web@9", "web has no version 9\n  hint: did you mean web@1\\? there are: web@1"),
        ("wep", "no version of 'wep'\n  hint: did you mean 'web'"),
        ("other", "no version of 'other'\n  hint: there are: web"),
        ("web@", "'web@' is no version"),
        ("web@x", "'web@x' is no version"),
        ("../web", "'../web' is no version"),
        ("..", "'..' is no version"),
    ],
)
def test_a_version_that_is_not_there_is_answered_with_what_is(store: Store, text: str, said: str) -> None:
    store.versions.add(version(), {})
    with pytest.raises(UsageError, match=said):
        store.versions.resolve(text)


def test_the_last_verification_replaces_the_one_before(store: Store) -> None:
    one = store.versions.add(version(), {})
    assert store.versions.verification(one) is None
    for passed in (False, True):
        result = Verification(
            passed=passed, tests_digest="t", when=1.0, seconds=2.0, results=(("test_x", "passed", 0.1, ""),)
        )
        store.versions.set_verification(one, result, {"junit.xml": str(passed).encode()})
        assert store.versions.verification(one) == result
    assert (store.versions.verification_directory(one) / "junit.xml").read_bytes() == b"True"
    assert store.versions.numbers("web") == (1,)
    assert os.listdir(store.path / "work") == []


def test_the_last_failure_is_kept_until_it_is_forgotten(store: Store) -> None:
    assert store.failed("web") is None
    for stage in ("one", "two"):
        with store.begin() as work:
            (work.upper / stage).touch()
            work.log.write_text("said")
            failure = Failure(image="web", stage=stage, key="k", layers=("l",), message="m", when=1.0)
            store.fail(work, failure)
    kept = store.failed("web")
    assert kept is not None and kept.failure.stage == "two"
    assert os.listdir(kept.upper) == ["two"]
    assert kept.log.read_text() == "said"
    assert store.failed("web", "one") is None
    assert os.listdir(store.path / "work") == []
    store.forget_failure("web")
    store.forget_failure("web")
    assert store.failed("web") is None


def test_a_lock_is_waited_for_and_said_so(store: Store) -> None:
    said = threading.Event()
    order: list[str] = []

    def second() -> None:
        with store.lock("x", said.set):
            order.append("second")

    with store.lock("x"):
        thread = threading.Thread(target=second)
        thread.start()
        assert said.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_damaged_record_is_an_error_that_names_it(store: Store) -> None:
    commit(store, "a" * 64)
    (store.path / "layers" / layer_name("a" * 64) / "layer.json").write_text("{")
    with pytest.raises(PipelineError, match=r"layer\.json: the file is damaged"):
        store.layer("a" * 64)


def test_a_layer_that_lost_its_tree_is_an_error_that_names_it(store: Store) -> None:
    commit(store, "a" * 64)
    (store.path / "layers" / layer_name("a" * 64) / "tree").rename(store.path / "gone")
    told = rf"the layer {layer_name('a' * 64)} has lost its tree\n  run: pipeline fsck"
    with pytest.raises(PipelineError, match=told):
        store.layer("a" * 64)


def test_fsck_says_what_is_wrong_where_and_what_to_do(store: Store) -> None:
    key = "a" * 64
    layer = commit(store, key)
    place = store.path / "layers" / layer_name(key)
    own = (place / "tree").stat().st_mtime
    (place / "tree/file").write_text("y")
    os.utime(place / "tree/file", (own, own))
    (place / "tree/extra").touch()
    os.utime(place / "tree", (own, own))
    broken = msgspec.structs.replace(version(), layers=(layer_name(key), "f" * 20))
    store.versions.add(broken, {})
    content = store.path / "downloads/sha256/ab" / ("ab" * 32)
    content.parent.mkdir(parents=True)
    content.write_text("other")
    (store.path / "work/dead").mkdir()
    (store.path / "bases/b.json").write_text("?")
    found = {problem.where: problem for problem in check(store, ignore)}
    changed = found[str(place / "tree/file")]
    assert changed.message.startswith(
        "sha256: expected 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881, got"
    )
    assert changed.hint == (
        "web@1 stands on it; remove it, and the next build makes it again (a version whose layer does not "
        f"come out the same is lost, and refused; a build makes a new one): rm -r {place}"
    )
    assert found[str(place / "tree/extra")].message == "it is not in the manifest"
    assert found[str(place / "tree/extra")].hint is None  # told once, with the last one of the layer
    assert (
        "needs the layer ffffffffffffffffffff, which is missing"
        in found[str(store.path / "images/web/versions/1")].message
    )
    assert f"sha256: expected {'ab' * 32}" in found[str(content)].message
    assert "killed" in found[str(store.path / "work/dead")].message
    assert "damaged" in found[str(store.path / "bases/b.json")].message
    assert "has lost its recipe.lock" in found[str(store.path / "images/web/versions/1/recipe.lock")].message
    assert "identity: expected" in found[str(store.path / "images/web/versions/1/version.json")].message
    assert len(found) == 8
    assert layer.digest


def test_fsck_tells_the_first_of_many_differences_of_a_layer_and_what_to_do_once(store: Store) -> None:
    layers = [commit(store, digit * 64) for digit in "ab"]
    trees = [store.layer_tree(layer_name(layer.key)) for layer in layers]
    own = trees[0].stat().st_mtime
    for number in range(5 * MOST_TOLD):
        (trees[0] / f"extra{number:03}").touch()
    os.utime(trees[0], (own, own))
    (trees[1] / "file").chmod(0o600)
    *shown, rest, other = check(store, ignore)
    assert [problem.where for problem in shown] == [f"{trees[0]}/extra{n:03}" for n in range(MOST_TOLD)]
    assert rest.message == f"{4 * MOST_TOLD} more differences in this layer"
    assert other.message == "mode: expected 0644, got 0600"
    hints = [problem.hint for problem in (*shown, rest, other)]
    assert hints[:-2] == [None] * MOST_TOLD
    for hint, tree in zip(hints[-2:], trees, strict=True):
        assert f"{hint}".endswith(f": rm -r {tree.parent}")


def test_fsck_misses_what_was_removed(store: Store) -> None:
    commit(store, "a" * 64)
    place = store.path / "layers" / layer_name("a" * 64)
    own = (place / "tree").stat().st_mtime
    (place / "tree/file").unlink()
    os.utime(place / "tree", (own, own))
    (problem,) = check(store, ignore)
    assert str(problem).startswith(f"{place}/tree/file: it is in the manifest, but missing")
    (place / "manifest.gz").write_bytes(b"")
    (place / "links.json").unlink()
    assert {problem.where for problem in check(store, ignore)} >= {
        str(place / "manifest.gz"),
        str(place / "links.json"),
    }
