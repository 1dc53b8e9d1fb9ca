"""What of this program a stage's key covers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.build import code

DECIDING = {
    "pipeline.chroot.mounts",
    "pipeline.chroot.shims",
    "pipeline.build.stage",
    "pipeline.store.commit",
    "pipeline.store.hardlinks",
    "pipeline.store.manifest",
    "pipeline.store.seal",
}


def covered(stage_type: str) -> set[str]:
    return {module for module, _ in code.modules(stage_type)}


@pytest.mark.parametrize("stage_type", ["edit", "packages", "archive"])
def test_what_decides_the_content_of_a_layer_is_covered(stage_type: str) -> None:
    assert covered(stage_type) >= DECIDING | {f"pipeline.stages.{stage_type}"}


def test_what_a_type_imports_late_is_covered() -> None:
    assert {"pipeline.fileops.unpack", "pipeline.fileops.iso"} <= covered("archive")
    assert {"pipeline.packaging.transaction"} <= covered("packages")
    assert {"pipeline.templates"} <= covered("overlay")


def test_what_cannot_matter_is_not_covered() -> None:
    assert not {module for module in covered("edit") if module.startswith(("pipeline.cli", "pipeline.lab"))}
    assert "pipeline.packaging.transaction" not in covered("edit")
    assert "pipeline.fileops.iso" not in covered("edit")


def test_another_version_of_a_library_is_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: code.code_digest(name) for name in ("overlay", "edit")}
    code.code_digest.cache_clear()
    monkeypatch.setattr(code, "installed_version", lambda name: "0.0")
    try:
        assert code.code_digest("overlay") != before["overlay"]
        assert code.code_digest("edit") == before["edit"]
    finally:
        code.code_digest.cache_clear()


def test_another_source_is_other_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = code.code_digest("edit")
    real = code._source
    code.code_digest.cache_clear()
    monkeypatch.setattr(
        code, "_source", lambda module: real(module) + (b"#" if module == "pipeline.store.seal" else b"")
    )
    try:
        assert code.code_digest("edit") != before
    finally:
        code.code_digest.cache_clear()
