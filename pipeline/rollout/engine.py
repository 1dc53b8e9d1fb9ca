"""The rollout as it runs: turns, limits, the failure budget, the way back, and the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from pipeline.cluster.drivers.nodes import NodeManager
from pipeline.errors import MachineError, PipelineError
from pipeline.rollout.batches import Room, canaries
from pipeline.rollout.desk import Desk
from pipeline.rollout.hooking import Hooking
from pipeline.rollout.parts import Hook, Verifier
from pipeline.rollout.proving import Proving
from pipeline.rollout.states import STATES, NodeProgress, Progress
from pipeline.rollout.steps import Steps

Watch = Callable[[Progress], object]
Outcome = Literal["stopped", "ended"]

STILL = ("waiting", "released", "failed")

UNTOUCHED = ("preparing", "prepared")
"""A node that failed in one of these has lost nothing: it was not rebooted."""

MOST_BLIND = 3600.0
"""Seconds for which the manager may be gone before the rollout stops; nodes don't fail meanwhile."""


class Engine:
    """Takes a rollout to its end, from wherever its journal says that it is."""

    def __init__(
        self,
        desk: Desk,
        manager: NodeManager,
        hooks: Sequence[Hook],
        verifier: Verifier,
        *,
        aborted: Callable[[], str],
        switched: Callable[[str, str], None],
        pause: Callable[[float], None],
    ) -> None:
        """``aborted`` says who asked to stop, ``switched`` is told of a category and its new image,
        ``pause`` waits for so many seconds."""
        self._desk = desk
        self._manager = manager
        self._hooking = Hooking(hooks, desk)
        self._proving = Proving(verifier, desk)
        self._steps = Steps(desk, manager, self._hooking, self._proving)
        self._aborted = aborted
        self._switched = switched
        self._pause = pause
        self._blind_since: float | None = None
        self._canaries = canaries(desk.order.nodes, desk.order.policy.canary)
        self._left: set[str] = set()
        self._leaving_since: float | None = None

    def run(self, watch: Watch) -> Outcome:
        """Go on until all nodes are settled, or nothing more may be begun. ``watch`` sees each change.

        Raises ``MachineError`` when the cluster manager stays away; all can be resumed then.
        """
        try:
            outcome = None
            while outcome is None:
                before = self._desk.moves
                outcome = self._turn()
                self._desk.commit()
                watch(self._desk.fold.progress())
                if outcome is None and self._desk.moves == before:
                    seconds = self._desk.order.policy.waits.poll
                    if not self._proving.wait(seconds):
                        self._pause(seconds)
            return outcome
        finally:
            self._proving.end()

    def _turn(self) -> Outcome | None:
        """Every step once, for all nodes that have come to it."""
        steps = self._steps
        try:
            steps.reboot_again()
            steps.look()
            steps.prove()
            steps.release()
            outcome = self._decide()
            steps.prepare()
            steps.point()
            steps.reboot()
        except MachineError as error:
            self._lost(error)
            return None
        if self._blind_since is not None:
            self._desk.say("note", "the cluster manager answers again")
            self._blind_since = None
        return outcome

    def _lost(self, error: MachineError) -> None:
        """The manager can't be reached: wait for it; nothing is known about nodes until then."""
        now, why = self._desk.clock(), f"the cluster manager can't be asked: {error.problems[0].message}"
        if self._blind_since is None:
            self._blind_since = now
            self._desk.say("note", why)
        elif now - self._blind_since > MOST_BLIND:
            self._desk.say("stopped", why)
            self._desk.commit()
            raise error
        self._desk.saw_again()

    def _decide(self) -> Outcome | None:
        """What is to be begun next, if anything; whether this is the end."""
        if self._desk.fold.whole.is_going_back:
            return self._go_back()
        why, over = self._reason_to_stop()
        if why:
            self._steps.undo_preparing()
            if self._moving():
                return None
            if over and self._desk.order.policy.on_failure != "stop":
                self._desk.say("going back", why)
                return self._go_back()
            return self._stop(why)
        if not self._moving() and not self._desk.named("waiting"):
            return self._end()
        return self._admit()

    def _moving(self) -> list[str]:
        return [name for state in STATES if state not in STILL for name in self._desk.named(state)]

    def _reason_to_stop(self) -> tuple[str, bool]:
        """Why nothing more may be begun ("": it may), and whether that is because nodes failed."""
        if who := self._aborted():
            return f"stopped by {who}", False
        order = self._desk.order
        failed = [name for name in self._desk.named("failed") if self._desk.of[name].way == "out"]
        if lost := [name for name in failed if name in self._canaries]:
            return f"the canary {lost[0]} failed: {self._desk.of[lost[0]].why}", True
        if len(failed) > order.policy.failure_budget:
            return f"{_counted(failed)} failed; failure_budget = {order.policy.failure_budget}", True
        return "", False

    def _admit(self) -> Outcome | None:
        """Let nodes of the batch go whose turn it is, as many as may be away; then the next batch."""
        batches, number = self._desk.order.batches, self._desk.fold.whole.batch
        settled = not number or all(self._desk.of[name].is_settled for name in batches[number - 1])
        if settled:
            number += 1
            self._desk.say("batch", batch=number)
        room = self._room()
        for name in batches[number - 1]:
            if self._desk.of[name].state == "waiting" and room.has(self._desk.nodes[name]):
                room.take(self._desk.nodes[name])
                self._desk.tell(name, "preparing")
        if self._moving():
            return None
        name = next(name for name in batches[number - 1] if self._desk.of[name].state == "waiting")
        return self._stop(f"{name} can't go: {room.lacks(self._desk.nodes[name])}, by nodes that failed")

    def _room(self) -> Room:
        away = (self._desk.nodes[name] for name, progress in self._desk.of.items() if progress.is_away)
        return Room(self._desk.order.policy, (*self._desk.order.unavailable, *away))

    def _go_back(self) -> Outcome | None:
        """Take nodes to what they had, as far as the policy says, when those under way have settled."""
        desk = self._desk
        if any(desk.of[name].way == "out" for name in self._moving()):
            return None
        bad = any(_failed(desk.of[name]) for name in self._canaries)
        everyone = desk.order.policy.on_failure == "roll back all" or bad
        left = [name for name in desk.named("failed", "released") if desk.of[name].way == "out"]
        left = [name for name in left if everyone or desk.of[name].state == "failed"]
        if who := self._aborted():
            return None if self._moving() else self._stop(f"stopped by {who}")
        room = self._room()
        for name in left:
            if room.has(desk.nodes[name]):
                room.take(desk.nodes[name])
                self._begin_return(name)
        if self._moving():
            return None
        if left:
            return self._stop(f"{left[0]} can't go back: {room.lacks(desk.nodes[left[0]])}")
        return self._end()

    def _begin_return(self, name: str) -> None:
        """One node's way back begins: where, depends on how far it had come."""
        progress = self._desk.of[name]
        if progress.state == "released":
            self._desk.tell(name, "preparing", way="back")
        elif progress.failed_in in UNTOUCHED:
            self._desk.tell(name, "prepared", way="back")
            self._steps.unset(name)
        else:  # it is away already
            self._desk.tell(name, "prepared", way="back")

    def _stop(self, why: str) -> Outcome | None:
        return self._finish("stopped", why) if self._is_left() else None

    def _end(self) -> Outcome | None:
        if not self._is_left():
            return None
        for category, image in self._desk.order.categories.items():
            if category not in self._desk.fold.whole.switched and not self._switch(category, image):
                return self._finish("stopped", f"the category {category} could not be switched to {image}")
        failed = self._desk.named("failed")
        return self._finish("ended", f"{_counted(failed)} failed" if failed else "")

    def _finish(self, outcome: Outcome, why: str) -> Outcome:
        self._desk.say(outcome, why)
        return outcome

    def _switch(self, category: str, image: str) -> bool:
        """Have a category take what all of its nodes have; those that followed it do so again."""
        nodes = [node for node in self._desk.order.nodes if node.category == category]
        states = [self._desk.of[node.name] for node in nodes]
        if any(node.state != "released" or node.way != "out" for node in states):
            self._desk.say(
                "note", f"the category {category} keeps its image: not all of its nodes have {image}"
            )
            return True
        try:
            self._manager.switch(category, image)
            self._switched(category, image)
            self._manager.point([node.name for node in nodes if not node.own_image], "", "")
        except MachineError:
            raise
        except PipelineError as error:
            self._desk.say("note", f"the category {category}: {error.problems[0].message}")
            return False
        self._desk.say("category", category)
        return True

    def _is_left(self) -> bool:
        """Whether nodes that stay failed harm nobody; hooks that can't see to it have a limited time."""
        failed = [name for name in self._desk.named("failed") if name not in self._left]
        if not failed:
            return True
        self._leaving_since = self._leaving_since or self._desk.clock()
        done, refused = self._hooking.leave(failed)
        for name, why in refused.items():
            self._desk.note(name, f"was left as it is: {why}")
        self._left.update(done, refused)
        late = self._desk.clock() - self._leaving_since > self._desk.order.policy.waits.release
        return late or all(name in self._left for name in failed)


def _failed(node: NodeProgress) -> bool:
    """Whether a node failed on its way out, whatever was done with it since."""
    return "failed" in (node.state, node.before.state if node.before else "")


def _counted(names: Sequence[str]) -> str:
    return "1 node" if len(names) == 1 else f"{len(names)} nodes"
