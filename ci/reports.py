"""Copy the test reports of the versions in build.json to reports/; exit code 1 when there are none."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from pathlib import Path


def collect(project: Path) -> list[str]:
    """Copy the reports, and return what is wrong."""
    try:
        images = json.loads((project / "build.json").read_text())["images"]
    except (OSError, ValueError, KeyError) as error:
        return [f"build.json does not say what was built: {error}"]
    store = project / tomllib.loads((project / "pipeline.toml").read_text())["site"]["store"]
    tested = [image for image in images if image["verified"] is not None]
    wrong = [] if tested else ["build.json names no version that was tested"]
    for image in tested:
        name = Path(image["image"], "versions", f"{image['version']}.verified")
        if (store / "images" / name / "junit.xml").is_file():
            shutil.copytree(store / "images" / name, project / "reports" / name, dirs_exist_ok=True)
        else:
            wrong.append(f"{store / 'images' / name / 'junit.xml'} is not there")
    return wrong


if __name__ == "__main__":
    problems = collect(Path(__file__).parents[1])
    for problem in problems:
        print(f"reports: {problem}", file=sys.stderr)
    sys.exit(bool(problems))
