"""From one state to the next: each step is done with all nodes that have come to it, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pipeline.cluster.drivers.nodes import NodeManager, NodeStatus, Sync
from pipeline.errors import MachineError, PipelineError, Problem
from pipeline.rollout.desk import Desk
from pipeline.rollout.hooking import Hooking
from pipeline.rollout.model import Node
from pipeline.rollout.others import was_installed, why_installed
from pipeline.rollout.owning import Owning
from pipeline.rollout.proving import Proving
from pipeline.rollout.states import State

IN_HANDS_OF_MANAGER: tuple[State, ...] = ("rebooting", "installing", "up")
"""States in which a node is asked after."""

ANSWER_SECONDS = 30.0
"""For how long hooks' leave to go holds: Ceph may have lost another host since."""

SHUTDOWN_SECONDS = 60.0
"""How long a node that was told to reboot may still be UP until it's told once more."""

UNKNOWN = -1.0
"""The time of a last provisioning of which the manager tells nothing."""


class Steps:
    """What is done with nodes on their way. A ``MachineError`` means that the manager can't be reached."""

    def __init__(self, desk: Desk, manager: NodeManager, hooking: Hooking, proving: Proving | None) -> None:
        self._desk = desk
        self._manager = manager
        self._hooking = hooking
        self._proving = proving
        self._owning = Owning(desk, manager)
        self._waits = desk.order.policy.waits
        self._maybe_rebooted = set(desk.named("rebooting"))
        """Those that may not have heard of it: they are looked at after a while, and told once more."""
        self._stale = set(desk.named("rebooting"))
        """Those whose last install had failed: their status says so until they are really gone."""
        self._seen_away = {name for name in desk.nodes if "installing" in desk.of[name].times}
        self._undoing_since: float | None = None
        self._allowed: dict[str, float] = {}
        """When hooks let a node go; what they told another process is too old."""
        self._asked_after: set[str] = set()
        """Those of which it is known what they are installed from next."""

    def prepare(self) -> None:
        """Have hooks agree that nodes go away."""
        names = self._desk.named("preparing")
        if not names or self._undoing_since is not None:
            return
        self._desk.commit()
        # Stopped here: hooks are asked again, and undone as if they had done it.
        stay = frozenset(self._desk.order.not_rebooted)
        self._set_back([name for name in names if name in stay])
        done, refused = self._hooking.before([name for name in names if name not in stay])
        new = [name for name in done if not self._desk.of[name].sync]
        syncs = self._manager.synced(new) if new else {}
        for name in done:
            # Whether others reboot it from here on is seen by this.
            self._desk.tell(name, "prepared", sync=syncs[name].ended if name in syncs else 0.0)
            self._allowed[name] = self._desk.ticks()
        self._fail(refused)
        self._fail_late("preparing", self._waits.prepare, "its turn could not come")

    def _set_back(self, names: Sequence[str]) -> None:
        """Give nodes back what they were installed from; they still have it, and are not rebooted."""
        syncs = self._manager.synced(names) if names else {}
        names = [name for name in names if not self._is_others(name, syncs.get(name))]
        for name in self._give(names, ""):
            self._desk.tell(name, "verified", "it was not rebooted", image=self._desk.target(name).name)

    def _is_others(self, name: str, sync: Sync | None) -> bool:
        """Whether a node that is only set back has been installed by others' reboot: it has failed then."""
        now, node = self._desk.of[name], self._desk.nodes[name]
        if now.way == "back":
            is_so = was_installed(now, node.image, self._desk.order.wanted[name], sync)
        else:  # it is taken back by a rollout of its own: what it has set was given to it
            is_so = sync is not None and sync.image == node.image != self._desk.target(name).name
        if is_so:
            self._desk.tell(name, "failed", why_installed(sync), rebooted=True)
        return is_so

    def point(self) -> None:
        """Set from what nodes are installed next."""
        names = self._desk.named("prepared")
        self._desk.commit()
        # Stopped here: it is set once more.
        for name in self._give(names, self._desk.order.policy.install):
            self._desk.tell(name, "switched", image=self._desk.target(name).name)

    def _give(self, names: Sequence[str], install: str) -> list[str]:
        """Set from what nodes are installed next, and how; returns those with which it worked."""
        groups, moved = self._owning.ahead(names)
        self._fail(moved)
        done = []
        for image, group in groups.items():
            done += self._each(group, lambda left: self._manager.point(left, image, install))  # noqa: B023
        return done

    def unset(self, names: Sequence[str]) -> dict[str, str]:
        """Give nodes that were not rebooted back what they were installed from; why some can't be as before.

        A node that is in another category is given back what was set at itself, and has failed all the same.
        """
        undone, moved = self._undone(names)
        return {**moved, **undone}

    def disarm(self, names: Sequence[str]) -> None:
        """See that nobody's reboot installs nodes that failed before theirs. What can't be done is told."""
        undone, _ = self._undone(names)
        for name, why in undone.items():
            self._desk.note(name, f"its next reboot may install it: {why}")

    def _undone(self, names: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Give nodes what they had before; why some don't have it, and who is in another category."""
        groups, moved = self._owning.behind(names)
        found: dict[str, str] = {}
        for own, group in groups.items():
            if problems := self._pointed(group, own):
                told = {each.where: each.message for each in problems if each.where in group}
                found.update({str(name): why for name, why in told.items()})
                found.update({} if told else dict.fromkeys(group, problems[0].message))
        return found, moved

    def follow_category(self, nodes: Sequence[Node]) -> list[str]:
        """Clear the own image of nodes, which their category has by now; what went wrong with some."""
        problems = self._pointed([node.name for node in nodes], "")
        return [f"{problem.where or 'a node'}: {problem.message}" for problem in problems]

    def _pointed(self, names: Sequence[str], image: str) -> Sequence[Problem]:
        """Give nodes this own image, and no way to be installed that is theirs alone; what went wrong."""
        try:
            self._manager.point(names, image, "")
        except MachineError:
            raise
        except PipelineError as error:
            return error.problems
        return ()

    def reboot(self) -> None:
        """Reboot what is switched; the journal knows it before it happens."""
        names = self._still_allowed(self._desk.named("switched"))
        if names:
            syncs = self._manager.synced(names)
            statuses = self._manager.statuses(names)
            for name in names:
                self._seen_away.discard(name)
                self._asked_after.discard(name)
                (self._stale.add if statuses[name].condition == "failed" else self._stale.discard)(name)
                self._desk.tell(name, "rebooting", sync=syncs[name].ended if name in syncs else UNKNOWN)
            self._desk.commit()
            # Stopped here: they are asked how they are, and rebooted when nothing has become of it. So are
            # those that the manager has not told: an answer may be lost.
            self._maybe_rebooted.update(names)
            self._send(names)

    def reboot_again(self) -> None:
        """Reboot those of which nobody knows whether they were told to, and that have not begun."""
        named = set(self._desk.named("rebooting"))
        self._maybe_rebooted &= named
        wait = min(SHUTDOWN_SECONDS, self._waits.begin / 4)
        names = sorted(name for name in self._maybe_rebooted if self._desk.is_late(name, wait))
        if names:
            statuses, syncs = self._manager.statuses(names), self._manager.synced(names)
            begun = {name for name in names if self._has_begun(name, statuses, syncs)}
            self._maybe_rebooted -= begun
            left = [name for name in names if name not in begun]
            allowed, refused = self._hooking.before(left)
            self._maybe_rebooted -= {*allowed, *refused}
            self._fail(refused)
            self._send(allowed)

    def look(self) -> None:
        """Follow the nodes that are being installed; one call for all of them, and one for the proofs."""
        names = self._desk.named(*IN_HANDS_OF_MANAGER)
        if not names:
            return
        statuses = self._manager.statuses(names)
        up = [name for name in names if statuses[name].condition == "up"]
        syncs = self._manager.synced(up) if up else {}
        for name in names:
            self._follow(name, statuses[name], syncs.get(name))
        self._fail_late("rebooting", self._waits.begin, "its installation has not begun")
        self._fail_late("installing", self._waits.install, "it is still being installed")
        self._fail_late("up", self._waits.start, "it is up, but nothing says that it was provisioned")

    def prove(self) -> None:
        """Verify the nodes that are provisioned; until its time is over one that fails is looked at again."""
        proving = self._proving
        if proving is None:
            return
        for name, verdict in proving.finished().items():
            if self._desk.of[name].state != "provisioned":
                continue
            failed = tuple(check.name for check in verdict.checks if check.outcome in ("failed", "error"))
            passed = sum(check.outcome == "passed" for check in verdict.checks)
            log = proving.log(name)
            for note in verdict.notes:
                self._desk.note(name, note)
            if verdict.passed:
                self._desk.tell(name, "verified", facts=verdict.facts, passed=passed, log=log)
            elif self._desk.is_late(name, self._waits.verify):
                why = verdict.why or f"{len(failed)} checks failed"
                self._desk.tell(name, "failed", why, failed_checks=failed, passed=passed, log=log)
            elif self._desk.of[name].why != (why := f"not well yet: {verdict.why}"):
                self._desk.tell(name, "provisioned", why)
        proving.begin(self._desk.named("provisioned"))

    def release(self) -> None:
        """Give nodes back to their users, while they are up."""
        names = self._desk.named("verified")
        if not names:
            return
        statuses = self._manager.statuses(names)
        up = [name for name in names if statuses[name].condition == "up"]
        for name in set(names) - set(up):
            self.reason(name, f"it is not up any more: {statuses[name].text or statuses[name].condition}")
        own = self._still_ours(up)
        self._desk.commit()
        # Stopped here: hooks are asked to undo it once more.
        done, refused = self._hooking.after(own)
        for name in done:
            self._desk.tell(name, "released")
        self._desk.commit()
        self._fail(refused)
        self._fail_late("verified", self._waits.release, "it could not be released")

    def _still_ours(self, names: Sequence[str]) -> list[str]:
        """Those that are what was proved, and not what others have made of them since."""
        of, found = self._desk.of, list(names)
        syncs = self._manager.synced(names) if names else {}
        for name in names:
            if "provisioned" not in of[name].times:  # it was only set back
                if self._is_others(name, syncs.get(name)):
                    found.remove(name)
                continue
            sync, wanted = syncs.get(name), self._desk.target(name).name
            if sync is None or (sync.is_good and sync.image == wanted):
                continue
            found.remove(name)
            if sync.is_good:
                why = f"others have installed it meanwhile, from {sync.image}, not from {wanted}"
                self._desk.tell(name, "failed", why)
            else:
                self.reason(name, f"others install it, which is not done: {sync.text or 'nothing is told'}")
        known = [name for name in found if name in syncs and "provisioned" in of[name].times]
        self._tell_pointed([name for name in known if name not in self._asked_after])
        return found

    def _tell_pointed(self, names: Sequence[str]) -> None:
        """Tell, once, to whom others have given another image."""
        facts = self._manager.survey().nodes if names else {}
        for name in names:
            self._asked_after.add(name)
            if name in facts and facts[name].image != self._desk.target(name).name:
                image = facts[name].image
                what = f"others have given it the image {image} meanwhile, which its next reboot installs"
                self._desk.note(name, what)

    def undo_preparing(self) -> None:
        """Nodes that are only about to go stay where they are."""
        names = self._desk.named("preparing")
        if names:
            if self._undoing_since is None:
                self._undoing_since = self._desk.ticks()
            done, refused = self._hooking.undo(names)
            for name in done:
                self._desk.tell(name, "waiting")
            self._fail(refused)
            if self._desk.ticks() - self._undoing_since > self._waits.release:
                why = "it could not be left as it was"
                self._fail(
                    {name: f"{why}: {self._desk.of[name].why}" for name in self._desk.named("preparing")}
                )
        if not self._desk.named("preparing"):
            self._undoing_since = None

    def _still_allowed(self, names: Sequence[str]) -> list[str]:
        """Those that hooks let go now; who was asked just now is not asked again."""
        now, when = self._desk.ticks(), self._allowed
        old = [name for name in names if name not in when or now - when[name] > ANSWER_SECONDS]
        if not old:
            return list(names)
        allowed, refused = self._hooking.before(old)
        self._fail(refused)
        self._fail_late("switched", self._waits.prepare, "its turn could not come")
        asked = set(old) - set(allowed)
        return [name for name in names if name not in asked]

    def _has_begun(self, name: str, statuses: Mapping[str, NodeStatus], syncs: Mapping[str, Sync]) -> bool:
        sync = syncs.get(name)
        return statuses[name].condition != "up" or (sync is not None and self._is_new(name, sync))

    def _is_new(self, name: str, sync: Sync) -> bool:
        """Whether the node was provisioned since it was told to reboot."""
        before = self._desk.of[name].sync
        return sync.ended > before if before != UNKNOWN else sync.ended > 0 and name in self._seen_away

    def _send(self, names: Sequence[str]) -> None:
        if not names:
            return
        try:
            self._each(names, self._manager.reboot, was="switched")
        except MachineError:
            self._maybe_rebooted.update(names)  # also those that had been told once more
            raise

    def _follow(self, name: str, status: NodeStatus, sync: Sync | None) -> None:
        """One node, as the manager tells of it now."""
        now, condition = self._desk.of[name], status.condition
        if condition != "failed":
            self._stale.discard(name)
        if condition not in ("up", "unknown", "failed"):
            self._seen_away.add(name)
        if condition == "closed" or (condition == "failed" and name not in self._stale):
            self._desk.tell(name, "failed", f"the cluster manager says: {status.text or condition}")
        elif condition == "up" and sync is not None and self._is_new(name, sync):
            self._provisioned(name, sync)
        elif now.state == "rebooting" and condition in ("installing", "starting"):
            self._desk.tell(name, "installing", status.text)
        elif now.state == "installing" and condition == "up":
            self._desk.tell(name, "up", "waits for the proof of what was installed")
        elif condition in ("installing", "starting", "booting", "down"):
            self.reason(name, status.text)

    def _provisioned(self, name: str, sync: Sync) -> None:
        """It is up again, and was provisioned since: with what?"""
        wanted, install = self._desk.target(name).name, self._desk.order.policy.install
        if self._desk.of[name].state != "up":
            self._desk.tell(name, "up")
        if not sync.is_good:
            self._desk.tell(name, "failed", f"its provisioning failed: {sync.text or 'no reason is known'}")
        elif sync.image != wanted:
            self._desk.tell(name, "failed", f"it was provisioned from {sync.image}, not from {wanted}")
        elif install == "FULL" and sync.mode not in ("", install):
            self._desk.tell(name, "failed", f"it was provisioned by {sync.mode}, not by {install}")
        else:
            self._desk.tell(name, "provisioned", image=sync.image)

    def _each(
        self, names: Sequence[str], do: Callable[[Sequence[str]], None], was: State | None = None
    ) -> list[str]:
        """Do something with nodes; returns those with which it worked, and fails the others.

        ``was`` is the state in which those that fail have stayed. A `MachineError` goes on to whoever called:
        it is nobody's fault among the nodes.
        """
        try:
            do(names)
        except MachineError:
            raise
        except PipelineError as error:
            told = {problem.where: problem.message for problem in error.problems if problem.where in names}
            if not told:  # it's about none of them: all have failed
                told = dict.fromkeys(names, error.problems[0].message)
            for name in told if was else ():
                self._desk.tell(str(name), was)
            self._fail({str(name): why for name, why in told.items()})
            return [name for name in names if name not in told]
        return list(names)

    def reason(self, name: str, why: str) -> None:
        """What a node waits for, once."""
        if self._desk.of[name].why != why:
            self._desk.tell(name, self._desk.of[name].state, why)

    def _fail(self, reasons: Mapping[str, str]) -> None:
        for name, why in reasons.items():
            self._desk.tell(name, "failed", why)

    def _fail_late(self, state: State, seconds: float, what: str) -> None:
        late = [name for name in self._desk.named(state) if self._desk.is_late(name, seconds)]
        there = self._manager.survey().nodes if late else {}
        for name in late:
            last = self._desk.of[name].why
            last = f"last: {last}" if last else ""
            more = last if name in there else "the cluster manager has no such node any more"
            self._desk.tell(name, "failed", f"{what} for {seconds:.0f} s" + (f"; {more}" if more else ""))
