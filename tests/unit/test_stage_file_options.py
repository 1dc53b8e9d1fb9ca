"""The options of the stages that work on files, as recipes write them."""

from __future__ import annotations

import inspect
import textwrap
import tomllib
from typing import Any

import msgspec
import pytest

from pipeline.errors import PipelineError
from pipeline.fileops.owners import look_up
from pipeline.stages import names, stage_type
from pipeline.stages.base import Stage

TYPES = ("archive", "edit", "file", "overlay", "settings")


def stage(text: str) -> Stage:
    table: dict[str, Any] = tomllib.loads(textwrap.dedent(text))
    decoded: Stage = msgspec.convert({"name": "x", **table}, stage_type(table["type"]))
    return decoded


def example(name: str) -> str:
    """The indented example of a manual: from its [[stage]] to the options."""
    manual = inspect.getdoc(stage_type(name)) or ""
    return manual[manual.index("[[stage]]") : manual.index("\nOptions\n")]


@pytest.mark.parametrize("name", TYPES)
def test_the_example_of_each_manual_is_a_stage_without_mistakes(name: str) -> None:
    tables = tomllib.loads(example(name))["stage"]
    stages = [msgspec.convert(table, stage_type(name)) for table in tables]
    assert stages and [problem for one in stages for problem in one.check()] == []


@pytest.mark.parametrize("name", TYPES)
def test_each_manual_names_every_option_and_fits_a_terminal(name: str) -> None:
    manual = inspect.getdoc(stage_type(name)) or ""
    fields = {field.encode_name for field in msgspec.structs.fields(stage_type(name))} - {"name"}
    assert [field for field in fields if f"  {field} " not in manual] == []
    assert max(len(line) for line in manual.splitlines()) <= 80


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("etc/x", "no absolute path"),
        ("/etc/../x", "'..'"),
        ("/tmp/x", "not part of the image"),
        ("/var/tmp", "not part of the image"),
        ("//dev/null", "not part of the image"),
        ("/etc/passwd-", "'/etc/passwd-' is not kept: logs, caches"),
        ("/var//cache/yum/c", "not kept"),
        ("/a\nb", "control characters"),
        ("/" + "d/" * 1500, "too long"),
        ("/" + "n" * 256, "too long"),
        (("/" + "n" * 250) * 17, "too long"),
    ],
)
def test_a_path_that_is_none_of_the_image_is_a_mistake(name: str, path: str, message: str) -> None:
    option = {"edit": "file", "settings": "file", "file": "path"}.get(name, "destination")
    needed = {"archive": {"source": "a"}, "overlay": {"tree": "t"}}.get(name, {})
    decoded = msgspec.convert({"type": name, "name": "x", option: path, **needed}, stage_type(name))
    assert any(where == option and message in text for where, text in decoded.check())


def test_what_no_layer_keeps_may_be_removed_and_what_is_beside_it_written() -> None:
    assert stage("type='file'\npath='/var/log/yum.log'\nremove=true").check() == ()
    assert stage("type='file'\npath='/tmp/x'\nremove=true").check() != ()
    for path in ("/var/log/yum.log.d", "/var/cache", "/etc/passwd", "/srv/etc/passwd-"):
        assert stage(f"type='file'\npath='{path}'\ntouch=true").check() == ()


@pytest.mark.parametrize(
    ("text", "option", "message"),
    [
        ("type='edit'\nfile='/a'", "insert", "exactly one of insert, replace and delete"),
        ("type='edit'\nfile='/a'\ninsert='x'", "insert", "exactly one of after and before"),
        ("type='edit'\nfile='/a'\ninsert='x'\nafter='a'\nbefore='b'", "insert", "exactly one of after"),
        ("type='edit'\nfile='/a'\ninsert='x'\nafter='a('", "after", "no regular expression"),
        ("type='edit'\nfile='/a'\ninsert='x'\nafter='a'\nall=true", "all", "one anchor"),
        ("type='edit'\nfile='/a'\nreplace='x'", "replace", "needs with"),
        ("type='edit'\nfile='/a'\nreplace='x'\nwith='\\1'", "with", "does not fit"),
        ("type='edit'\nfile='/a'\nreplace='x'\nwith='\\g<no>'", "with", "does not fit"),
        ("type='edit'\nfile='/a'\ndelete=''", "delete", "empty"),
        ("type='edit'\nfile='/a'\ndelete='a'\nafter='b'", "after", "only together with insert"),
        ("type='edit'\nfile='/a'\ndelete='a'\nuntil='b'", "until", "only together with within"),
        ("type='file'\npath='/a'", "path", "nothing to do"),
        ("type='file'\npath='/a'\ntouch=true\nremove=true", "remove", "only one of"),
        ("type='file'\npath='/a'\nmode='rw'", "mode", "octal"),
        ("type='file'\npath='/a'\nowner='a b'", "owner", "user:group"),
        ("type='file'\npath='/a'\nlink='b'\nmode='0644'", "mode", "a link has no mode"),
        ("type='file'\npath='/'\nremove=true", "path", "the root of the image"),
        ("type='settings'\nfile='/a'", "set", "nothing to do"),
        ("type='settings'\nfile='/a'\nset={s={k=[]}}", "set", "empty list"),
        ("type='settings'\nfile='/a'\nset={s={k=\"a\\nb\"}}", "set", "more than one line"),
        ("type='settings'\nfile='/a'\nset={s={k=' a'}}", "set", "blanks"),
        ("type='settings'\nfile='/a'\nset={s={k=inf}}", "set", "inf is no number to write"),
        ("type='settings'\nfile='/a'\nset={s={k=[1.5, -inf]}}", "set", "[s] k: -inf is no number"),
        ("type='settings'\nfile='/a'\nset={s={k=nan}}", "set", "give 'nan'"),
        ("type='settings'\nfile='/a'\nset={s={'a=b'='x'}}", "set", "name of a key"),
        ("type='settings'\nfile='/a'\nset={s={'#a'='x'}}", "set", "name of a key"),
        ("type='settings'\nfile='/a'\nset={'[s]'={a='x'}}", "set", "name of a section"),
        ("type='settings'\nfile='/a'\nset={s={k=1}}\nremove={s=['k']}", "remove", "same stage"),
        ("type='overlay'\ntree='t'\nmodes={'*'='x'}", "modes", "octal"),
        ("type='overlay'\ntree='t'\nowners={'*'=''}", "owners", "user:group"),
        ("type='archive'\nsource='a'\ndestination='/a'\nstrip=-1", "strip", "0 or more"),
        ("type='archive'\nsource='a'\ndestination='/a'\nsha256='AB'", "sha256", "64 lower-case"),
        ("type='archive'\nsource='a'\ndestination='/a'\nmax_files=0", "max_files", "1 or more"),
    ],
)
def test_mistakes_are_told_with_their_option(text: str, option: str, message: str) -> None:
    found = stage(text).check()
    assert any(where == option and message in said for where, said in found), found


def test_archive_and_overlay_say_what_they_need() -> None:
    digest = "0" * 64
    archive = stage(f"type='archive'\nsource='http://x/a.tgz'\nsha256='{digest}'\ndestination='/opt'")
    assert [(s.location, s.sha256) for s in archive.sources()] == [("http://x/a.tgz", digest)]
    assert stage("type='overlay'\ntree='mellanox'").trees() == ("mellanox",)


@pytest.mark.parametrize(
    ("owner", "is_one"),
    [
        ("4294967294:0", True),
        ("root:4294967295", False),
        ("99999999999999:root", False),
        (":" + "9" * 5000, False),
        ("5\N{SUPERSCRIPT TWO}", True),
    ],
)
def test_numbers_of_owners_are_those_that_there_can_be(owner: str, is_one: bool) -> None:
    text = f'type = "file"\npath = "/etc/x"\nowner = "{owner}"'
    problems = [option for option, message in stage(text).check() if "up to 4294967294" in message]
    assert problems == ([] if is_one else ["owner"])


def test_a_name_that_only_looks_like_a_number_is_a_name() -> None:
    with pytest.raises(PipelineError, match="no user"):
        look_up("5\N{SUPERSCRIPT TWO}")


def test_which_stages_may_change_packages_is_known_without_running_them() -> None:
    may = {name for name in names() if stage_type(name).changes_packages is Stage.changes_packages}
    assert may == {"command", "packages"}
    imports = stage('type = "repository"\nsource = "http://x/a.repo"\nimport_key = ["http://x/key"]')
    assert imports.changes_packages()
    assert not stage('type = "repository"\nsource = "http://x/a.repo"').changes_packages()
