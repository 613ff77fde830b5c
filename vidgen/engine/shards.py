"""torch.distributed.checkpoint's file layer over a Store: whole objects with size and checksum.

Tensors lie in the objects as their plain bytes; the metadata says what lies where. DCP's own layer
makes a zip archive of each, which at hundreds of small tensors takes the interpreter from training
for longer than everything else about a save.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from torch.distributed.checkpoint.filesystem import (
    FileSystemBase,
    FileSystemReader,
    FileSystemWriter,
    _StorageInfo,
)
from torch.distributed.checkpoint.metadata import (
    Metadata,
    MetadataIndex,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadItemType,
    LoadPlan,
    LoadPlanner,
    ReadItem,
    SavePlan,
    SavePlanner,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from vidgen.errors import CheckpointError, NotFoundInStore
from vidgen.storage.base import Store
from vidgen.storage.run_folder import COMMITTED

METADATA = ".metadata"  # DCP's name for which tensor lies where
_OBJECT_BYTES = 256 * 2**20  # of one object, about; what a save needs beside the copied state
_ALIGN = 64  # bytes


class _Kept(io.BytesIO):
    """DCP closes a stream before it can be sent; this one stays readable."""

    def close(self) -> None:
        """Garbage collection frees the buffer."""


class StoreFiles(FileSystemBase):
    """DCP's file system over a Store: whole objects, each with size and checksum.

    Args:
        store: of the checkpoint.
        expected: files and their facts from the commit marker, when reading.
    """

    def __init__(self, store: Store, expected: dict[str, dict[str, Any]] | None = None) -> None:
        self.store = store
        self.expected = expected or {}
        self.written: dict[str, dict[str, Any]] = {}

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Generator[io.IOBase]:
        name = PurePosixPath(path).name.removesuffix(".tmp")
        if mode == "rb":
            yield io.BytesIO(self.read(name))
            return
        stream = _Kept()
        yield stream
        self.write(name, stream.getvalue())

    def write(self, name: str, data: bytes | bytearray) -> None:
        self.store.write(name, data)
        self.written[name] = _facts(data)

    def read(self, name: str) -> bytes:
        """A file that is as the marker says. Raises CheckpointError."""
        facts = self.expected.get(name)
        if facts is None:
            raise CheckpointError(f"damaged checkpoint: {self.store.url}/{COMMITTED} lacks {name}")
        try:
            data = self.store.read(name)
        except NotFoundInStore as error:
            raise CheckpointError(f"damaged checkpoint: {error.what}") from None
        if len(data) != facts["size"]:
            raise CheckpointError(
                f"damaged checkpoint: {self.store.url}/{name} has {len(data)} bytes "
                f"of {facts['size']}"
            )
        if _facts(data) != facts:
            raise CheckpointError(
                f"damaged checkpoint: the content of {self.store.url}/{name} has changed"
            )
        return data

    def rename(self, path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
        """A Store's write is whole or not at all: files have their final names at once."""

    def concat_path(self, path: str | os.PathLike[str], suffix: str) -> str:
        return str(PurePosixPath(path) / suffix)

    def init_path(self, path: str | os.PathLike[str]) -> str:
        return str(path)

    def mkdir(self, path: str | os.PathLike[str]) -> None:
        """Stores need no folders."""

    def exists(self, path: str | os.PathLike[str]) -> bool:
        """A checkpoint's folder is empty before it is written."""
        return False

    def rm_file(self, path: str | os.PathLike[str]) -> None:
        self.store.delete(PurePosixPath(path).name)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        return True


def _facts(data: bytes | bytearray) -> dict[str, Any]:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


class StoreWriter(FileSystemWriter):
    """Writes shards into a Store; `files.written` has the facts for the commit marker."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.url, sync_files=False)
        self.path = store.url
        self.files = StoreFiles(store)
        self.fs = self.files  # type: ignore[assignment]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        results: list[WriteResult] = []
        parts: list[memoryview] = []  # of an object
        number = offset = 0
        for item in plan.items:
            name = f"{plan.storage_data.prefix}{number}.distcp"
            data = _plain_bytes(planner, item)
            place = _StorageInfo(name, offset, len(data))
            results.append(
                WriteResult(index=item.index, size_in_bytes=len(data), storage_data=place)
            )
            parts.append(data)
            offset += _aligned(len(data))
            if offset >= _OBJECT_BYTES:
                self.files.write(name, _joined(parts))
                parts.clear()
                number, offset = number + 1, 0
        if parts:
            self.files.write(name, _joined(parts))
        return _done(results)


def _aligned(length: int) -> int:
    return length + -length % _ALIGN


def _joined(parts: list[memoryview]) -> bytearray:
    """One after the other, with zeros between. Copied by numpy, which leaves the interpreter to
    training meanwhile; bytes.join would hold it."""
    whole = bytearray(sum(_aligned(len(part)) for part in parts))
    view, at = np.frombuffer(whole, np.uint8), 0
    for part in parts:
        view[at : at + len(part)] = np.frombuffer(part, np.uint8)
        at += _aligned(len(part))
    return whole


def _plain_bytes(planner: SavePlanner, item: WriteItem) -> memoryview:
    data = planner.resolve_data(item)
    if item.type == WriteItemType.BYTE_IO:
        assert isinstance(data, io.BytesIO)
        return data.getbuffer()
    assert isinstance(data, torch.Tensor)
    flat = data.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return flat.numpy().data


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


class StoreReader(FileSystemReader):
    """Reads a committed checkpoint and believes nothing that its marker does not confirm.

    DCP pickles its metadata: none of its code is run, since a run folder may be a stranger's.
    Raises CheckpointError if the marker or the metadata is damaged or a file is not as it was.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store.url)
        files = self.files = StoreFiles(store, expected=_marked_files(store))
        self.fs = files  # type: ignore[assignment]
        sizes = {stat.key: stat.size for stat in store.list()}
        for name, facts in files.expected.items():
            if sizes.get(name) != facts["size"]:
                found = f"has {sizes[name]} bytes of" if name in sizes else "is missing, of"
                raise CheckpointError(
                    f"damaged checkpoint: {store.url}/{name} {found} {facts['size']}"
                )
        try:
            self.metadata = _MetadataUnpickler(io.BytesIO(files.read(METADATA))).load()
        except (pickle.UnpicklingError, EOFError, AttributeError, ValueError) as error:
            raise CheckpointError(f"damaged checkpoint: {store.url}/{METADATA}: {error}") from None

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        found: Metadata = self.metadata
        return found

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        by_name: dict[str, list[ReadItem]] = {}
        for item in plan.items:
            by_name.setdefault(self._place(item).relative_path, []).append(item)
        for name, items in by_name.items():
            whole = memoryview(self.files.read(name))
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
        return _done(None)

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
