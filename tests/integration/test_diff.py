"""What differs between two versions, against what overlayfs itself shows, and as the command tells it."""

from __future__ import annotations

import os
import pty
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.chroot import syscalls
from pipeline.store.compare import FIELDS, FileChange, changed_files
from pipeline.store.filesystem import DIRECTORY
from pipeline.store.tree import Entry, entries, raw_path
from tests.integration.published_versions import Place, make_place, private_mounts
from tests.integration.small_project import STAGES, SmallProject, make_small_project

REPOSITORY = Path(__file__).parents[2]

Edit = Callable[[Path], object]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with private_mounts():
        yield make_place(tmp_path)


def mounted(place: Place, layers: Sequence[str], upper: Path | None = None, work: Path | None = None) -> Path:
    """What a stack of layers shows; writable with ``upper``."""
    target = place.site.file.parent / "mnt"
    target.mkdir(exist_ok=True)
    lower = ":".join(str(place.store.layer_tree(name)) for name in reversed(layers))
    if upper is None:
        empty = place.site.file.parent / "empty"
        empty.mkdir(exist_ok=True)
        syscalls.mount("overlay", str(target), "overlay", 0, f"lowerdir={empty}:{lower}")
    else:
        syscalls.mount(
            "overlay", str(target), "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}"
        )
    return target


def edited(place: Place, layers: Sequence[str], *edits: Edit) -> tuple[str, ...]:
    """``layers`` with one more for each of ``edits``, made by overlayfs."""
    stack = list(layers)
    for edit in edits:

        def fill(upper: Path, edit: Edit = edit) -> None:
            if not stack:
                edit(upper)
                return
            target = mounted(place, stack, upper, upper.parent / "work")
            try:
                edit(target)
            finally:
                syscalls.unmount(str(target))

        stack.append(place.layer(fill, stack))
    return tuple(stack)


def shown(place: Place, layers: Sequence[str]) -> dict[str, Entry]:
    target = mounted(place, layers)
    root = os.open(target, DIRECTORY)
    try:
        return {f"/{entry.path}": entry for entry, _ in entries(root)}
    finally:
        os.close(root)
        syscalls.unmount(str(target))


def expected(old: dict[str, Entry], new: dict[str, Entry]) -> dict[str, tuple[str, frozenset[str]]]:
    """Path → (change, fields), by comparing everything with everything."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for path in {*old, *new}:
        if path not in old or path not in new:
            found[path] = ("added" if path in new else "removed", frozenset())
            continue
        fields = frozenset(name for name in FIELDS if getattr(old[path], name) != getattr(new[path], name))
        if fields:
            found[path] = ("changed", fields)
    return found


def told(changes: Sequence[FileChange]) -> dict[str, tuple[str, frozenset[str]]]:
    return {change.path: (change.change, frozenset(change.fields)) for change in changes}


def populate(root: Path) -> None:
    for number in range(4):
        folder = root / f"d{number}/e{number}"
        folder.mkdir(parents=True)
        for name in ("a", "b", "c"):
            (folder / name).write_text(name * number)
    (root / "d0/link").symlink_to("e0/a")
    (root / "d1/ü\udcff").write_bytes(b"x")
    os.mkfifo(root / "d2/fifo")


def one_of_many(chance: random.Random) -> Edit:
    """An edit of any kind, at any place."""

    def edit(root: Path) -> None:
        for _ in range(chance.randint(1, 5)):
            all_paths = sorted(path for path in root.rglob("*"))
            if not all_paths:
                return
            path = chance.choice(all_paths)
            match chance.randrange(9):
                case 0 if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                case 1 if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                    path.mkdir()
                    (path / "new").write_text(str(chance.random()))
                case 2 if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                    path.write_text("was a directory")
                case 3 if not path.is_dir() or path.is_symlink():
                    path.unlink()
                    path.mkdir()
                    (path / "in").write_text("was a file")
                case 4 if path.is_file() and not path.is_symlink():
                    path.write_text(chance.choice(["", "a", "same", str(chance.random())]))
                case 5 if not path.is_symlink():
                    path.chmod(chance.choice([0o600, 0o640, 0o700]))
                case 6:
                    os.lchown(path, chance.choice([0, 5]), 0)
                case 7 if path.is_file() and not path.is_symlink():
                    os.setxattr(path, "user.x", chance.choice([b"1", b"2"]))
                case _ if not path.is_dir() or path.is_symlink():
                    path.unlink()
                    if chance.random() < 0.5:
                        path.symlink_to(chance.choice(["a", "b"]))

    return edit


@pytest.mark.parametrize("seed", range(12))
def test_it_finds_what_differs_in_what_overlayfs_shows(place: Place, seed: int) -> None:
    chance = random.Random(seed)
    common = edited(place, (), populate, one_of_many(chance))
    stacks = [
        edited(place, common, *(one_of_many(chance) for _ in range(chance.randint(0, 3)))) for _ in range(3)
    ]
    for old in stacks:
        for new in stacks:
            found = changed_files(place.store, old, new)
            assert told(found) == expected(shown(place, old), shown(place, new))
            paths = [raw_path(change.path) for change in found]
            assert paths == sorted(paths)


def test_versions_without_a_common_layer_are_compared_whole(place: Place) -> None:
    chance = random.Random(99)
    old, new = edited(place, (), populate, one_of_many(chance)), edited(place, (), lambda _: None, populate)
    assert told(changed_files(place.store, old, new)) == expected(shown(place, old), shown(place, new))


def test_the_manifests_of_common_layers_are_not_read(place: Place) -> None:
    common = edited(place, (), populate)
    old = edited(place, common, lambda root: shutil.rmtree(root / "d1"))
    new = edited(place, common, lambda root: (root / "d0/e0/a").write_text("z"))
    place.store.layer_manifest(common[0]).unlink()
    changes = {change.path: change for change in changed_files(place.store, old, new)}
    assert changes["/d0/e0/a"].fields["size"] == (0, 1)
    assert changes["/d1/e1"].change == "added"
    assert changes["/d1/e1/b"].bytes == 1
    assert len(changes) == 7


def test_layers_of_another_name_that_hold_the_same_count_as_common(place: Place) -> None:
    one, other = edited(place, (), populate), edited(place, (), populate)
    for name in (*one, *other):
        record = place.store.path / "layers" / name / "layer.json"
        record.write_text(record.read_text().replace(place.store.layer_called(name).digest, "d" * 64))  # type: ignore[union-attr]
    place.store.layer_manifest(one[0]).unlink()
    assert one != other
    assert changed_files(place.store, one, other) == ()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> SmallProject:
    made = make_small_project(tmp_path_factory.mktemp("diff") / "project")
    made.recipe(head='kernel.append_parameters = ["a=1", "quiet"]')
    made.built()
    made.recipe(
        STAGES.replace('create = "3"', 'create = "33"\nmode = "0600"'),
        head='kernel.append_parameters = ["a=2"]\n[parameters]\nunused = 1\n'
        '[[stage]]\nname = "gone"\ntype = "file"\npath = "/etc/deep"\nremove = true\n'
        '[[stage]]\nname = "list"\ntype = "file"\npath = "/etc/{{ unused }}"\nlink = "one"\n',
    )
    made.built()
    return made


def test_the_command_tells_kernel_parameters_parameters_and_files(project: SmallProject) -> None:
    result = project.run("diff", "web@1", "web")
    assert result.exit_code == 0, result.err
    assert result.out.splitlines() == [
        "web@1 → web@2",
        "kernel parameters",
        "  a: a=1 → a=2",
        "  quiet: quiet → none",
        "parameters",
        "  unused: none → 1",
        "files: 1 added, 3 removed, 1 changed, -2 B",
        "  + /etc/1  (link)",
        "  - /etc/deep  (dir)",
        "  - /etc/deep/in  (dir)",
        "  - /etc/deep/in/it",
        "  ~ /etc/three  (mode 0644 → 0600, size 1 → 2, content)",
    ]


def test_stat_counts_and_names_nothing(project: SmallProject) -> None:
    out = project.run("diff", "web@1", "web@2", "--stat").out
    assert "files: 1 added, 3 removed, 1 changed, -2 B" in out
    assert "/etc/three" not in out


def test_on_a_terminal_very_many_lines_are_counted_instead(project: SmallProject) -> None:
    for number in range(300):
        project.write(f"overlays/many/etc/many/{number}", "")
    project.recipe('\n[[stage]]\nname = "many"\ntype = "overlay"\ntree = "many"\n', name="many")
    project.built("many")
    whole = project.run("diff", "web@1", "many").out.splitlines()
    assert "  + /etc/many/299" in whole
    controller, terminal = pty.openpty()
    with open(controller, "rb", buffering=0) as screen:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "diff", "web@1", "many"], cwd=project.path, stdout=terminal,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, timeout=30,
        )  # fmt: skip
        os.close(terminal)
        shown = screen.read(1 << 16).decode().splitlines()
    assert done.returncode == 0
    assert shown[0] == "web@1 → many@1" and not [line for line in shown if "/etc/many/" in line]
    assert [line for line in shown if line.startswith("files: 301 added")]
    assert shown[-1].startswith(f'{len(whole)} lines in all: "| less"')


def test_a_pattern_limits_the_files(project: SmallProject) -> None:
    out = project.run("diff", "web@1", "web@2", "--files", "/etc/deep*").out
    assert "files: 0 added, 3 removed, 0 changed" in out
    assert "/etc/three" not in out


def test_the_document_has_all_of_it(project: SmallProject) -> None:
    found = project.run("diff", "web@1", "web@2", "--json").json()
    assert (found["old"], found["new"]) == ("web@1", "web@2")
    assert found["kernel_parameters"][0] == {"name": "a", "old": "a=1", "new": "a=2"}
    three = next(file for file in found["files"] if file["path"] == "/etc/three")
    assert (three["change"], three["fields"]["mode"]) == ("changed", ["0644", "0600"])
    assert found["stat"]["files"] == {"added": 1, "removed": 3, "changed": 1, "bytes": -2}


def test_a_version_does_not_differ_from_itself(project: SmallProject) -> None:
    assert project.run("diff", "web@1", "web@1").out.splitlines()[1:] == ["nothing differs"]


def test_lines_of_a_text_file_are_compared(project: SmallProject) -> None:
    lines = project.run("diff", "web@1", "web@2", "--text", "/etc/three").out.splitlines()
    assert lines == ["--- web@1:/etc/three", "+++ web@2:/etc/three", "@@ -1 +1 @@", "-3", "+33"]
    lines = project.run("diff", "web@1", "web@2", "--text", "/etc/deep/in/it").out.splitlines()
    assert lines[-1] == "-it"
    assert "the same in both" in project.run("diff", "web@1", "web@2", "--text", "etc/one").out


def test_parameters_are_told_as_recipes_write_them(project: SmallProject) -> None:
    project.write("overlays/told/etc/told.j2", "{{ truth }}{{ text }}{{ list | length }}")
    for values in (
        'truth = true\ntext = "1"\nlist = []\n',
        'truth = false\ntext = "ü\\n[x]"\nlist = ["a", 1.5]\n',
    ):
        head = f"[parameters]\n{values}"
        project.recipe('[[stage]]\nname = "t"\ntype = "overlay"\ntree = "told"\n', name="told", head=head)
        project.built("told")
    assert project.run("diff", "told@1", "told@2").out.splitlines()[1:5] == [
        "parameters",
        "  truth: true → false",
        r'  text: "1" → "ü\n[x]"',
        '  list: [] → ["a", 1.5]',
    ]


def test_a_file_is_named_as_it_is_told_or_as_it_is(project: SmallProject) -> None:
    """Names that are not UTF-8, with a backslash, with an end of line, and one that looks like another's."""
    names = {b"bad\xff": r"bad\xff", b"back\\slash": r"back\\slash", b"two\nlines": r"two\nlines"}
    names |= {rb"lit\x41": r"lit\\x41", b"litA": "litA", "ü\u2028".encode(): r"ü\u2028"}
    tree = project.path / "overlays/odd/odd"
    tree.mkdir(parents=True)
    project.recipe('\n[[stage]]\nname = "odd"\ntype = "overlay"\ntree = "odd"\n', name="odd")
    for content in ("old", "new"):
        for name in names:
            (tree / os.fsdecode(name)).write_text(content)
        project.built("odd")
    shown = project.run("diff", "odd@1", "odd@2").out
    for name, told in names.items():
        assert f"  ~ /odd/{told}  (content)" in shown.splitlines()
        for path in (os.fsdecode(b"/odd/" + name), f"/odd/{told}"):
            lines = project.run("diff", "odd@1", "odd@2", "--text", path).out.splitlines()
            assert lines[-2:] == ["-old", "+new"], path
            document = project.run("diff", "odd@1", "odd@2", "--json", "--text", path).json()
            assert document["lines"] == lines, path
            files = project.run("diff", "odd@1", "odd@2", "--files", path).out.splitlines()
            assert f"  ~ /odd/{told}  (content)" in files and len(files) == 3, path


def test_what_is_no_text_file_or_no_version_is_refused(project: SmallProject) -> None:
    result = project.run("diff", "web@1", "web@2", "--text", "/etc/none")
    assert (result.exit_code, "neither web@1 nor web@2 has a file /etc/none" in result.err) == (1, True)
    result = project.run("diff", "web@1", "web@2", "--text", "/etc")
    assert (result.exit_code, "is no file of at most" in result.err) == (1, True)
    result = project.run("diff", "web@1", "web@9")
    assert (result.exit_code, "did you mean web@2" in result.err) == (2, True)
