"""What each rank writes of a checkpoint, and where: planned once, since only values change.

torch.distributed.checkpoint's planner decides which rank writes which piece of which tensor. It
takes the interpreter from training for tens of milliseconds, and says the same at every save of a
run. Its own file layer makes a zip archive of each tensor, which costs even more: here tensors lie
in the objects as their plain bytes, and the metadata says what lies where.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import CURRENT_DCP_VERSION, _StorageInfo
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.planner import WriteItem
from torch.distributed.tensor import DTensor

from vidgen.engine.distributed import Ranks
from vidgen.engine.state import Tree

_OBJECT_BYTES = 256 * 2**20  # of one object, about
_ALIGN = 64  # bytes

Path = tuple[str | int, ...]  # of a leaf: the keys to it


@dataclass(frozen=True, kw_only=True)
class Span:
    """An object: the bytes of a rank's copy from `start` to `end`."""

    name: str
    start: int
    end: int


class Layout:
    """A rank's part of every checkpoint of trees that look like the first.

    Args:
        tree: of this rank. Every rank makes its layout at the same time.

    Attributes:
        spans: objects that this rank writes.
        metadata: which tensor lies where, for the readers of torch.distributed.checkpoint.
    """

    def __init__(self, tree: Tree, ranks: Ranks) -> None:
        leaves = dict(_leaves(tree))
        self._looks = _looks(leaves)
        planner = DefaultSavePlanner()
        planner.set_up_planner(tree, is_coordinator=ranks.lead)
        # Each rank makes the whole plan: an error is then every rank's, and none waits for it.
        plans, metadata = planner.create_global_plan(ranks.gather(planner.create_local_plan()))
        items = planner.finish_plan(plans[ranks.rank]).items
        data = [_data(planner, item) for item in items]
        places = _places(f"__{ranks.rank}_", [part.nbytes for part in data])
        self.spans = list(_spans(places))
        self._copy = torch.zeros(  # between tensors, too
            self.spans[-1].end if self.spans else 0,
            dtype=torch.uint8,
            pin_memory=ranks.device.type == "cuda",
        )
        self._targets: list[tuple[Path, Tensor]] = []
        stored: dict[MetadataIndex, _StorageInfo] = {}
        for item, part, place in zip(items, data, places, strict=True):
            stored[item.index] = place.info
            room = self._copy[place.start : place.start + part.nbytes]
            if isinstance(part, Tensor):
                path = planner.mappings[item.index.fqn]
                self._targets.append((path, room.view(part.dtype).view(part.shape)))
            else:  # an empty container, as it will always be
                room.copy_(torch.frombuffer(bytearray(part), dtype=torch.uint8))
        metadata.storage_data = {k: v for each in ranks.gather(stored) for k, v in each.items()}
        metadata.version = CURRENT_DCP_VERSION
        self.metadata = pickle.dumps(metadata)
        self._copied: torch.cuda.Event | None = None

    def fits(self, tree: Tree) -> bool:
        """Whether a tree has the tensors of the first, as to names, shapes and kinds."""
        return _looks(dict(_leaves(tree))) == self._looks

    def copy(self, tree: Tree) -> None:
        """Take the values of this rank's part; on a GPU as soon as it comes to that.

        What was copied before must have been written.
        """
        leaves = dict(_leaves(tree))
        with torch.no_grad():
            for path, target in self._targets:
                target.copy_(_local(leaves[path]), non_blocking=True)
        if self._copy.is_pinned():
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def copied(self, span: Span) -> memoryview:
        """An object's bytes; waits for the GPU."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._copy.numpy().data[span.start : span.end]


@dataclass(frozen=True, kw_only=True)
class _Place:
    start: int  # in the copy
    info: _StorageInfo  # object, and where in it


def _places(prefix: str, sizes: list[int]) -> list[_Place]:
    """One after the other, in objects of bounded size."""
    found = []
    number = begin = at = 0
    for size in sizes:
        if at - begin >= _OBJECT_BYTES:
            number, begin = number + 1, at
        info = _StorageInfo(f"{prefix}{number}.distcp", at - begin, size)
        found.append(_Place(start=at, info=info))
        at += size + -size % _ALIGN
    return found


def _spans(places: list[_Place]) -> Iterator[Span]:
    ends: dict[str, tuple[int, int]] = {}
    for place in places:
        start, _ = ends.get(place.info.relative_path, (place.start, 0))
        ends[place.info.relative_path] = start, place.start + place.info.length
    for name, (start, end) in ends.items():
        yield Span(name=name, start=start, end=end)


def _leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Tensors, and containers that hold nothing, by the keys to them."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _leaves(value, (*path, key))
    else:
        yield path, tree


def _looks(leaves: dict[Path, Any]) -> dict[Path, Any]:
    return {
        path: (leaf.shape, leaf.dtype, getattr(leaf, "placements", None))
        if isinstance(leaf, Tensor)
        else leaf
        for path, leaf in leaves.items()
    }


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _data(planner: DefaultSavePlanner, item: WriteItem) -> Tensor | memoryview:
    data = planner.resolve_data(item)
    if isinstance(data, io.BytesIO):
        return data.getbuffer()
    return _local(data)
