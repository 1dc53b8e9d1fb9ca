"""A cluster file that has another name: what was applied under the old one is not forgotten."""

from __future__ import annotations

import fcntl
import json
import re
from pathlib import Path

from pipeline.lab.head import state
from tests.integration.cluster_site import NAME, OVERRIDE, Cluster, edit

TAKEN = f"note: the file of the cluster {NAME} is gone, and prod is about the same"
BOTH = f"note: the cluster {NAME} of this store has applied objects of this file, too"
IMPORTED = re.compile(
    r'^\[\[node\]\]\nnames = "node003"\n\n(?:\[\[node\.file\]\]\n(?:.+\n)*\n?)+', re.MULTILINE
)
"""What an import has of a node."""


def kept(site: Cluster, name: str = NAME) -> Path:
    return site.path / "store/clusters" / f"{name}.json"


def renamed(site: Cluster) -> None:
    """It is called prod from now on."""
    file = site.path / "recipes/clusters" / f"{NAME}.toml"
    file.with_name("prod.toml").write_text(file.read_text().replace(f'name = "{NAME}"', 'name = "prod"'))
    file.unlink()


def owe(site: Cluster, service: str = "opensm") -> None:
    """An apply was killed before it restarted this."""
    record = json.loads(kept(site).read_text())
    kept(site).write_text(json.dumps({**record, "restarts": [f"head/master/service/{service}"]}))


def test_a_file_that_was_renamed_takes_back_and_owes_what_it_did_before(site: Cluster) -> None:
    assert site.cluster("apply").exit_code == 0
    owe(site)
    edit(site, (OVERRIDE, ""))
    as_it_was = site.cluster("plan").out
    renamed(site)
    planned = site.cluster("plan").out
    assert TAKEN in planned
    told = [line for line in planned.splitlines() if not line.startswith(TAKEN)]
    assert told == as_it_was.replace(f"{NAME}:", "prod:").splitlines()
    assert "- node/node003/setting/" in planned
    assert "! head/master/service/opensm (restart)" in planned
    assert "last applied never" not in site.cluster("status").out
    assert not kept(site, "prod").exists()
    with open(kept(site).with_suffix(".lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = site.cluster("apply")
    assert refused.exit_code == 1
    assert f"{NAME} is being applied by another process" in refused.err
    assert "run: pipeline cluster plan prod" in refused.err
    assert site.cluster("apply").exit_code == 0
    assert not kept(site).exists()
    assert "openstacknode" not in site.cmsh("device\nuse node003\nroles\nlist\n")
    settled = site.cluster("plan").out
    assert settled.endswith("prod: nothing to do\n")
    assert NAME not in settled


def test_a_file_that_takes_the_place_of_another_has_what_that_had_applied(site: Cluster) -> None:
    """An import, before and after the old file goes, and when it was applied beside it."""
    assert site.cluster("apply").exit_code == 0
    assert site.cluster("import", "prod").exit_code == 0
    there = site.cluster("plan", "prod").out
    assert BOTH in there
    assert there.endswith("prod: nothing to do\n")
    before = state.snapshot(str(site.head))
    assert site.cluster("apply", "prod").exit_code == 0
    assert site.cluster("plan", "prod").out == "prod: nothing to do\n", "it is told once"
    assert kept(site).exists()
    (site.path / "recipes/clusters" / f"{NAME}.toml").unlink()
    owe(site)
    assert TAKEN in site.cluster("plan").out
    assert site.cluster("apply").exit_code == 0
    assert state.snapshot(str(site.head))["objects"] == before["objects"]
    recipe = site.path / "recipes/clusters/prod.toml"
    recipe.write_text(IMPORTED.sub("", recipe.read_text()))
    assert site.cluster("plan").out.count("- node/node003/setting/") == 3
    assert site.cluster("apply").exit_code == 0
    assert site.left() == []


def test_where_it_is_not_clear_whose_something_is_a_note_says_so(site: Cluster) -> None:
    assert site.cluster("apply").exit_code == 0
    edit(site, (OVERRIDE, ""))
    renamed(site)
    other = site.write("recipes/clusters/other.toml", '[cluster]\nname = "other"\n')
    planned = site.cluster("plan", "prod").out
    assert f"{BOTH}, and its file is gone" in planned
    assert "- node/node003" not in planned
    moved = f"mv {kept(site)} {kept(site, 'prod')}"
    assert f"if prod's: {moved}" in planned
    assert "note: " not in site.cluster("plan", "other").out, "it is about nothing of that"
    other.unlink()
    record = json.loads(kept(site).read_text())
    for of in ({"head": "root@elsewhere"}, {"file": str(site.write("elsewhere.toml", ""))}):
        kept(site).write_text(json.dumps({**record, "of": {**record["of"], **of}}))
        assert BOTH in site.cluster("plan").out
        assert "- node/node003" not in site.cluster("plan").out
    kept(site, "second").write_text(json.dumps(record))
    kept(site).write_text(json.dumps(record))
    assert "if prod's" in site.cluster("plan").out
    kept(site, "second").write_text("{")
    broken = site.cluster("plan").out
    assert TAKEN in broken
    assert f"note: {kept(site, 'second')}: of another cluster, what was applied last cannot be read" in broken
    kept(site, "second").unlink()
    kept(site).rename(kept(site, "prod"))
    assert "- node/node003" in site.cluster("plan").out


def test_another_role_is_refused_while_the_old_one_has_what_applies_have_added(site: Cluster) -> None:
    """Settings that were there before the first apply are others', and stay where they are."""
    setting = "configfilemodifications '+/etc/x.conf[a]b=1'"
    site.cmsh(f"category\nuse openstack-compute-hosts\nroles\nuse openstacknode\nset {setting}\ncommit\n")
    assert site.cluster("import", "prod").exit_code == 0
    assert site.cluster("apply", "prod").exit_code == 0
    pipeline = site.path / "pipeline.toml"
    text = pipeline.read_text()
    recipe = site.path / "recipes/clusters/prod.toml"
    before = recipe.read_text()
    pipeline.write_text(text.replace("[head]", '[head]\nrole = "generic"'))
    planned = site.cluster("plan", "prod")
    assert "changed by hand" not in planned.out
    assert "+ category/openstack-compute-hosts/setting//etc/x.conf[a]b" in planned.out, planned.err
    pipeline.write_text(text)
    more = 'path = "/etc/x.conf"\n'
    assert more in before
    recipe.write_text(before.replace(more, f'{more}set.a.c = "2"\n'))
    assert site.cluster("apply", "prod").exit_code == 0
    pipeline.write_text(text.replace("[head]", '[head]\nrole = "generic"'))
    for verb in ("plan", "status", "apply"):
        refused = site.cluster(verb, "prod")
        assert refused.exit_code == 2
        assert (
            'is "generic", and "openstacknode" has 1 setting that applies have added, such as' in refused.err
        )
        assert 'hint: say role = "openstacknode" again' in refused.err
    pipeline.write_text(text)
    recipe.write_text(before)
    assert site.cluster("apply", "prod").exit_code == 0
    pipeline.write_text(text.replace("[head]", '[head]\nrole = "generic"'))
    assert site.cluster("plan", "prod").exit_code == 0, "the way out"
