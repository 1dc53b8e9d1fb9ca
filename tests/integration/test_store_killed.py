"""A store whose users are killed at any moment stays whole, and the next run goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.events import ignore
from pipeline.store.check import check
from pipeline.store.store import Store

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="trusted attributes need root"),
    pytest.mark.disk,
]

RUN = """
import sys
from hashlib import sha256
from pathlib import Path
from pipeline.events import ignore
from pipeline.store.importing import import_base
from pipeline.store.naming import identity
from pipeline.store.records import Draft, Failure, Verification, Version, stack_digest
from pipeline.store.store import Store, layer_name
store = Store.open(Path(sys.argv[1]))
print("opened", flush=True)
base = import_base(store, "base", Path(sys.argv[2]), ignore)
layers = [base.layer]
for number in range(5):
    key = f"{number}" * 64
    while store.layer(key) is None:
        with store.begin(layers) as work:
            for name in range(20):
                (work.upper / f"d{name}").mkdir()
                (work.upper / f"d{name}" / "file").write_text("x" * 5000)
            if number == 2 and store.failed("web") is None:
                failure = Failure(image="web", stage="s", key=key, layers=(), message="m", when=1.0)
                store.fail(work, failure)
            else:
                store.commit(work, Draft(key=key, image="web", stage="s", type="t"), epoch=5)
    layers.append(layer_name(key))
tree = stack_digest(store.layer_called(name).digest for name in layers)
version = Version(
    image="web", number=0, identity=identity("web", tree, (), {}), created=1.0,
    base="base", base_digest=base.digest, layers=tuple(layers), stages=(), tree=tree,
    kernel=None, kernel_parameters=(), parameters={},
    recipe_digest="r", lock_digest=sha256(b"x").hexdigest(), packages=(),
)
made = store.versions.add(version, {"recipe.lock": b"x"})
store.versions.set_verification(
    made, Verification(
        passed=True, tests_digest="t", when=1.0, seconds=1.0, results=(("test_a", "passed", 0.1, ""),)
    ), {"junit.xml": b"x"}
)
store.forget_failure("web")
print("done", made.number, flush=True)
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    root = tmp_path / "base"
    for number in range(60):
        (root / f"etc/d{number}").mkdir(parents=True)
        for name in range(5):
            (root / f"etc/d{number}/{name}").write_text("x" * 3000)
    (root / "bin").mkdir()
    return root


def start(store: Path, base: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", RUN, str(store), str(base)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def swept(path: Path) -> Store:
    """The store, once the kernel has ended the workers of a killed import too."""
    end = time.monotonic() + 10
    store = Store.open(path)
    while os.listdir(path / "work") and time.monotonic() < end:
        store = Store.open(path)
    assert os.listdir(path / "work") == []
    return store


def test_killed_at_any_moment_the_store_is_whole_and_the_next_run_goes_on(tmp_path: Path, base: Path) -> None:
    chance = random.Random(5)
    killed = 0
    for turn in range(2):
        path = tmp_path / f"store{turn}"
        for _ in range(6):
            process = start(path, base)
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.05))  # the moment is the point; a whole run takes about 0.1 s
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read()
            process.wait()
            killed += "done" not in rest
            store = swept(path)
            assert check(store, ignore) == ()
        process = start(path, base)
        out, _ = process.communicate()
        assert process.returncode == 0 and "done" in out
        assert check(Store.open(path), ignore) == ()
    assert killed > 3


def test_processes_that_do_the_same_at_once_share_one_result(tmp_path: Path, base: Path) -> None:
    path = tmp_path / "store"
    processes = [start(path, base) for _ in range(3)]
    outs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert all("done" in out for out in outs)
    store = Store.open(path)
    assert check(store, ignore) == ()
    assert len(store.layers()) == 6
    assert os.listdir(path / "work") == []
