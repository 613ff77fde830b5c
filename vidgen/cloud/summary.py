"""A run's state, progress and cost as plain values, and as lines to read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from vidgen.cloud.progress import Progress
from vidgen.cloud.state import Snapshot, State, note, seconds_held
from vidgen.cloud.why import Obj


def summary(
    snapshot: Snapshot, state: State, now: datetime, progress: Progress | None, no_progress: str
) -> dict[str, Any]:
    """What `status --json` prints. Keys stay; values may be None."""
    job = snapshot.rayjob
    held = seconds_held(job, now)
    jobs = [*snapshot.earlier, job]
    costs = [_cost(each, now) for each in jobs]
    return {
        "run": state.run,
        "rayjob": state.rayjob,
        "phase": state.phase,
        "state": state.text,
        "terminal": state.terminal,
        "reasons": state.reasons,
        "recipe": note(job, "recipe") or None,
        "pool": note(job, "pool") or None,
        "workers": int(note(job, "workers", "0")) or None,
        "gpus": int(note(job, "gpus", "0")),
        "pods_ready": state.ready,
        "pods_wanted": state.wanted,
        "failed_attempts": state.failed_attempts,
        "submission": int(note(job, "attempt", "1")),
        "created": job["metadata"].get("creationTimestamp"),
        "held_s": round(held),
        # Of all submissions that are still on the cluster.
        "gpu_hours": round(sum(_gpu_hours(each, now) for each in jobs), 2),
        "cost": round(sum(filter(None, costs)), 2) if any(c is not None for c in costs) else None,
        "currency": note(job, "currency") or None,
        "run_url": note(job, "run-url") or None,
        "step": progress.step if progress else None,
        "steps": int(note(job, "steps", "0")) or None,
        "loss": progress.loss if progress else None,
        "steps_per_s": progress.steps_per_s if progress else None,
        "seconds_left": progress.seconds_left if progress and not state.terminal else None,
        "no_progress": no_progress or None,
    }


def lines(values: dict[str, Any]) -> list[tuple[str, str]]:
    """The same for people, (what, value)."""
    found = [("run", values["run"]), ("state", values["state"])]
    found += [("why", reason) for reason in values["reasons"]]
    if values["pool"]:
        gpus = f", {values['gpus']} GPUs" if values["gpus"] else ""
        found.append(("pool", f"{values['pool']}, {values['workers']} workers{gpus}"))
    found.append(("progress", _progress_line(values)))
    if values["held_s"] or values["gpu_hours"]:
        cost = f", about {values['cost']:.2f} {values['currency']}" if values["cost"] else ""
        retried = " (this attempt)" if values["failed_attempts"] else ""
        found.append(
            (
                "used",
                f"{duration(values['held_s'])}{retried}, {values['gpu_hours']:g} GPU-hours{cost}",
            )
        )
    if values["submission"] > 1:
        found.append(("resumed", f"{values['submission'] - 1} times; RayJob {values['rayjob']}"))
    if values["run_url"]:
        found.append(("run folder", values["run_url"]))
    return found


def _gpu_hours(rayjob: Obj, now: datetime) -> float:
    return int(note(rayjob, "gpus", "0")) * seconds_held(rayjob, now) / 3600


def _cost(rayjob: Obj, now: datetime) -> float | None:
    price = note(rayjob, "price-per-hour")
    return float(price) * seconds_held(rayjob, now) / 3600 if price else None


def duration(seconds: float) -> str:
    """'3 d 4 h', '2 h 5 min', '40 s'."""
    left = round(seconds)
    units = [("d", 86400), ("h", 3600), ("min", 60), ("s", 1)]
    parts = []
    for name, size in units:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"


def _progress_line(values: dict[str, Any]) -> str:
    if values["step"] is None:
        return str(values["no_progress"] or "unknown")
    steps = values["steps"]
    share = f" of {steps} ({100 * values['step'] / steps:.0f} %)" if steps else ""
    text = f"step {values['step']}{share}"
    if values["loss"] is not None:
        text += f", loss {values['loss']:.4g}"
    if values["steps_per_s"]:
        text += f", {values['steps_per_s']:.3g} steps/s"
    if values["seconds_left"]:
        text += f", about {duration(values['seconds_left'])} left"
    return text
