"""metrics.jsonl as TensorBoard event files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidgen.storage.run_folder import RunFolder


class EventCopier:
    """Writes rows of metrics.jsonl that were not written before; every number becomes a curve."""

    def __init__(self, run: RunFolder, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._run, self._rows = run, 0
        folder.mkdir(parents=True, exist_ok=True)
        self._writer: Any = EventFileWriter(str(folder))

    def copy(self) -> int:
        """Copy new rows; returns how many."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        new = list(self._run.metrics())[self._rows :]
        for row in new:
            numbers = {
                key: float(value)
                for key, value in row.items()
                if isinstance(value, int | float) and key not in ("step", "time")
            }
            values = [Summary.Value(tag=key, simple_value=value) for key, value in numbers.items()]
            event = Event(
                wall_time=row["time"], step=int(row["step"]), summary=Summary(value=values)
            )
            self._writer.add_event(event)
        self._writer.flush()
        self._rows += len(new)
        return len(new)

    def close(self) -> None:
        self._writer.close()
