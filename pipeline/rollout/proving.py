"""Verification beside the rest: nodes are looked at in a thread, while others go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import msgspec

from pipeline.errors import PipelineError
from pipeline.rollout.desk import Desk
from pipeline.rollout.folder import LOGS
from pipeline.rollout.model import Target, Verdict
from pipeline.rollout.parts import Verifier

MOST_AT_ONCE = 512
"""Nodes in one run: what their checks print is kept in memory until it is judged."""


class Proving:
    """One run of the verifier at a time; its verdicts are fetched with ``finished``."""

    def __init__(self, verifier: Verifier, desk: Desk) -> None:
        self._verifier = verifier
        self._desk = desk
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="verify")
        self._running: Future[Mapping[str, Verdict]] | None = None
        self._names: tuple[str, ...] = ()
        self._ready: dict[str, Verdict] = {}
        self._again: dict[str, float] = {}

    def begin(self, names: Sequence[str]) -> None:
        """Look at nodes, unless some are being looked at."""
        if self._running is not None:
            return
        now = self._desk.ticks()
        due = [name for name in names if name not in self._ready and self._again.get(name, now) <= now]
        targets = {name: self._desk.target(name) for name in due}
        target = next(iter(targets.values()), None)
        chosen = [name for name, its in targets.items() if its == target][:MOST_AT_ONCE]
        if target is not None:
            self._names = tuple(chosen)
            self._running = self._pool.submit(self._verify, self._names, target)

    def finished(self) -> Mapping[str, Verdict]:
        """Verdicts that have come since the last call."""
        if self._running is not None and self._running.done():
            self._ready.update(self._running.result())
            self._running = None
        again = self._desk.ticks() + self._desk.order.policy.waits.poll
        self._again.update((name, again) for name, verdict in self._ready.items() if not verdict.passed)
        found, self._ready = self._ready, {}
        return found

    def wait(self, seconds: float) -> bool:
        """Wait for a run to end, if there is one; False when none is there to be waited for."""
        if self._running is None:
            return False
        wait([self._running], seconds)
        return True

    def log(self, name: str) -> str:
        """Where a node's verdict is kept, in the rollout's folder."""
        return f"{LOGS}/{name}.{self._desk.of[name].way}.json"

    def end(self) -> None:
        """Don't wait for what is still running."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, names: Sequence[str], target: Target) -> Mapping[str, Verdict]:
        """Verdicts; a verifier that can't work at all says why of every node."""
        nodes = [self._desk.nodes[name] for name in names]
        try:
            found = self._verifier.verify(nodes, target, self._desk.folder / LOGS)
        except PipelineError as error:
            found = dict.fromkeys(names, Verdict(False, error.problems[0].message))
        verdicts = {name: found.get(name, Verdict(False, "it was not looked at")) for name in names}
        for name, verdict in verdicts.items():
            (self._desk.folder / self.log(name)).write_bytes(
                msgspec.json.format(msgspec.json.encode(verdict), indent=1)
            )
        return verdicts
