"""What a site file comes to, and what is said about a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipes.tables import Case, cases

from pipeline.errors import UsageError
from pipeline.recipe.model import Downloads, HeadSite, Signing, Site
from pipeline.recipe.site import load_site

WHOLE = """
[site]
store = "../store"
images = "/cm/images/published"
publish = "copy"
[bases]
openstack-image = "/cm/images/openstack-image"
mine = "bases/mine"
[mirrors]
"http://www.mellanox.com/downloads/" = "https://mirror.example/mellanox/"
"ftp://ftp.pbone.net/" = "mirror/pbone"
[downloads]
attempts = 2
timeout = 1
longest_wait = 0
[lab]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", cases("bad_site"), ids=lambda case: case.about)
def test_a_wrong_site_file_is_refused_with_every_mistake(case: Case, here: Path) -> None:
    case.write(here)
    with pytest.raises(UsageError) as caught:
        load_site(None)
    problems = caught.value.problems
    assert [f"{problem.where}: {problem.message}" for problem in problems] == case.says
    assert set(case.hints) <= {problem.hint for problem in problems}
    assert caught.value.exit_code == 2


def test_a_site_file_says_where_everything_is(here: Path) -> None:
    (here / "project").mkdir()
    file = here / "project/pipeline.toml"
    file.write_text(WHOLE)

    site = load_site(Path("project/../project/pipeline.toml"))

    project = here / "project"
    assert site == Site(
        file=file,
        project=project,
        store=here / "store",
        images=Path("/cm/images/published"),
        bases={
            "openstack-image": Path("/cm/images/openstack-image"),
            "virtual-node-image": project / ".pipeline/lab/images/virtual-node-image",
            "mine": project / "bases/mine",
        },
        mirrors={
            "http://www.mellanox.com/downloads/": "https://mirror.example/mellanox/",
            "ftp://ftp.pbone.net/": str(project / "mirror/pbone"),
        },
        publish_mode="copy",
        downloads=Downloads(attempts=2, timeout=1.0, longest_wait=0.0),
        lab=project / ".pipeline/lab",
        head=HeadSite(
            root=str(project / ".pipeline/lab/head/root"), programs=(str(project / ".pipeline/lab/head/bin"),)
        ),
    )
    assert site.recipes == project / "recipes"
    assert site.overlays == project / "overlays"


def test_what_a_site_file_leaves_out_has_a_default(here: Path) -> None:
    (here / "pipeline.toml").write_text('[site]\nstore = "store"\nimages = "images"\n')
    assert load_site(None) == Site(here / "pipeline.toml", here, here / "store", here / "images")


SMALL = '[site]\nstore = "store"\nimages = "images"\n'


def test_the_head_node_is_what_the_site_file_says(here: Path) -> None:
    (here / "pipeline.toml").write_text(
        SMALL + '[head]\nmanager = "warewulf"\naddress = "root@head"\nprograms = ["/opt/bin"]\nroot = "/"\n'
        'role = "x"\ncloud = "y"\nssh_options = ["-i", "/key"]\n[lab]\n'
    )
    assert load_site(None).head == HeadSite(
        "warewulf", "root@head", ("/opt/bin",), "/", "x", "y", ("-i", "/key")
    )


def test_a_head_node_that_is_reached_over_ssh_is_not_the_labs(here: Path) -> None:
    (here / "pipeline.toml").write_text(SMALL + '[head]\naddress = "root@head"\n[lab]\n')
    assert load_site(None).head == HeadSite(address="root@head")


def test_without_a_lab_nothing_is_known_of_a_head_node_unless_it_is_said(here: Path) -> None:
    (here / "pipeline.toml").write_text(SMALL)
    assert load_site(None).head is None
    (here / "pipeline.toml").write_text(SMALL + "[head]\n")
    assert load_site(None).head == HeadSite()


def test_the_site_file_is_looked_for_in_the_folders_above(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "pipeline.toml").write_text('[site]\nstore = "store"\nimages = "images"\n')
    (here / "recipes/x").mkdir(parents=True)
    monkeypatch.chdir(here / "recipes/x")
    assert load_site(None).file == here / "pipeline.toml"


def test_without_a_site_file_it_is_said_how_to_make_one(here: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_site(None)
    (problem,) = caught.value.problems
    assert problem.message == f"no pipeline.toml in {here} or a folder above it"
    assert problem.hint is not None and "[site]" in problem.hint


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("folder", "folder: is a directory, not a file"),
        ("binary", "binary:2: is not UTF-8 text: byte 0xfe"),
        ("nothing", "nothing: cannot be read: No such file or directory"),
    ],
)
def test_a_site_file_that_cannot_be_read_is_refused(name: str, says: str, here: Path) -> None:
    (here / "folder").mkdir()
    (here / "binary").write_bytes(b"a = 1\n\xfe")
    with pytest.raises(UsageError) as caught:
        load_site(Path(name))
    assert str(caught.value) == says


@pytest.mark.parametrize("linked", ["store", "base"])
def test_a_store_inside_a_base_is_found_through_links(linked: str, here: Path) -> None:
    paths = {"store": here / "base/deep/store", "base": here / "base"}
    paths["store"].mkdir(parents=True)
    (here / "link").symlink_to(paths[linked])
    paths[linked] = here / "link"
    (here / "pipeline.toml").write_text(
        f'[site]\nstore = "{paths["store"]}"\nimages = "images"\n[bases]\na = "{paths["base"]}"\n'
    )
    with pytest.raises(UsageError, match='the base "a" and "store" cannot be one inside the other'):
        load_site(None)


def test_store_and_images_inside_each_other_are_found_through_links(here: Path) -> None:
    (here / "images").mkdir()
    (here / "store").symlink_to("images")
    (here / "pipeline.toml").write_text('[site]\nstore = "store"\nimages = "images"\n')
    with pytest.raises(UsageError, match='"images" and "store" cannot be one inside the other'):
        load_site(None)


def test_who_has_to_sign_is_a_file_beside_the_site_file(here: Path) -> None:
    (here / "pipeline.toml").write_text(SMALL + '[signing]\nsigners = "who/signs"\n')
    assert load_site(None).signing == Signing(here / "who/signs")
    more = 'signers = "/etc/signs"\nrequired = 2\nrevoked = "gone"\n'
    (here / "pipeline.toml").write_text(f"{SMALL}[signing]\n{more}")
    assert load_site(None).signing == Signing(Path("/etc/signs"), 2, here / "gone")
