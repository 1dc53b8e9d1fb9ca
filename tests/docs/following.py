"""Following a page: its steps in one shell, in a project of its own, and what was shown compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.lab.home import ensure
from pipeline.lab.nodes import running
from tests.docs.pages import EXIT_CODE, Step
from tests.lab.own_lab import own_lab
from tests.lab.project import REPOSITORY, Project, unmount_all

WRITTEN_AS = "/srv/pipeline"
"""The project's folder, as the documents call it."""

LAB = ".pipeline/lab"

IGNORED = shutil.ignore_patterns("__pycache__", "recipe.lock")
"""Not shipped: a lock holds the digest of a base, and every machine builds its own lab."""

MAKE = """\
#!/bin/sh
# The real Makefile; only what it installs is here already.
exec {make} -o setup -o setup-dev PIPELINE=pipeline "$@"
"""

BLANKED = (
    (re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d( [+-]\d{4})?)?"), "DATE"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,64}\b"), "HEX"),
    (re.compile(r"\b\d+(\.\d+)? (B|kB|MB|GB|s|min)(?!\w)"), "AMOUNT"),
    (re.compile(r"\d+(\.\d+)*"), "N"),
    (re.compile(r"\s+"), " "),
)


def fresh_clone(path: Path, lab_home: Path) -> Project:
    """What ``git clone`` gives, and a lab of its own over what all tests share."""
    path.mkdir()
    for name in ("recipes", "overlays", "docs", "ci"):
        shutil.copytree(REPOSITORY / name, path / name, ignore=IGNORED)
    shutil.copy(REPOSITORY / "Makefile", path)
    shutil.copy(REPOSITORY / "pipeline.toml", path)
    ensure(lab_home, lambda event: None)
    (path / ".pipeline").mkdir()
    own_lab(path / LAB, lab_home)
    return Project(path)


def tidy(project: Project) -> None:
    """Nothing of it is running or mounted afterwards."""
    running.down(project.path / LAB)
    unmount_all(project)


def follow(steps: Sequence[Step], project: Project, scratch: Path) -> None:
    """Do the steps one after another in one shell; fails with the first that is not as its page says."""
    scratch.mkdir()
    tools = scratch / "bin"
    tools.mkdir()
    (tools / "pipeline").write_text(f'#!/bin/sh\nexec {sys.executable} -m pipeline "$@"\n')
    (tools / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tools / "make").write_text(MAKE.format(make=shutil.which("make")))
    for tool in tools.iterdir():
        tool.chmod(0o755)
    installed = project.path / ".venv/bin"
    installed.mkdir(parents=True)
    (installed / "pipeline").symlink_to(tools / "pipeline")
    (installed / "python").symlink_to(tools / "python")
    script = "".join(_step(number, step, scratch) for number, step in enumerate(steps))
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "SHELL": "/bin/sh",
        "TERM": "dumb",
    }
    ran = subprocess.run(
        ["bash", "-c", script], cwd=project.path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert not ran.stderr, ran.stderr
    for number, step in enumerate(steps):
        if step.file is None:
            _compare(step, scratch / str(number), project)


def _step(number: int, step: Step, scratch: Path) -> str:
    if step.file is not None:
        text = scratch / f"{number}.file"
        text.write_text("".join(f"{line}\n" for line in step.shown))
        return f"mkdir -p {Path(step.file).parent} && cp {text} {step.file} || exit\n"
    place = scratch / str(number)
    right = "!=" if step.fails else "="
    return (
        f"{{\n{step.command}\n}} >{place}.out 2>&1 </dev/null\n"
        f"code=$?; echo $code >{place}.code; [ $code {right} 0 ] || exit 0; (exit $code)\n"
    )


def _compare(step: Step, place: Path, project: Project) -> None:
    code = Path(f"{place}.code").read_text().strip()
    out = Path(f"{place}.out").read_text().replace(str(project.path), WRITTEN_AS)
    told = f"{step.where}: {step.command}\nexit code {code}, output:\n{out}"
    assert (code != "0") is step.fails, told
    if step.command == EXIT_CODE:
        assert out.split() == list(step.shown), told
        return
    lines = iter(out.splitlines())
    for shown in step.shown:
        assert any(alike(shown, line) for line in lines), f"missing, or not in this order: {shown}\n{told}"


def alike(shown: str, line: str) -> bool:
    """Whether a line of output is the one that is shown, of which … leaves something out."""
    parts = [re.escape(blank(part)) for part in shown.split("…")]
    return re.fullmatch(r"\s*.*\s*".join(parts), blank(line)) is not None


def blank(line: str) -> str:
    """A line with dates, digests, amounts and numbers blanked."""
    for pattern, word in BLANKED:
        line = pattern.sub(word, line)
    return line.strip()
