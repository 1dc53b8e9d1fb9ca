"""The rollout as it runs: turns, limits, the failure budget, the way back, and the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from pipeline.cluster.drivers.nodes import NodeFacts, NodeManager
from pipeline.cluster.nodesets import folded
from pipeline.errors import PipelineError
from pipeline.printable import counted
from pipeline.rollout.batches import Room, canaries
from pipeline.rollout.desk import Desk
from pipeline.rollout.hooking import NOT_UNDONE, Hooking
from pipeline.rollout.neighbours import Neighbours
from pipeline.rollout.ordering import is_to_be_started
from pipeline.rollout.others import rebooted_by_others
from pipeline.rollout.parts import Hook, Verifier
from pipeline.rollout.proving import Proving
from pipeline.rollout.sharing import WAITS_FOR, Sharing
from pipeline.rollout.states import STATES, NodeProgress, Progress, State
from pipeline.rollout.steps import Steps
from pipeline.rollout.switching import Switched, Switching
from pipeline.rollout.withdrawing import withdraw

Watch = Callable[[Progress], object]
Outcome = Literal["stopped", "ended"]

STILL = ("waiting", "released", "failed")

NOT_REBOOTED: tuple[State, ...] = ("preparing", "prepared", "switched")
"""A node that failed in one of these has lost nothing."""

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
        switched: Switched,
        pause: Callable[[float], None],
        withheld: str = "",
    ) -> None:
        """``aborted`` says who asked to stop, ``switched`` is told of a category and its new image,
        ``pause`` waits for so many seconds. ``withheld`` is why no more nodes may be rebooted on their way
        out ("": they may); those that were come to their end, and the way back is open."""
        self._desk = desk
        self._manager = manager
        self._hooking = Hooking(hooks, desk)
        self._proving = Proving(verifier, desk)
        self._steps = Steps(desk, manager, self._hooking, self._proving)
        self._aborted = aborted
        self._switching = Switching(desk, manager, self._steps, switched)
        self._pause = pause
        self._withheld = withheld
        self._down: frozenset[str] = frozenset()
        self._seen_batch = 0
        self._facts: Mapping[str, NodeFacts] = {}
        self._canaries = canaries(desk.order.nodes, desk.order.policy.canary)
        self._left: set[str] = set()
        self._leaving_since: float | None = None
        self._sharing = Sharing(desk)
        self._neighbours = Neighbours(desk.order)

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
        except PipelineError as error:
            return self._lost(error)
        if self._desk.blind is not None:
            self._desk.say("note", "the cluster manager answers again")
            self._desk.see_again()
        return outcome

    def _lost(self, error: PipelineError) -> Outcome | None:
        """The manager, or another one, can't be asked: nothing is known about nodes until that is over."""
        if who := self._aborted():
            self._note_abort(who)
            return self._finish("stopped", f"stopped by {who}, while the cluster manager can't be asked")
        why = f"the cluster manager can't be asked: {error.problems[0].message}"
        if self._desk.blind is None:
            self._desk.say("note", why)
        elif self._desk.blind > MOST_BLIND:
            self._desk.say("stopped", why)
            self._desk.commit()
            raise error
        self._desk.lose_sight()
        return None

    def _decide(self) -> Outcome | None:
        """What is to be begun next, if anything; whether this is the end."""
        if self._desk.fold.whole.is_going_back:
            return self._go_back()
        if self._withheld:
            withdraw(self._desk, self._manager, self._steps)
        why, over = self._reason_to_stop()
        if why:
            self._steps.undo_preparing()
            if self._moving():
                return None
            if over and self._desk.order.policy.on_failure != "stop":
                self._desk.say("going back", why)
                return self._go_back()
            is_left = self._desk.named("waiting", "failed")
            return self._stop(why) if is_left else self._stop_or_end(why)
        if not self._moving() and not self._desk.named("waiting"):
            return self._end()
        return self._admit()

    def _moving(self) -> list[str]:
        return [name for state in STATES if state not in STILL for name in self._desk.named(state)]

    def _reason_to_stop(self) -> tuple[str, bool]:
        """Why nothing more may be begun ("": it may), and whether that is because nodes failed."""
        if who := self._aborted():
            self._note_abort(who)
            return f"stopped by {who}", False
        order = self._desk.order
        failed = [name for name in self._desk.named("failed") if self._desk.of[name].way == "out"]
        if lost := [name for name in failed if name in self._canaries]:
            return f"the canary {lost[0]} failed: {self._desk.of[lost[0]].why}", True
        if len(failed) > order.policy.failure_budget:
            return f"{_nodes(failed)} failed; failure_budget = {order.policy.failure_budget}", True
        return self._withheld if self._desk.named("waiting", "preparing") else "", False

    def _note_abort(self, who: str) -> None:
        if not self._desk.fold.whole.is_aborting:
            self._desk.say("abort", who)

    def _admit(self) -> Outcome | None:
        """Let nodes of the batch go whose turn it is, as many as may be away; then the next batch."""
        desk, batches = self._desk, self._desk.order.batches
        waiting = set(desk.named("waiting"))
        if not waiting:
            return None
        number = next(at for at, batch in enumerate(batches, start=1) if not waiting.isdisjoint(batch))
        if number != desk.fold.whole.batch:
            if self._moving():
                return None  # the batch before it is not at its end
            desk.say("batch", batch=number)
        turn = [name for name in batches[number - 1] if desk.of[name].state == "waiting"]
        if not turn:
            self._refuse_gone(desk.named("preparing"))
            return None
        if number != self._seen_batch or self._needs_survey(turn):
            self._survey()
            self._seen_batch = number
        room = self._take(turn)
        left = [name for name in turn if desk.of[name].state == "waiting"]
        waits = self._sharing.waits(left, is_moving=bool(self._moving()))
        self._tell_waiting(left, waits)
        if self._moving() or waits or not left:
            return None
        return self._stop(f"{left[0]} can't go: {room.lacks(desk.nodes[left[0]])}{self._in_the_way()}")

    def _needs_survey(self, turn: Sequence[str]) -> bool:
        """Whether it matters now who is up: some of ``turn`` would go, or it would stop."""
        if not self._facts or not self._moving():
            return True
        room = self._room()
        return any(room.has(self._desk.nodes[name]) for name in turn)

    def _take(self, turn: Sequence[str]) -> Room:
        """Let those go for which there is room beside all other rollouts; returns what is left of it."""
        with self._sharing.taking():
            room = self._room()
            for name in self._let(turn, room):
                self._desk.tell(name, "preparing")
            self._refuse_gone(self._desk.named("preparing"))
        return room

    def _tell_waiting(self, left: Sequence[str], waits: str) -> None:
        """Say once for whom nodes wait, and when they do so no more."""
        for name in left:
            if waits or self._desk.of[name].why.startswith(WAITS_FOR):
                self._steps.reason(name, waits)
        if waits:
            self._seen_batch = 0  # it may take long: who is up is seen once more

    def _in_the_way(self) -> str:
        """Who uses up the limits, while nothing moves."""
        away = {
            "failed": self._desk.named("failed"),
            "not up": sorted(self._down),
            "not of this rollout, and not up": [node.name for node in self._sharing.nobodys()],
        }
        said = [f"{how}: {folded(names)}" for how, names in away.items() if names]
        return "".join(f"; {each}" for each in (*said, *self._sharing.told()))

    def _survey(self) -> None:
        """See which nodes that should be up are not: they are away as well."""
        facts = self._manager.survey().nodes
        resting = self._desk.named("waiting", "released")
        down = [name for name in resting if name not in facts or facts[name].status.condition != "up"]
        self._down = frozenset(down) - self._not_started(down, facts)
        self._facts = facts

    def _not_started(self, down: Sequence[str], facts: Mapping[str, NodeFacts]) -> set[str]:
        """Virtual nodes that have no instance before their turn: users don't miss them."""
        of = self._desk.of
        names = [
            name for name in down if of[name].state == "waiting" and name in facts and facts[name].is_virtual
        ]
        instances = self._manager.instances(names) if names else {}
        return {name for name, instance in instances.items() if not instance}

    def _refuse_gone(self, names: Sequence[str]) -> None:
        """Nodes that are otherwise than when this was ordered are left alone, with nothing done to them."""
        full, stay = self._desk.order.policy.install == "FULL", frozenset(self._desk.order.not_rebooted)
        for name in names:
            facts = self._facts.get(name)
            if self._desk.of[name].why or self._desk.of[name].way == "back":
                continue  # its hooks have been asked already
            if facts is None:
                why = "the cluster manager has no such node any more"
            elif self._desk.order.back_of is None and self._is_gone(facts):
                why = f"it is {facts.status.text or facts.status.condition}"
            elif facts.category != self._desk.nodes[name].category:
                why = f"it is in the category {facts.category} by now"
            elif full and facts.is_data_node and name not in stay:
                why = "it is a data node by now: a FULL install would wait at its console"
            else:
                continue
            self._desk.tell(name, "waiting")
            self._desk.tell(name, "failed", f"{why}; nothing was done to it")

    def _is_gone(self, facts: NodeFacts) -> bool:
        """Whether it is not up, as it has to be before its turn."""
        return facts.status.condition != "up" and not is_to_be_started(facts, self._desk.order.hooks)

    def _let(self, names: Sequence[str], room: Room) -> list[str]:
        """Those for which there is room. From here on their state tells whether they are away."""
        found = []
        for name in names:
            node = self._desk.nodes[name]
            if room.has(node):
                room.take(node)
                found.append(name)
        self._down -= set(found)
        return found

    def _room(self) -> Room:
        return self._sharing.room(self._down, self._neighbours.away(self._facts), self._is_up)

    def _is_up(self, name: str) -> bool:
        """Whether a node of any rollout was up when they were seen last, or the manager has it no more."""
        return name not in self._facts or self._facts[name].status.condition == "up"

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
            self._note_abort(who)
            why = f"stopped by {who}"
            return None if self._moving() else self._stop(why) if left else self._stop_or_end(why)
        if left and self._needs_survey(left):
            self._survey()
        with self._sharing.taking():
            room = self._room()
            turn = self._let(left, room)
            # The others of them are away already, as everybody sees.
            for name in [name for name in turn if desk.of[name].state == "released"]:
                self._begin_return(name, "", "")
        turn = [name for name in turn if desk.of[name].way == "out"]
        others = rebooted_by_others(desk, self._manager, turn)
        stay = [name for name in turn if name not in others and _has_lost_nothing(desk.of[name])]
        # While the manager is away they stay as they are, and are never rebooted for this.
        undone = self._steps.unset(stay)
        for name in turn:
            self._begin_return(name, others.get(name, ""), undone.get(name, ""))
        stuck = [name for name in left if desk.of[name].way == "out"]
        if self._moving() or len(stuck) < len(left):
            return None
        if waits := self._sharing.waits(stuck, is_moving=False):
            if waits not in desk.fold.whole.notes:
                desk.say("note", waits)
            return None
        if stuck:
            why = f"{room.lacks(desk.nodes[stuck[0]])}{self._in_the_way()}"
            return self._stop(f"{stuck[0]} can't go back: {why}")
        return self._end()

    def _begin_return(self, name: str, others: str, undone: str) -> None:
        """One node's way back begins: where, depends on how far it had come, or ``others`` have taken it.

        ``undone`` is why one that was not rebooted is not as it was.
        """
        progress = self._desk.of[name]
        self._hooking.forget(name)
        if progress.was_rebooted or others:
            # Hooks are asked again: what they allowed was one reboot, and Ceph may need its OSDs now.
            self._desk.tell(name, "preparing", others, way="back", rebooted=bool(others))
        elif progress.failed_in == "waiting":
            self._desk.tell(name, "released", "nothing was done to it", way="back")
        else:
            state: State = "failed" if undone else "verified"
            self._desk.tell(name, state, undone or "it was not rebooted", way="back")

    def _stop(self, why: str) -> Outcome | None:
        return self._finish("stopped", why) if self._is_left() else None

    def _stop_or_end(self, why: str) -> Outcome | None:
        """Somebody has asked to stop, and no node is left to be begun with: at most a category to switch."""
        due = [
            f"{category} to {image}"
            for category, image in self._desk.order.categories.items()
            if category not in self._desk.fold.whole.switched and self._switching.is_due(category)
        ]
        return self._stop(f"{why}; still to be switched: {', '.join(due)}") if due else self._end()

    def _end(self) -> Outcome | None:
        if not self._is_left():
            return None
        for category, image in self._desk.order.categories.items():
            if category not in self._desk.fold.whole.switched and not self._switching.switch(category, image):
                return self._finish("stopped", f"the category {category} could not be switched to {image}")
        failed = self._desk.named("failed")
        return self._finish("ended", f"{_nodes(failed)} failed" if failed else "")

    def _finish(self, outcome: Outcome, why: str) -> Outcome:
        self._desk.say(outcome, why)
        return outcome

    def _is_left(self) -> bool:
        """Whether nodes that stay failed harm nobody; hooks that can't see to it have a limited time."""
        failed = [name for name in self._desk.named("failed") if name not in self._left]
        if not failed:
            return True
        if self._leaving_since is None:
            self._leaving_since = self._desk.ticks()
            self._steps.disarm([name for name in failed if self._desk.of[name].failed_in in NOT_REBOOTED])
        done, refused = self._hooking.leave(failed)
        for name, why in refused.items():
            self._desk.note(name, f"was left as it is: {why}")
        self._left.update(done, refused)
        stuck = [name for name in failed if name not in self._left]
        late = self._desk.ticks() - self._leaving_since > self._desk.order.policy.waits.release
        for name in stuck if late else ():
            self._desk.note(name, f"{NOT_UNDONE}: {self._hooking.not_left[name]}")
        return late or not stuck


def _has_lost_nothing(node: NodeProgress) -> bool:
    """Whether something may have been set at a node, which was not rebooted."""
    return not node.was_rebooted and node.failed_in != "waiting"


def _failed(node: NodeProgress) -> bool:
    """Whether a node failed on its way out, whatever was done with it since."""
    return "failed" in (node.state, node.before.state if node.before else "")


def _nodes(names: Sequence[str]) -> str:
    return counted(len(names), "node")
