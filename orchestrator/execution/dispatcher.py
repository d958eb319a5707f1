"""Hands recipes to warm worker groups and their reports back: one small actor per study, whatever the number of trials."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass

import ray
from ray.actor import ActorHandle

from trainables.training.progress import Progress


@dataclass(frozen=True)
class Assignment:
    """One recipe for one worker group; `serial` counts what the group has been given."""

    serial: int
    recipe_json: str
    folder: str
    cache: str
    store: str = ""  # where stages that trials share are kept; empty where nothing is reused


@dataclass(frozen=True)
class Message:
    """What a group says of an assignment: progress, or the reason why it ended without a result."""

    serial: int
    progress: Progress | None = None
    failure: str = ""

    @property
    def last(self) -> bool:
        return self.progress is None or self.progress.done


class _Line:
    """The state of one group."""

    def __init__(self) -> None:
        self.current: Assignment | None = None
        self.finished = False
        self.closed = False
        self.changed = asyncio.Condition()
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.members: dict[int, ActorHandle] = {}
        self.decisions: dict[tuple[int, int], asyncio.Future[bool]] = {}
        self.alive = time.monotonic()  # when the group was last heard of

    def decision(self, serial: int, images: int) -> asyncio.Future[bool]:
        key = (serial, images)
        if key not in self.decisions:
            self.decisions[key] = asyncio.get_running_loop().create_future()
        return self.decisions[key]

    def decide(self, go_on: bool) -> None:
        for future in self.decisions.values():
            if not future.done():
                future.set_result(go_on)
        self.decisions = {k: f for k, f in self.decisions.items() if self.current and k[0] == self.current.serial}


@ray.remote(num_cpus=0, max_concurrency=10_000)  # type: ignore[call-overload]  # an option of asynchronous actors
class Dispatcher:
    """Trial drivers call `assign`, `next_message`, `close`; workers call `next_assignment` and `report`."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = defaultdict(_Line)

    async def assign(self, group: str, assignment: Assignment) -> None:
        """Give the group its next recipe; what it was doing is stopped at its next report."""
        line = self._lines[group]
        async with line.changed:
            line.decide(False)
            line.current, line.finished, line.messages, line.alive = assignment, False, asyncio.Queue(), time.monotonic()
            line.changed.notify_all()

    async def join(self, group: str, rank: int, worker: ActorHandle) -> None:
        """A worker is there, perhaps in the place of a lost one."""
        line = self._lines[group]
        line.members[rank], line.alive = worker, time.monotonic()

    async def pulse(self, group: str) -> None:
        """A worker is at work."""
        self._lines[group].alive = time.monotonic()

    async def silence(self, group: str) -> float:
        """Seconds since a worker of the group was last heard of."""
        return time.monotonic() - self._lines[group].alive

    async def members(self, group: str) -> list[ActorHandle]:
        return list(self._lines[group].members.values())

    async def next_assignment(self, group: str, after: int) -> Assignment | None:
        """The group's unfinished assignment later than `after` (a restarted worker asks with -1); None to go home."""
        line = self._lines[group]
        async with line.changed:
            await line.changed.wait_for(
                lambda: line.closed or (line.current is not None and line.current.serial > after and not line.finished)
            )
        return None if line.closed else line.current

    async def report(self, group: str, rank: int, message: Message) -> bool:
        """Deliver a message (rank 0's counts); returns whether to go on, once the trial's driver has decided."""
        line = self._lines[group]
        if line.closed or line.current is None or line.current.serial != message.serial:
            return False
        if message.last:
            line.finished = True
        if rank == 0:
            line.messages.put_nowait(message)
        if message.progress is None or message.last:
            return False
        return await line.decision(message.serial, message.progress.images)

    async def next_message(self, group: str) -> Message:
        """Let the group go on, and wait for what it says next."""
        line = self._lines[group]
        line.alive = time.monotonic()  # what it said before may have waited here for long
        line.decide(True)
        return await line.messages.get()

    async def fail(self, group: str, serial: int, reason: str) -> None:
        """Nobody will finish an assignment: tell whoever waits for it, unless something else has been assigned since."""
        line = self._lines[group]
        if line.current and line.current.serial == serial and not line.finished:
            line.finished = True
            line.messages.put_nowait(Message(serial, failure=reason))

    async def close(self, group: str) -> None:
        """Send the group home."""
        line = self._lines[group]
        async with line.changed:
            line.closed = True
            line.decide(False)
            line.changed.notify_all()
