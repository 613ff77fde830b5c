"""A small actor between the driver and rank 0: news one way, the wish to stop the other."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vidgen.errors import VidgenError

News = tuple[str, Any]  # ("show", metrics line) or ("say", text)
LinkHandle = Any  # Ray makes the methods of an actor's handle at run time


class Link:
    """State that outlives a worker group: what was said, what failed, whether to stop."""

    def __init__(self) -> None:
        self._news: list[News] = []
        self._arrived, self._stop = asyncio.Event(), asyncio.Event()
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
        self._stop.set()

    async def stopped(self, wait_s: float) -> bool:
        with suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(self._stop.wait(), wait_s)
        return self._stop.is_set()

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
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(Link).options(num_cpus=0, scheduling_strategy=here).remote()


class LinkDisplay:
    """Shows what rank 0 tells on the driver's display."""

    def __init__(self, link: LinkHandle) -> None:
        self._link = link

    def show(self, line: dict[str, Any]) -> None:
        self._link.send.remote("show", line)

    def say(self, text: str) -> None:
        self._link.send.remote("say", text)


class StopWish:
    """Follows the driver's wish to stop, in a thread of rank 0."""

    def __init__(self, link: LinkHandle) -> None:
        self._link = link
        self._wanted = threading.Event()
        threading.Thread(target=self._follow, name="stop-wish", daemon=True).start()

    def __call__(self) -> bool:
        return self._wanted.is_set()

    def _follow(self) -> None:
        with suppress(RayError):  # the driver is gone, and this process goes with it
            while not ray.get(self._link.stopped.remote(10.0)):
                pass
            self._wanted.set()
