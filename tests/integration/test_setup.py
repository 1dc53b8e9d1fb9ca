"""``ci/setup.sh`` on a small project of its own, which needs no package from outside."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.faults.site import until

pytestmark = pytest.mark.xdist_group("setup")
"""One process: the project and its copy are set up once."""

SCRIPT = Path(__file__).parents[2] / "ci/setup.sh"

LOADED = """
import os, time
if "LOADING" in os.environ:
    open(os.environ["LOADING"], "w").close()
    time.sleep(60)
"""

PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "small"
version = "1"
"""

BACKEND = '''
"""Just enough of PEP 660: a wheel whose only module leads here."""
import os
import zipfile


def build_editable(folder, config_settings=None, metadata_directory=None):
    about = "small-1.dist-info"
    files = {
        "small.pth": os.getcwd() + "\\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{about}/entry_points.txt": "[console_scripts]\\npipeline = pipeline.cli:run\\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{name},,\\n" for name in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(f"{folder}/small-1-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "small-1-py3-none-any.whl"
'''


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is set up."""
    folder = tmp_path_factory.mktemp("setup") / "first"
    for name, text in {
        "pyproject.toml": PROJECT,
        "backend.py": BACKEND,
        "pipeline.toml": "",
        "pipeline/__init__.py": LOADED,
        "pipeline/interrupts.py": (SCRIPT.parents[1] / "pipeline/interrupts.py").read_text(),
        "pipeline/cli.py": "def run():\n    import pipeline\n    print(pipeline.__file__)\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "ci").mkdir()
    shutil.copy(SCRIPT, folder / "ci")
    _set_up(folder)
    return folder


class Copied(NamedTuple):
    """A copy of the project that was set up; ``said`` is what that said."""

    path: Path
    said: str
    project_is_as_before: bool


@pytest.fixture(scope="module")
def copied(project: Path) -> Copied:
    copy = project.with_name("copy")
    shutil.copytree(project, copy, symlinks=True)
    before = _files(project / ".venv")
    said = _set_up(copy)
    return Copied(copy, said, _files(project / ".venv") == before)


def test_a_second_setup_installs_nothing(project: Path) -> None:
    assert _set_up(project) == ""


def test_a_copied_clone_gets_a_command_of_its_own(project: Path, copied: Copied) -> None:
    assert "installing the command" in copied.said
    assert _command(copied.path) == f"{copied.path}/pipeline/__init__.py\n"
    assert _command(project) == f"{project}/pipeline/__init__.py\n"
    assert copied.project_is_as_before


def test_a_moved_clone_gets_a_command_again_also_below_a_name_with_a_space(copied: Copied) -> None:
    moved = copied.path.rename(copied.path.with_name("a clone"))
    assert "installing the command" in _set_up(moved)
    assert _command(moved) == f"{moved}/pipeline/__init__.py\n"
    assert _set_up(moved) == ""


def test_another_pyproject_keeps_what_is_installed_beside(project: Path) -> None:
    beside = project / ".venv/beside"
    beside.touch()
    (project / "pyproject.toml").write_text(f"{PROJECT}# changed\n")
    assert "installing the command" in _set_up(project)
    assert beside.exists()


def test_a_setup_that_was_broken_off_begins_again(project: Path) -> None:
    broken = project.with_name("broken")
    shutil.copytree(project, broken, symlinks=True)
    for name in ("installed", "bin/pipeline", "bin/pip"):
        (broken / ".venv" / name).unlink()
    _set_up(broken)
    assert _command(broken) == f"{broken}/pipeline/__init__.py\n"


def test_what_was_there_stays_until_a_new_one_is_whole(project: Path) -> None:
    """Another Python: the command that mounts images at boot is not gone when no other can be installed."""
    old = project.with_name("old")
    shutil.copytree(project, old, symlinks=True)
    before = _files(old / ".venv")
    (old / "backend.py").rename(old / "away")
    failed = subprocess.run(["ci/setup.sh"], cwd=old, capture_output=True, text=True)
    assert failed.returncode == 3 and "what was there before is as it was" in failed.stderr, failed.stderr
    assert _files(old / ".venv") == before and not (old / ".venv.before").exists()
    (old / ".venv").rename(old / ".venv.before")  # killed in the middle of it
    (old / ".venv").mkdir()
    (old / "away").rename(old / "backend.py")
    _set_up(old)
    assert _command(old) == f"{old}/pipeline/__init__.py\n"


def test_an_interrupt_while_the_command_is_loaded_is_no_traceback(project: Path, tmp_path: Path) -> None:
    loading = tmp_path / "loading"
    command = subprocess.Popen(
        [project / ".venv/bin/pipeline"],
        env={**os.environ, "LOADING": str(loading)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until(loading.exists, "it is loaded")
    command.send_signal(signal.SIGINT)
    out, err = command.communicate()
    assert (command.returncode, out) == (130, "")
    assert err.startswith("\ninterrupted; ")


def test_a_command_of_pip_that_an_older_setup_left_is_replaced(project: Path) -> None:
    script = project / ".venv/bin/pipeline"
    new = script.read_text()
    script.write_text(f"#!{project}/.venv/bin/python\nimport re\nimport sys\n")
    assert _set_up(project) == ""
    assert script.read_text() == new


def test_on_el_what_is_lacking_is_installed_by_the_names_that_it_has_there(
    project: Path, tmp_path: Path
) -> None:
    """A machine without apt-get, whose dnf knows what EL has and nothing else."""
    clone, programs = tmp_path / "clone", tmp_path / "bin"
    shutil.copytree(project, clone, symlinks=True)
    (clone / "pipeline.toml").write_text("[lab]\n")
    packages = {program: package for package, program in EL.items()}
    programs.mkdir()
    for folder in ("/usr/bin", "/usr/sbin"):
        for program in Path(folder).iterdir():
            hidden = program.name in packages or program.name.startswith(("apt", "dnf", "python", "pip"))
            if not hidden and not (programs / program.name).exists():
                (programs / program.name).symlink_to(program)
    found = {name: shutil.which(name) for name in packages} | {"python3.11": os.path.realpath(sys.executable)}
    cases = [f"{package}) ln -s {found[name]} {programs}/{name} ;;" for name, package in packages.items()]
    with open(programs / "dnf", "x") as dnf:  # never through a link into this machine's programs
        dnf.write(DNF.format(cases="\n".join(cases)))
    (programs / "dnf").chmod(0o755)
    path = {"PATH": str(programs)}
    said = _set_up(clone, env=path)
    assert f"setup: installing {' '.join(sorted(EL))} \n" in said
    assert "the lab takes Debian or Ubuntu" in said
    assert _set_up(clone, env=path).startswith("setup: the lab takes")


EL = {
    "createrepo_c": "createrepo_c",
    "openssh-clients": "ssh",
    "python3.11": "python3.11",
    "rpm-build": "rpmbuild",
}
"""Package of EL 8 and 9 → its program, for some that a fresh machine lacks."""

DNF = """#!/bin/sh
[ "$1 $2" = "install -y" ] || exit 1
shift 2
for package; do
    case $package in
{cases}
*) echo "No match for argument: $package"; exit 1 ;;
    esac
done
"""


def _set_up(folder: Path, **options: Any) -> str:
    done = subprocess.run(["ci/setup.sh"], cwd=folder, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _command(folder: Path) -> str:
    return subprocess.run([folder / ".venv/bin/pipeline"], capture_output=True, text=True, check=True).stdout


def _files(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*") if path.suffix != ".pyc"}
