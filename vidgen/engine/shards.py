"""torch.distributed.checkpoint's file layer over a Store: whole objects with size and checksum."""

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

from torch.distributed.checkpoint.filesystem import (
    FileSystemBase,
    FileSystemReader,
    FileSystemWriter,
)
from torch.distributed.checkpoint.metadata import Metadata

from vidgen.errors import CheckpointError, NotFoundInStore
from vidgen.storage.base import Store
from vidgen.storage.run_folder import COMMITTED

METADATA = ".metadata"  # DCP's name for which tensor lies where


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
        self.store.write(name, stream.getvalue())
        self.written[name] = _facts(stream.getbuffer())

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


def _facts(data: bytes | memoryview) -> dict[str, Any]:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


class StoreWriter(FileSystemWriter):
    """Writes shards into a Store; `files.written` has the facts for the commit marker."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.url, sync_files=False)
        self.path = store.url
        self.files = StoreFiles(store)
        self.fs = self.files  # type: ignore[assignment]


class StoreReader(FileSystemReader):
    """Reads a committed checkpoint and believes nothing that its marker does not confirm.

    DCP pickles its metadata: none of its code is run, since a run folder may be a stranger's.
    Raises CheckpointError if the marker or the metadata is damaged or a file is not as it was.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store.url)
        files = StoreFiles(store, expected=_marked_files(store))
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
