"""What is left of a rollout for people and for CI: ``report.html`` and ``junit.xml``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from pipeline.cluster.nodesets import folded
from pipeline.printable import plain
from pipeline.rollout.differing import Difference, to_write
from pipeline.rollout.logs import last_lines
from pipeline.rollout.model import Node, Order
from pipeline.rollout.report_junit import junit
from pipeline.rollout.spans import moment, span, zone
from pipeline.rollout.states import NodeProgress, Progress
from pipeline.rollout.summary import Failure, Summary, installed, shown, summarize, version
from pipeline.store.filesystem import told, write_whole

HTML, JUNIT = "report.html", "junit.xml"
TEMPLATE = Path(__file__).with_name("report.html.j2")
LOG_LINES = 20


class Row(msgspec.Struct, frozen=True):
    """A node in the table of all: what it has, when it was its turn, and how long it took."""

    name: str
    category: str
    batch: int
    state: str
    has: str
    had: str
    began: str
    ended: str
    took: str
    installed_in: str
    passed: int
    facts: str


class BatchRow(msgspec.Struct, frozen=True):
    """A batch: which nodes, from when to when, and what became of them."""

    number: int
    nodes: str
    began: str
    took: str
    released: int
    failed: int


def write(
    folder: Path,
    order: Order,
    progress: Progress,
    now: float,
    *,
    is_running: bool = False,
    differences: Sequence[Difference] = (),
) -> tuple[Path, Path]:
    """Write both into ``folder``, where relative names of logs begin, too; returns their paths.

    Each is there whole or as it was. Raises ``PipelineError`` when they can't be written.
    """
    paths = folder / HTML, folder / JUNIT
    with told("writing the report of the rollout", folder):
        write_whole(paths[0], html(order, progress, now, folder, is_running, differences))
        write_whole(paths[1], junit(order, progress, folder))
    return paths


def html(
    order: Order,
    progress: Progress,
    now: float,
    folder: Path | None = None,
    is_running: bool = False,
    differences: Sequence[Difference] = (),
) -> Iterator[bytes]:
    """The page in pieces. It needs nothing from elsewhere, and no JavaScript."""
    summary = summarize(order, progress, now, is_running=is_running)
    stream = _template().stream(
        order=order,
        progress=progress,
        summary=summary,
        title=f"{order.cluster}: rollout {order.number}",
        wanted=", ".join(dict.fromkeys(version(order, image) for image in order.wanted.values())),
        zone=zone(progress.began or now),
        counts=[(state, shown(state, way), len(names)) for (state, way), names in summary.by_state.items()],
        failing=(("Failed", summary.failed), ("Failed and taken back", summary.taken_back)),
        log_lines=partial(_log_lines, folder),
        failed_checks=_failed_checks(summary),
        batches=_batches(order, progress),
        rows=_rows(order, progress),
        differences=differences,
        to_write=to_write(differences),
        folded=folded,
        moment=moment,
        span=span,
    )
    stream.enable_buffering(512)
    return (str(piece).encode(errors="replace") for piece in stream)


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: plain(value) if isinstance(value, str) else value,
    )
    return environment.from_string(TEMPLATE.read_text())


def _log_lines(folder: Path | None, failure: Failure) -> str:
    return "\n".join(last_lines(failure.log, folder, LOG_LINES))


def _failed_checks(summary: Summary) -> list[tuple[str, str]]:
    """Each check that failed somewhere, with the nodes."""
    found: dict[str, dict[str, None]] = {}
    for failure in (*summary.failed, *summary.taken_back):
        for check in failure.checks:
            found.setdefault(check, {})[failure.node] = None
    return [(check, folded(names)) for check, names in found.items()]


def _batches(order: Order, progress: Progress) -> Iterable[BatchRow]:
    for number, names in enumerate(order.batches, start=1):
        nodes = [progress.nodes[name] for name in names]
        begun = [node for node in nodes if node.began]
        began = min((node.began for node in begun), default=0.0)
        done = len(begun) == len(nodes) and all(node.is_settled for node in nodes)
        yield BatchRow(
            number=number,
            nodes=folded(names),
            began=moment(began),
            took=span(max(node.since for node in nodes) - began) if done and nodes else "",
            released=sum(node.state == "released" for node in nodes),
            failed=sum(node.state == "failed" for node in nodes),
        )


def _rows(order: Order, progress: Progress) -> Iterable[Row]:
    batch_of = {name: number for number, names in enumerate(order.batches, start=1) for name in names}
    for node in order.nodes:
        yield _row(order, node, progress.nodes[node.name], batch_of.get(node.name, 0))


def _row(order: Order, node: Node, progress: NodeProgress, batch: int) -> Row:
    has = version(order, installed(node, progress)) or "not known"
    times = progress.times
    installing = times.get("provisioned", 0.0) - times.get("rebooting", 0.0)
    return Row(
        name=node.name,
        category=node.category,
        batch=batch,
        state=shown(progress.state, progress.way),
        has=has,
        had=version(order, node.image),
        began=moment(progress.began),
        ended=moment(progress.since) if progress.is_settled else "",
        took=span(progress.since - progress.began) if progress.is_settled and progress.began else "",
        installed_in=span(installing) if {"provisioned", "rebooting"} <= times.keys() else "",
        passed=progress.passed,
        facts=", ".join(f"{name} = {value}" for name, value in progress.facts.items()),
    )
