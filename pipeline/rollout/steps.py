"""From one state to the next: each step is done with all nodes that have come to it, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pipeline.cluster.drivers.nodes import NodeManager, NodeStatus, Sync
from pipeline.errors import MachineError, PipelineError
from pipeline.rollout.desk import Desk
from pipeline.rollout.hooking import Hooking
from pipeline.rollout.proving import Proving
from pipeline.rollout.states import State

IN_HANDS_OF_MANAGER: tuple[State, ...] = ("rebooting", "installing", "up")
"""States in which a node is asked after."""


class Steps:
    """What is done with nodes on their way. A ``MachineError`` means that the manager can't be reached."""

    def __init__(self, desk: Desk, manager: NodeManager, hooking: Hooking, proving: Proving) -> None:
        self._desk = desk
        self._manager = manager
        self._hooking = hooking
        self._proving = proving
        self._waits = desk.order.policy.waits
        self._maybe_rebooted = set(desk.named("rebooting"))
        """Those that were about to be rebooted when the last process ended, or the manager was gone."""
        self._undoing_since: float | None = None

    def prepare(self) -> None:
        """Have hooks agree that nodes go away."""
        names = self._desk.named("preparing")
        if not names or self._undoing_since is not None:
            return
        done, refused = self._hooking.before(names)
        for name in done:
            self._desk.tell(name, "prepared")
        self._fail(refused)
        self._fail_late("preparing", self._waits.prepare, "its turn was prepared for")

    def point(self) -> None:
        """Set from what nodes are installed next."""
        for (image, install), names in self._grouped(self._desk.named("prepared")).items():
            done = self._each(names, lambda left: self._manager.point(left, image, install))  # noqa: B023
            for name in done:
                self._desk.tell(name, "switched", image=self._desk.target(name).name)

    def unset(self, name: str) -> None:
        """Give a node that was not rebooted back what it was installed from; it has lost nothing."""
        own = self._desk.nodes[name].own_image
        if self._each([name], lambda names: self._manager.point(names, own, "")):
            self._desk.tell(name, "verified", "it was not rebooted")

    def reboot(self) -> None:
        """Reboot what is switched; the journal knows it before it happens."""
        names = self._desk.named("switched")
        if names:
            before = self._manager.synced(names)
            for name in names:
                self._desk.tell(name, "rebooting", sync=before.get(name, Sync()).ended)
            self._desk.commit()
            # Stopped here: they are asked how they are, and rebooted when nothing has become of it.
            self._send(names)

    def reboot_again(self) -> None:
        """Reboot those of which nobody knows whether they were told to, and that have not begun."""
        if not self._maybe_rebooted:
            return
        names = sorted(self._maybe_rebooted & set(self._desk.named("rebooting")))
        if names:
            statuses, syncs = self._manager.statuses(names), self._manager.synced(names)
            self._send([name for name in names if not self._has_begun(name, statuses, syncs)])
        self._maybe_rebooted.clear()

    def look(self) -> None:
        """Follow the nodes that are being installed; one call for all of them, and one for the proofs."""
        names = self._desk.named(*IN_HANDS_OF_MANAGER)
        if not names:
            return
        statuses = self._manager.statuses(names)
        up = [name for name in names if statuses[name].condition == "up"]
        syncs = self._manager.synced(up) if up else {}
        for name in names:
            self._follow(name, statuses[name], syncs.get(name, Sync()))
        self._fail_late("rebooting", self._waits.begin, "its installation has not begun")
        self._fail_late("installing", self._waits.install, "it is still being installed")
        self._fail_late("up", self._waits.start, "it is up, but nothing says that it was provisioned")

    def prove(self) -> None:
        """Verify the nodes that are provisioned; until its time is over one that fails is looked at again."""
        for name, verdict in self._proving.finished().items():
            if self._desk.of[name].state != "provisioned":
                continue
            failed = tuple(check.name for check in verdict.checks if check.outcome in ("failed", "error"))
            passed = sum(check.outcome == "passed" for check in verdict.checks)
            log = self._proving.log(name)
            if verdict.passed:
                self._desk.tell(name, "verified", facts=verdict.facts, passed=passed, log=log)
            elif self._desk.is_late(name, self._waits.verify):
                why = verdict.why or f"{len(failed)} checks failed"
                self._desk.tell(name, "failed", why, failed_checks=failed, passed=passed, log=log)
            elif self._desk.of[name].why != (why := f"not well yet: {verdict.why}"):
                self._desk.tell(name, "provisioned", why)
        self._proving.begin(self._desk.named("provisioned"))

    def release(self) -> None:
        """Give nodes back to their users."""
        names = self._desk.named("verified")
        if names:
            done, refused = self._hooking.after(names)
            for name in done:
                self._desk.tell(name, "released")
            self._fail(refused)
            self._fail_late("verified", self._waits.release, "its release was waited for")

    def undo_preparing(self) -> None:
        """Nodes that are only about to go stay where they are."""
        names = self._desk.named("preparing")
        if names:
            self._undoing_since = self._undoing_since or self._desk.clock()
            done, refused = self._hooking.after(names)
            for name in done:
                self._desk.tell(name, "waiting")
            self._fail(refused)
            if self._desk.clock() - self._undoing_since > self._waits.release:
                late = {name: f"it could not be left as it was: {self._desk.of[name].why}" for name in names}
                self._fail(
                    {name: why for name, why in late.items() if self._desk.of[name].state == "preparing"}
                )
            if not self._desk.named("preparing"):
                self._undoing_since = None

    def _has_begun(self, name: str, statuses: Mapping[str, NodeStatus], syncs: Mapping[str, Sync]) -> bool:
        return statuses[name].condition != "up" or syncs.get(name, Sync()).ended != self._desk.of[name].sync

    def _send(self, names: Sequence[str]) -> None:
        if not names:
            return
        try:
            self._each(names, self._manager.reboot)
        except MachineError:
            self._maybe_rebooted.update(names)
            raise

    def _follow(self, name: str, status: NodeStatus, sync: Sync) -> None:
        """One node, as the manager tells of it now."""
        now, condition = self._desk.of[name], status.condition
        is_new = condition == "up" and sync.ended != now.sync
        if condition in ("failed", "closed"):
            self._desk.tell(name, "failed", f"the cluster manager says: {status.text or condition}")
        elif is_new:
            self._provisioned(name, sync)
        elif now.state == "rebooting" and condition in ("installing", "starting"):
            self._desk.tell(name, "installing", status.text)
        elif now.state == "installing" and condition == "up":
            self._desk.tell(name, "up", "waits for the proof of what was installed")
        elif condition in ("installing", "starting", "booting", "down") and status.text != now.why:
            self._desk.tell(name, now.state, status.text)

    def _provisioned(self, name: str, sync: Sync) -> None:
        """It is up again, and was provisioned since: with what?"""
        wanted = self._desk.target(name).name
        if self._desk.of[name].state != "up":
            self._desk.tell(name, "up")
        if not sync.is_good:
            self._desk.tell(name, "failed", f"its provisioning failed: {sync.text or 'no reason is known'}")
        elif sync.image != wanted:
            self._desk.tell(name, "failed", f"it was provisioned from {sync.image}, not from {wanted}")
        else:
            self._desk.tell(name, "provisioned", image=sync.image)

    def _grouped(self, names: Sequence[str]) -> dict[tuple[str, str], list[str]]:
        """Nodes by what is to be set at them: their own image and the next install mode."""
        found: dict[tuple[str, str], list[str]] = {}
        for name in names:
            back = self._desk.of[name].way == "back"
            image = self._desk.nodes[name].own_image if back else self._desk.order.wanted[name]
            found.setdefault((image, self._desk.order.policy.install), []).append(name)
        return found

    def _each(self, names: Sequence[str], do: Callable[[Sequence[str]], None]) -> list[str]:
        """Do something with nodes; returns those with which it worked, and fails the others.

        A `MachineError` goes on to whoever called: it is nobody's fault among the nodes.
        """
        try:
            do(names)
        except MachineError:
            raise
        except PipelineError as error:
            told = {problem.where: problem.message for problem in error.problems if problem.where in names}
            if not told:  # it's about none of them: all have failed
                told = dict.fromkeys(names, error.problems[0].message)
            self._fail({str(name): why for name, why in told.items()})
            return [name for name in names if name not in told]
        return list(names)

    def _fail(self, reasons: Mapping[str, str]) -> None:
        for name, why in reasons.items():
            self._desk.tell(name, "failed", why)

    def _fail_late(self, state: State, seconds: float, what: str) -> None:
        for name in self._desk.named(state):
            if self._desk.is_late(name, seconds):
                last = self._desk.of[name].why
                self._desk.tell(
                    name, "failed", f"{what} for {seconds:.0f} s" + (f"; last: {last}" if last else "")
                )
