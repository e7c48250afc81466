"""One model on many devices: an actor for each device of a Ray cluster, and this process hands out the work.

Answers come back here and are journalled, cached and scored here, as with the local executor; the records are the same.
Requests leave in groups that keep the questions of an image together. An actor that is lost is replaced, and what it
had not answered is asked again; what it had answered is here already and is not.
"""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from harness.engine.groups import Answerer, Group, Totals, after_a_loss, group_size, groups
from harness.engine.options import RunOptions
from harness.engine.plan import ModelPlan, OpenTask
from harness.engine.requests import WorkItem
from harness.errors import ModelError, RegistryError
from harness.records import Response, TaskPlan

logger = logging.getLogger(__name__)
IN_FLIGHT = 2
"""Groups that an actor holds: one that it answers, one that waits for it."""
STILLBORN = 5
"""Actors in a row that do not come up before the model is given up."""
PATIENCE_S = 600.0
"""How long to wait for the first actor, or for a new one where none is left."""


@dataclass(slots=True, eq=False)
class Post:
    """An actor and what it was given."""

    actor: Any
    held: list[Any] = field(default_factory=list)
    """References to the answers of its groups; it answers the first of them now."""
    guilty: Any = None
    """What it answered when it was lost."""
    totals: Totals = field(default_factory=Totals)


class RayExecutor:
    """The executor `ray`; see `Executor`."""

    isolates: ClassVar[bool] = False

    def __init__(self, plan: ModelPlan, options: RunOptions) -> None:
        """Connect to the cluster, or start one of this machine's devices.

        Raises:
            RegistryError: Ray is not installed.
            ModelError: the cluster cannot be reached.
        """
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise RegistryError("the executor ray needs the extra: pip install 'vlm-harness[ray]'") from error
        self._ray, self._plan, self._options = ray, plan, options
        self._position = -1
        self._posts: list[Post] = []
        self._joining: dict[Any, Post] = {}
        self._left: list[Post] = []
        self._stillborn = 0
        if not ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            local = {"include_dashboard": False} if options.address is None else {}
            try:
                ray.init(options.address, logging_level=logging.ERROR, log_to_driver=False, **local)
            except (ConnectionError, ValueError, RuntimeError) as error:
                where = options.address or "this machine"
                raise ModelError(f"no Ray cluster at {where}: {error}; start one with `ray start --head`") from error

    @property
    def _totals(self) -> list[Totals]:
        return [post.totals for post in (*self._posts, *self._left)]

    @property
    def asked(self) -> int:
        """Requests given to the model on all actors; those of a lost actor's last groups are not known."""
        return sum(totals.asked for totals in self._totals)

    @property
    def busy_s(self) -> float:
        """Seconds spent in the model, summed over actors."""
        return sum(totals.busy_s for totals in self._totals)

    @property
    def batch_size(self) -> None:
        """Not kept: it holds for the actors' machines, which need not be this one."""

    @property
    def next_batch(self) -> int:
        """The requests of the next group."""
        return group_size(self._options, self._totals)

    @property
    def load_s(self) -> float | None:
        """Seconds of the slowest loading."""
        return max((totals.load_s for totals in self._totals if totals.load_s is not None), default=None)

    def start_task(self, opened: OpenTask, task: TaskPlan) -> None:
        """From here on the items are of `task`."""
        self._position = next(n for n, (_, planned) in enumerate(self._plan.tasks) if planned.name == task.name)

    def answer(self, work: Iterable[Sequence[WorkItem]], stop: Callable[[], bool]) -> Iterator[list[Response]]:
        """Responses as groups come back. Work is taken as actors are free; see `Executor.answer`."""
        source = groups(work, lambda: self.next_batch)
        again: deque[Group] = deque()
        under_way: dict[Any, tuple[Post, Group]] = {}
        pause = False  # a window without items: what came before it is answered first
        while True:
            while (again or not pause) and (group := again.popleft() if again else next(source, None)):
                if not group.items:
                    pause = True
                    continue
                post = self._free(bool(under_way))
                if post is None:
                    again.appendleft(group)
                    break
                reference = post.actor.answer.remote(self._position, group.items)
                under_way[reference] = (post, group)
                post.held.append(reference)
            if under_way:
                yield self._next(under_way, again)
            elif pause:
                pause = False
                yield []
            else:
                return
            if stop():
                return

    def _free(self, some_under_way: bool) -> Post | None:
        """The actor with the fewest groups, below the limit; waits for one to come where nothing is under way."""
        self._recruit()
        until = time.monotonic() + PATIENCE_S
        while not self._posts and not some_under_way:
            self._join(timeout_s=1.0)
            if time.monotonic() > until:
                raise ModelError(
                    f"no actor came up in {PATIENCE_S:.0f} s; `ray status` shows what the cluster has free, "
                    "and the same command goes on"
                )
        free = [post for post in self._posts if len(post.held) < IN_FLIGHT]
        return min(free, key=lambda post: len(post.held), default=None)

    def _recruit(self) -> None:
        """Ask for an actor for each device that has none, and take in those that have come up."""
        for _ in range(self._wanted() - len(self._posts) - len(self._joining)):
            needs = {"num_gpus": 1} if self._on_gpus() else {"num_cpus": 1}
            actor = (
                self._ray.remote(Answerer)
                .options(**needs)
                .remote(self._plan, self._options.batch_size, self._options.first_batch)
            )
            self._joining[actor.ready.remote()] = Post(actor)
        self._join(timeout_s=0.0)

    def _join(self, timeout_s: float) -> None:
        if not self._joining:
            return
        came, _ = self._ray.wait(list(self._joining), num_returns=1, timeout=timeout_s)
        for reference in came:
            post = self._joining.pop(reference)
            try:
                self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                raise ModelError(f"an actor cannot be started: {error.cause}") from error
            except self._ray.exceptions.RayError as error:
                self._stillborn += 1
                logger.warning("an actor was lost before it came up (%s)", type(error).__name__)
                if self._stillborn >= STILLBORN:
                    raise ModelError(f"{STILLBORN} actors in a row did not come up; the last one: {error}") from error
            else:
                self._stillborn = 0
                self._posts.append(post)

    def _on_gpus(self) -> bool:
        return self._plan.settings.device != "cpu" and self._ray.cluster_resources().get("GPU", 0) >= 1

    def _wanted(self) -> int:
        devices = self._ray.cluster_resources().get("GPU" if self._on_gpus() else "CPU", 0)
        return min(self._options.actors or 10**6, max(1, int(devices)))

    def _next(self, under_way: dict[Any, tuple[Post, Group]], again: deque[Group]) -> list[Response]:
        """The responses of the next group that comes back, or of requests that are given up."""
        (reference, *_), _ = self._ray.wait(list(under_way), num_returns=1)
        post, group = under_way.pop(reference)
        try:
            responses, post.totals = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise ModelError(str(error.cause)) from error
        except self._ray.exceptions.RayError as error:
            reason = type(error).__name__
            logger.warning("an actor was lost (%s); %d requests are asked again", reason, len(group.items))
            self._dismiss(post)
            if reference == post.guilty:
                return after_a_loss(group, again, "worker_lost", reason)
            again.append(group)
            return []
        post.held.remove(reference)
        return list(responses)

    def _dismiss(self, post: Post) -> None:
        if post in self._posts:
            self._posts.remove(post)
            self._left.append(post)
            post.guilty = post.held[0]
            self._ray.kill(post.actor)

    def peak_memory(self) -> tuple[int, str]:
        """The highest of all actors."""
        return max((totals.memory for totals in self._totals), default=(0, "process"))

    def close(self) -> None:
        """Free the model on all actors; the connection to the cluster stays for the next model."""
        for post in (*self._posts, *self._joining.values()):
            self._ray.kill(post.actor)
        self._left += self._posts
        self._posts, self._joining = [], {}
