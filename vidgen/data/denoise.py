"""Noise taken out of decoded frames by a filter of libavfilter."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

Picture = tuple[int, Any]  # time stamp in ticks of the stream, frame

_OPTIONS = {"nlmeans": "s=6:p=5:r=9", "atadenoise": "0a=0.1:0b=0.4:1a=0.1:1b=0.4:2a=0.1:2b=0.4:s=9"}


def denoised(pictures: Iterator[Picture], name: str, tick: Fraction) -> Iterator[Picture]:
    """The same pictures and times through filter `name`; a new size begins a new graph."""
    graph: Any = None
    shape: tuple[int, int, str] | None = None
    for stamp, frame in pictures:
        now = (frame.width, frame.height, frame.format.name)
        if now != shape:
            if graph is not None:
                yield from _rest(graph)
            graph, shape = _graph(frame, name, tick), now
        frame.pts, frame.time_base = stamp, tick
        graph.vpush(frame)
        yield from _out(graph)
    if graph is not None:
        yield from _rest(graph)


def _graph(frame: Any, name: str, tick: Fraction) -> Any:
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=tick
    )
    graph.link_nodes(source, graph.add(name, _OPTIONS[name]), graph.add("buffersink")).configure()
    return graph


def _out(graph: Any) -> Iterator[Picture]:
    while True:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield frame.pts, frame


def _rest(graph: Any) -> Iterator[Picture]:
    """What a filter that looks ahead still holds."""
    graph.vpush(None)
    yield from _out(graph)
