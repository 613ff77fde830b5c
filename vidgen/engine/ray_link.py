"""A small actor between the driver and the ranks: news one way, wishes the other."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vidgen.errors import VidgenError

News = tuple[str, Any]  # ("show", metrics line) or ("say", text)
LinkHandle = Any  # Ray makes the methods of an actor's handle at run time


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the driver wishes of the ranks.

    Attributes:
        stop: save and end.
        drained: nodes that are about to be taken away.
    """

    stop: bool
    drained: frozenset[str]


class Link:
    """State that outlives a worker group: what was said, what failed, whether to stop."""

    def __init__(self) -> None:
        self._news: list[News] = []
        self._arrived, self._changed = asyncio.Event(), asyncio.Event()
        self._wishes = Wishes(stop=False, drained=frozenset())
        self._outcome: VidgenError | None = None
        self._ended, self._all_ended = 0, asyncio.Event()

    async def send(self, kind: str, value: Any) -> None:
        self._news.append((kind, value))
        self._arrived.set()

    async def news(self, wait_s: float) -> list[News]:
        """What came in since the last call, waiting for it if there is nothing."""
        with suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), wait_s)
        self._arrived.clear()
        news, self._news = self._news, []
        return news

    async def stop(self) -> None:
        """Ranks are to save and end."""
        self._wish(replace(self._wishes, stop=True))

    async def drain(self, nodes: frozenset[str]) -> None:
        """These nodes are about to be taken away: ranks on them are to save at once."""
        self._wish(replace(self._wishes, drained=nodes))

    def _wish(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._changed.set()
        self._changed = asyncio.Event()

    async def wishes(self, known: Wishes | None, wait_s: float) -> Wishes:
        """What the driver wishes, as soon as it is not `known`."""
        if self._wishes == known:
            with suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait_s)
        return self._wishes

    async def finish(self, outcome: VidgenError, world: int, wait_s: float) -> bool:
        """Note why training ended before its last step; the first reason stays.

        Returns whether all `world` ranks ended likewise, giving them `wait_s` to do so.
        """
        self._outcome = self._outcome or outcome
        self._ended += 1
        if self._ended == world:
            self._all_ended.set()
        with suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(self._all_ended.wait(), wait_s)
        return self._all_ended.is_set()

    async def outcome(self) -> VidgenError | None:
        return self._outcome


def start_link() -> LinkHandle:
    """A Link on the driver's node, where it dies with the driver and not with a worker's node."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Link).options(num_cpus=0, scheduling_strategy=here).remote()


class LinkDisplay:
    """Shows what rank 0 tells on the driver's display."""

    def __init__(self, link: LinkHandle) -> None:
        self._link = link

    def show(self, line: dict[str, Any]) -> None:
        self._link.send.remote("show", line)

    def say(self, text: str) -> None:
        self._link.send.remote("say", text)


class DriverWishes:
    """Follows what the driver wishes of this rank, in a thread."""

    def __init__(self, link: LinkHandle) -> None:
        self._link = link
        self._node = ray.get_runtime_context().get_node_id()
        self._now: Wishes | None = None
        threading.Thread(target=self._follow, name="driver-wishes", daemon=True).start()

    def stop(self) -> bool:
        """Save and end."""
        return self._now is not None and self._now.stop

    def leave(self) -> bool:
        """Save at once: this rank's node is about to be taken away."""
        return self._now is not None and self._node in self._now.drained

    def _follow(self) -> None:
        with suppress(RayError):  # the driver is gone, and this process goes with it
            while True:
                self._now = ray.get(self._link.wishes.remote(self._now, 10.0))


def draining_nodes() -> frozenset[str]:
    """Ids of nodes that are about to be taken away; Ray Train itself asks in this way."""
    return frozenset(ray._private.state.state.get_draining_nodes())
