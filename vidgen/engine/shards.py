"""Reading a checkpoint's objects, each as its commit marker says: size and checksum."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    Metadata,
    MetadataIndex,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, LoadPlanner, ReadItem
from torch.distributed.checkpoint.storage import StorageReader
from torch.futures import Future

from vidgen.errors import CheckpointError, NotFoundInStore
from vidgen.storage.base import Store
from vidgen.storage.run_folder import COMMITTED

METADATA = ".metadata"  # DCP's name for which tensor lies where


def facts_of(data: bytes | memoryview) -> dict[str, Any]:
    """What the commit marker says of an object."""
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


class StoreReader(StorageReader):
    """Reads a committed checkpoint and believes nothing that its marker does not confirm.

    DCP pickles its metadata: none of its code is run, since a run folder may be a stranger's.
    Raises CheckpointError if the marker or the metadata is damaged or a file is not as it was.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._expected = _marked_files(store)
        sizes = {stat.key: stat.size for stat in store.list()}
        for name, facts in self._expected.items():
            if sizes.get(name) != facts["size"]:
                found = f"has {sizes[name]} bytes of" if name in sizes else "is missing, of"
                raise CheckpointError(
                    f"damaged checkpoint: {store.url}/{name} {found} {facts['size']}"
                )
        try:
            self.metadata = _MetadataUnpickler(io.BytesIO(self._read(METADATA))).load()
        except (pickle.UnpicklingError, EOFError, AttributeError, ValueError) as error:
            raise CheckpointError(f"damaged checkpoint: {store.url}/{METADATA}: {error}") from None

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return True

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """A reader is of one checkpoint for good."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        found: Metadata = self.metadata
        return found

    def set_up_storage_reader(
        self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any
    ) -> None:
        """All is known from the start."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        by_name: dict[str, list[ReadItem]] = {}
        for item in plan.items:
            by_name.setdefault(self._place(item).relative_path, []).append(item)
        for name, items in by_name.items():
            whole = memoryview(self._read(name))
            for item in items:
                place = self._place(item)
                data = whole[place.offset : place.offset + place.length]
                if item.type == LoadItemType.BYTE_IO:
                    planner.load_bytes(item, io.BytesIO(data))
                    continue
                stored = self._tensor(item.storage_index, data)
                for axis, (start, length) in enumerate(
                    zip(item.storage_offsets, item.lengths, strict=True)
                ):
                    stored = stored.narrow(axis, start, length)
                target = planner.resolve_tensor(item).detach()
                if target.shape != stored.shape:
                    raise CheckpointError(
                        f"{item.dest_index.fqn} is {list(stored.shape)} there, "
                        f"{list(target.shape)} here"
                    )
                target.copy_(stored)
                planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def _read(self, name: str) -> bytes:
        """A file that is as the marker says. Raises CheckpointError."""
        where, facts = f"{self.store.url}/{name}", self._expected.get(name)
        if facts is None:
            raise CheckpointError(f"damaged checkpoint: {self.store.url}/{COMMITTED} lacks {name}")
        try:
            data = self.store.read(name)
        except NotFoundInStore as error:
            raise CheckpointError(f"damaged checkpoint: {error.what}") from None
        if len(data) != facts["size"]:
            raise CheckpointError(
                f"damaged checkpoint: {where} has {len(data)} bytes of {facts['size']}"
            )
        if facts_of(data) != facts:
            raise CheckpointError(f"damaged checkpoint: the content of {where} has changed")
        return data

    def _place(self, item: ReadItem) -> _StorageInfo:
        place: _StorageInfo = self.metadata.storage_data[item.storage_index]
        return place

    def _tensor(self, index: MetadataIndex, data: memoryview) -> torch.Tensor:
        """The saved piece of a tensor, over the bytes as they were read."""
        facts = self.metadata.state_dict_metadata[index.fqn]
        assert isinstance(facts, TensorStorageMetadata)
        piece = next(c for c in facts.chunks if index.offset in (None, c.offsets))
        if not len(data):
            return torch.empty(piece.sizes, dtype=facts.properties.dtype)
        flat = torch.frombuffer(data, dtype=facts.properties.dtype)
        return flat.view(piece.sizes)


def _marked_files(store: Store) -> dict[str, dict[str, Any]]:
    """Files of a committed checkpoint, each with its size and checksum."""
    try:
        files = json.loads(store.read(COMMITTED))["files"]
        return {
            name: {"size": int(facts["size"]), "sha256": str(facts["sha256"])}
            for name, facts in files.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"damaged checkpoint: cannot read {store.url}/{COMMITTED}") from None


class _MetadataUnpickler(pickle.Unpickler):
    # fmt: off
    _ALLOWED = {
        "torch": [
            "Size", "float64", "float32", "float16", "bfloat16",
            "int64", "int32", "int16", "int8", "uint8", "bool",
        ],
        "torch.serialization": ["_get_layout"],
        "collections": ["OrderedDict"],
    }
    # fmt: on
    _MODULES = ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem")

    def find_class(self, module: str, name: str) -> Any:
        if name in self._ALLOWED.get(module, ()) or (module in self._MODULES and "." not in name):
            return super().find_class(module, name)
        raise CheckpointError(f"damaged checkpoint: its metadata asks for {module}.{name}")
