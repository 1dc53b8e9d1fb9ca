"""The report of a rollout: a page that anybody can open, and what CI reads."""

from __future__ import annotations

import resource
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from rollout_examples import OLD, T0, an_order, goes, how_it_is

from pipeline.errors import PipelineError
from pipeline.rollout import report
from pipeline.rollout.differing import differing
from pipeline.rollout.model import Check, Order, Verdict
from pipeline.rollout.spans import moment
from pipeline.rollout.states import Event, Progress

ORDER = an_order()
EVIL = "<script>alert(1)</script>&\"'\x00\x1b[31m\ufffe"
VOID = {"meta", "link", "img", "br", "hr", "input"}
NOTHING_OPENS = {"script", "link", "img", "iframe", "object", "embed"}


class Page(HTMLParser):
    """A page as it was parsed: elements in order, texts, and whether each that was opened was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, list[str]] = {}
        self.cells: list[list[str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            return
        self.texts.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1][-1] += data

    @property
    def text(self) -> str:
        return "".join(self.texts)


def a_bad_end(tmp_path: Path) -> Progress:
    """One node is through, one failed and was taken back, one never had its turn."""
    verdict = Verdict(
        False,
        "1 check failed",
        (
            Check("test_c.py::test_vfs", "passed", "", 0.25),
            Check("test_c.py::test_agent", "failed", "E  agent is dead\nE  <b>sleep</b>", 1.5),
            Check("test_c.py::test_broken", "error", "died", 0.5),
            Check("test_c.py::test_ib", "skipped", "no card", 0.0),
        ),
    )
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/node002.json").write_bytes(msgspec.json.encode(verdict))
    failed = Event(
        T0 + 190,
        node="node002",
        state="failed",
        why="1 check failed",
        failed_checks=("test_c.py::test_agent",),
        log="logs/node002.json",
        facts={"ib_interface": "eth4"},
    )
    back = [
        Event(T0 + 200, node="node002", state="prepared", way="back"),
        Event(T0 + 210, node="node002", state="provisioned", way="back", image=OLD),
        Event(T0 + 220, node="node002", state="released", way="back"),
    ]
    return how_it_is(
        ORDER,
        Event(T0, word="begun"),
        Event(T0, word="batch", batch=1),
        goes("node001", "released"),
        Event(T0 + 100, word="batch", batch=2),
        goes("node002", "provisioned", T0 + 100),
        failed,
        Event(T0 + 195, word="going back", why="1 nodes failed"),
        back,
        Event(T0 + 230, word="ended"),
    )


def written(tmp_path: Path, order: Order, progress: Progress) -> tuple[Page, ElementTree.Element]:
    page, suites = report.write(tmp_path, order, progress, T0 + 300)
    return Page(page.read_text()), ElementTree.fromstring(suites.read_bytes())


def test_the_page_says_who_got_what_when_how_long_and_what_failed(tmp_path: Path) -> None:
    page, _ = written(tmp_path, ORDER, a_bad_end(tmp_path))
    assert page.open == []
    new, old = "openstack-image-mellanox@2", "openstack-image"
    rows = {row[0]: row[1:] for row in page.cells if len(row) == 12}
    assert rows["node001"] == [
        "computes", "1", "released", new, old, moment(T0), moment(T0 + 80), "1 min 20 s", "30 s", "0", "",
    ]  # fmt: skip
    assert rows["node002"][2:5] == ["released (back)", old, old]
    assert rows["node002"][-1] == "ib_interface = eth4"
    assert rows["node003"] == ["computes", "2", "waiting", old, old, "", "", "", "", "0", ""]
    assert ["2", "node[002-003]", moment(T0 + 100), "", "1", "0"] in page.cells
    assert ["test_c.py::test_agent", "node002"] in page.cells
    assert "while it was being verified: 1 check failed (test_c.py::test_agent)" in page.text
    assert "E  agent is dead\nE  <b>sleep</b>\ntest_c.py::test_broken: died" in page.text
    assert "ended: 1 nodes failed" in page.text and "took3 min 50 s" in page.text.replace("\n", "")


def test_the_page_needs_nothing_from_elsewhere_and_no_scripts(tmp_path: Path) -> None:
    page, _ = written(tmp_path, ORDER, a_bad_end(tmp_path))
    assert not NOTHING_OPENS & set(page.tags)
    assert not {"src", "href", "onload", "onclick", "style"} & page.attributes.keys()
    text = (tmp_path / report.HTML).read_text()
    assert "url(" not in text and "@import" not in text and "http" not in text.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in text


def test_what_others_wrote_is_text_in_both(tmp_path: Path) -> None:
    order = msgspec.structs.replace(ORDER, who=EVIL, cluster=EVIL)
    (tmp_path / "log").write_text(f"{EVIL}\nhttp://me:secret@host/\n")
    facts = {"ib_interface": EVIL, EVIL: "x"}
    bad = Event(T0, node="node001", state="failed", why=EVIL, failed_checks=(EVIL,), log="log", facts=facts)
    events = (bad, Event(T0, node="node002", why=EVIL), Event(T0, word="note", why=EVIL))
    progress = how_it_is(order, *events)
    found = differing(progress, {"ib_interface": "eth6"}, lambda name: {"ib_interface": "eth6"})
    report.write(tmp_path, order, progress, T0, differences=found)
    page = Page((tmp_path / report.HTML).read_text())
    assert "script" not in page.tags and page.open == []
    shown = "<script>alert(1)</script>&\"'\\x00\\x1b[31m"
    assert page.text.count(shown) >= 8
    suites = ElementTree.fromstring((tmp_path / report.JUNIT).read_bytes())
    assert suites.get("name") == f"{shown}\ufffd rollout 3"
    messages = [element.get("message", "") for element in suites.iter("failure")]
    assert messages[0] == f"before its turn: {shown}\ufffd ({shown}\ufffd)"
    everything = (tmp_path / report.HTML).read_text() + (tmp_path / report.JUNIT).read_text()
    assert "secret" not in everything and "\x00" not in everything and "\x1b" not in everything


def test_a_check_fails_for_ci_as_it_failed_on_the_node(tmp_path: Path) -> None:
    _, suites = written(tmp_path, ORDER, a_bad_end(tmp_path))
    first, second, third = suites.findall("testsuite")
    counted = ("name", "tests", "failures", "errors", "skipped", "time")
    assert [first.get(name) for name in counted] == ["node001", "8", "0", "0", "0", "80.000"]
    assert [second.get(name) for name in counted] == ["node002", "13", "2", "1", "1", "120.000"]
    assert [third.get(name) for name in counted] == ["node003", "1", "0", "0", "1", "0.000"]
    for suite in (first, second, third):
        cases = suite.findall("testcase")
        assert suite.get("tests") == str(len(cases))
        for kind, name in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert suite.get(kind) == str(len(suite.findall(f"testcase/{name}")))
    agent = next(case for case in second.iter("testcase") if case.get("name") == "test_c.py::test_agent")
    assert (agent.get("classname"), agent.get("time")) == ("node002.out.checks", "1.500")
    [failure] = agent
    assert failure.get("message") == "E  agent is dead"
    assert failure.text == "E  agent is dead\nE  <b>sleep</b>"
    assert {"name": "version", "value": "openstack-image"} in [p.attrib for p in second.iter("property")]


def test_steps_have_their_times_and_the_failed_one_its_reason(tmp_path: Path) -> None:
    _, suites = written(tmp_path, ORDER, a_bad_end(tmp_path))
    steps = [
        (case.get("classname"), case.get("name"), case.get("time"), [child.tag for child in case])
        for case in suites.findall("testsuite")[1].iter("testcase")
        if not str(case.get("classname")).endswith("checks")
    ]
    assert steps == [
        ("node002.out", "prepare", "10.000", []),
        ("node002.out", "set the image", "10.000", []),
        ("node002.out", "reboot", "10.000", []),
        ("node002.out", "begin to install", "10.000", []),
        ("node002.out", "install", "10.000", []),
        ("node002.out", "prove the installation", "10.000", []),
        ("node002.out", "verify", "30.000", ["failure"]),
        ("node002.back", "set the image", "10.000", []),
        ("node002.back", "verify", "10.000", []),
    ]


def test_a_log_that_another_try_has_written_over_is_not_taken_for_the_first_one(tmp_path: Path) -> None:
    progress = a_bad_end(tmp_path)
    good = Verdict(True, "", (Check("test_c.py::test_agent", "passed"),))
    (tmp_path / "logs/node002.json").write_bytes(msgspec.json.encode(good))
    _, suites = written(tmp_path, ORDER, progress)
    agent = [case for case in suites.iter("testcase") if case.get("name") == "test_c.py::test_agent"]
    assert [[child.get("message") for child in case] for case in agent] == [["its log is gone"]]


def test_each_is_written_whole_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = a_bad_end(tmp_path)
    report.write(tmp_path, ORDER, progress, T0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def full(order: Order, progress: Progress, folder: Path) -> object:
        yield b"<half"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "junit", full)
    with pytest.raises(PipelineError, match="writing the report of the rollout: No space left"):
        report.write(tmp_path, ORDER, progress, T0)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before


MANY = """
import resource, sys
from pathlib import Path
from rollout_examples import T0, an_order, goes, how_it_is
from pipeline.rollout import report
names = [f"node{number:05d}" for number in range(10_000)]
order = an_order([names[at : at + 100] for at in range(0, len(names), 100)])
progress = how_it_is(order, *(goes(name, "released") for name in names))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report.write(Path(sys.argv[1]), order, progress, T0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_ten_thousand_nodes_take_seconds_and_little_memory(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    ran = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path)],
        env={"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[3]}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(ran.stdout) < 50_000  # kB beside what the rollout itself takes
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 15
    assert len(ElementTree.parse(tmp_path / report.JUNIT).getroot()) == 10_000
