"""What nothing needs: stores made through the Store API, and what is removed from them."""

from __future__ import annotations

import os
import signal
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.events import ignore
from pipeline.store.check import check
from pipeline.store.filesystem import lock_directory
from pipeline.store.garbage import Needs, every_version, garbage, remove
from pipeline.store.presence import alone, entered, occupied
from pipeline.store.records import Base, Failure, Version
from pipeline.store.store import Store, layer_name
from tests.small_store import add_version, commit_layer


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def layer(store: Store, digit: str, parents: tuple[str, ...] = ()) -> str:
    def fill(upper: Path) -> None:
        (upper / "file").write_text(digit * 10)

    return layer_name(commit_layer(store, digit * 64, fill, parents, stage=f"s{digit}").key)


def version(store: Store, *layers: str) -> Version:
    return add_version(store, layers, base="small")


def needs(*versions: Version, bases: tuple[str, ...] = (), **more: frozenset[str]) -> Needs:
    rest = {name: more.get(name, frozenset()) for name in ("downloads", "partials", "seen")}
    return Needs(versions=versions, bases=frozenset(bases), **rest)


def found(store: Store, what: Needs) -> list[tuple[str, str]]:
    return [(removal.kind, removal.name) for removal in garbage(store, what)]


def collect(store: Store, what: Needs) -> list[tuple[str, str]]:
    done: list[tuple[str, str]] = []
    remove(store, garbage(store, what), lambda removal: done.append((removal.kind, removal.name)))
    return done


def test_layers_of_versions_stay_and_others_go(store: Store) -> None:
    one, two, three = layer(store, "1"), layer(store, "2"), layer(store, "3")
    made = version(store, one, two)
    assert collect(store, needs(made)) == [("layer", three)]
    assert store.layers() == (one, two)
    assert os.listdir(store.path / "work") == []
    assert check(store, ignore) == ()


def test_what_goes_is_told_with_its_size_and_what_it_was(store: Store) -> None:
    layer(store, "1")
    (removal,) = garbage(store, needs())
    assert (removal.bytes, removal.why) == (10, "of stage s1 of web")


def test_looking_removes_nothing(store: Store) -> None:
    layer(store, "1")
    before = sorted(store.path.rglob("*"))
    garbage(store, needs())
    assert sorted(store.path.rglob("*")) == before


def test_a_version_goes_with_its_test_results_signatures_hand_edits_and_layers(store: Store) -> None:
    one, two, three = layer(store, "1"), layer(store, "2"), layer(store, "3")
    old, new = version(store, one, two), version(store, one, three)
    for name in ("1.signed", "1.verified"):
        (store.path / "images/web/versions" / name).mkdir()
    for name in ("web-1", "web-2"):
        (store.path / "published" / name / "upper").mkdir(parents=True)
        (store.path / "published" / name / "upper/x").touch()
    assert collect(store, needs(new)) == [
        ("version", "web@1"),
        ("signatures", "web@1"),
        ("results", "web@1"),
        ("edits", "web-1"),
        ("layer", two),
    ]
    assert store.versions.all("web") == (new,)
    assert os.listdir(store.path / "published") == ["web-2"]
    assert old != new


def test_a_base_stays_while_it_is_used_and_then_goes_with_its_layer(store: Store) -> None:
    one = layer(store, "1")
    store.set_base(
        Base(name="small", path="/b", fingerprint="f", digest="d", layer=one, epoch=1, bytes=1, files=1)
    )
    assert found(store, needs(bases=("small",))) == []
    assert found(store, needs()) == [("base", "small"), ("layer", one)]


def test_the_layers_below_a_kept_failure_stay(store: Store) -> None:
    one, two = layer(store, "1"), layer(store, "2")
    with store.begin((one,)) as work:
        store.fail(work, Failure(image="web", stage="s", key="k", layers=(one,), message="m", when=1.0))
    assert found(store, needs()) == [("layer", two)]


def test_nothing_is_guessed_when_a_record_is_damaged(store: Store) -> None:
    made = version(store, layer(store, "1"))
    (store.path / "failed/web").mkdir()
    (store.path / "failed/web/failure.json").write_text("{")
    with pytest.raises(PipelineError, match="the file is damaged"):
        garbage(store, needs(made))
    (store.versions.directory(made) / "version.json").unlink()
    with pytest.raises(PipelineError, match="has lost its record"):
        every_version(store)


def name_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def test_downloads_partials_and_notes_that_no_lock_names_go(store: Store) -> None:
    kept, lost = "a" * 64, "b" * 64
    partial = name_of("http://a/b")
    about = {which: name_of(f"{which}.part") for which in (partial, name_of("gone"))}
    folder = store.path / "downloads"
    for name, content in {
        f"sha256/aa/{kept}": "kept",
        f"sha256/bb/{lost}": "lost",
        f"partial/{partial}.part": "half",
        f"partial/{about[partial]}.json": "{}",
        f"partial/{name_of('gone')}.part": "half",
        f"partial/{about[name_of('gone')]}.json": "{}",
        f"known/{name_of('1')}.json": f'{{"url":"","validator":"","sha256":"{kept}"}}',
        f"known/{name_of('2')}.json": f'{{"url":"","validator":"","sha256":"{lost}"}}',
        f"known/{name_of('3')}.json": "no JSON",
        f"seen/{name_of('/p/file')}.json": "[]",
        f"seen/{name_of('/p/gone')}.json": "[]",
        "seen/.new-x1": "half",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    wanted = needs(
        downloads=frozenset({kept}),
        partials=frozenset({partial}),
        seen=frozenset({name_of("/p/file")}),
    )
    collect(store, wanted)
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert left == sorted(
        [
            f"sha256/aa/{kept}",
            f"partial/{partial}.part",
            f"partial/{about[partial]}.json",
            f"known/{name_of('1')}.json",
            f"seen/{name_of('/p/file')}.json",
        ]
    )


def test_what_killed_processes_left_and_locks_of_stages_go(store: Store) -> None:
    (store.path / "bases/.small.json.1234").touch()
    (store.path / "images/web").mkdir()
    (store.path / "images/web/.published.json.1234").touch()
    with store.lock("layer-1"), store.lock("publish-web"):
        pass
    assert found(store, needs()) == [
        ("leftover", ".small.json.1234"),
        ("leftover", ".published.json.1234"),
        ("lock", "layer-1"),
    ]


@pytest.mark.parametrize("survived", [0, 1, 2, 3])
def test_killed_after_any_removal_the_store_is_whole_and_the_rest_goes_the_next_time(
    store: Store, survived: int
) -> None:
    one, two, three = layer(store, "1"), layer(store, "2"), layer(store, "3")
    version(store, one, two)
    new = version(store, one)
    child = os.fork()
    if child == 0:
        count = 0

        def killed(_: object) -> None:
            nonlocal count
            count += 1
            if count >= survived:
                os.kill(os.getpid(), signal.SIGKILL)

        if survived == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        remove(store, garbage(store, needs(new)), killed)
        os._exit(0)
    os.waitpid(child, 0)
    again = Store.open(store.path)
    assert check(again, ignore) == ()
    assert len(collect(again, needs(new))) == 3 - survived
    assert again.layers() == (one,)
    assert three not in again.layers()


def test_a_removal_that_was_killed_while_it_deletes_is_finished_by_the_next_opening(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = layer(store, "1")

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("pipeline.store.work.remove_tree", stopped)
        remove(store, garbage(store, needs()), lambda _: None)
    assert name not in store.layers()
    assert os.listdir(store.path / "work") != []
    assert os.listdir(Store.open(store.path).path / "work") == []


def test_removing_waits_for_all_builds_and_builds_do_not_wait_for_each_other(store: Store) -> None:
    said, done = threading.Event(), threading.Event()

    def removing() -> None:
        with alone(store, said.set):
            done.set()

    def not_now() -> None:
        pytest.fail("builds share the store")

    thread = threading.Thread(target=removing)
    with occupied(store, not_now), occupied(store, not_now):
        thread.start()
        assert said.wait(10)
        assert not done.is_set()
    thread.join(10)
    assert done.is_set()


def test_a_build_waits_while_things_are_removed(store: Store) -> None:
    said, done = threading.Event(), threading.Event()

    def building() -> None:
        with occupied(store, said.set):
            done.set()

    thread = threading.Thread(target=building)
    with alone(store, lambda: pytest.fail("nobody is there")):
        thread.start()
        assert said.wait(10)
        assert not done.is_set()
    thread.join(10)
    assert done.is_set()


def test_a_version_that_somebody_is_in_cannot_be_locked(store: Store) -> None:
    directory = store.versions.directory(version(store, layer(store, "1")))
    with entered(directory), entered(directory):
        assert lock_directory(directory) is None
    lock = lock_directory(directory)
    assert lock is not None
    os.close(lock)
