"""One tree of user-facing errors.

Every error says what is wrong, where, what was expected and what to do next. The command line
prints one line for a VidgenError and exits with its `exit_code`; any other exception is a bug in
vidgen and shows its traceback.
"""

from __future__ import annotations


class VidgenError(Exception):
    """A failure the user can act on.

    Args:
        what: what is wrong, naming the value seen and the place (file, line, key, step).
        expected: what would have been right, when that is not obvious.
        fix: the next thing to do.
    """

    exit_code = 1

    def __init__(self, what: str, *, expected: str | None = None, fix: str | None = None) -> None:
        self.what, self.expected, self.fix = what, expected, fix
        super().__init__(what, expected, fix)

    def __str__(self) -> str:
        parts = [self.what.rstrip(".")]
        if self.expected:
            parts.append(f"expected {self.expected.rstrip('.')}")
        text = "; ".join(parts)
        return f"{text}. {self.fix}" if self.fix else text

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (Ray workers, decoder pools): keep every field.
        return _rebuild, (type(self), self.what, self.expected, self.fix)


def _rebuild(
    kind: type[VidgenError], what: str, expected: str | None, fix: str | None
) -> VidgenError:
    return kind(what, expected=expected, fix=fix)


class ConfigError(VidgenError):
    """A config file, recipe name, key or value is wrong (exit code 2)."""

    exit_code = 2


class StorageError(VidgenError):
    """A folder or object store cannot be read or written."""


class StorageFull(StorageError):
    """There is no room left to write."""


class NotFoundInStore(StorageError):
    """The named file, object or bucket does not exist."""


class AccessDenied(StorageError):
    """The store refused the credentials or permissions."""


class DataError(VidgenError):
    """A data set, manifest or video cannot be used."""


class ModelError(VidgenError):
    """A model cannot be built or cannot do what was asked of it."""


class TrainingError(VidgenError):
    """Training had to stop."""


class Diverged(TrainingError):
    """A loss or gradient is no longer a finite number."""


class CheckpointError(VidgenError):
    """A checkpoint is missing, incomplete or damaged."""


class EvaluationError(VidgenError):
    """A score cannot be computed or compared."""


class ClusterError(VidgenError):
    """The Kubernetes cluster or the platform on it refused or lacks something."""


class Interrupted(VidgenError):
    """The user interrupted the run after its state was saved (exit code 130)."""

    exit_code = 130


def did_you_mean(wrong: str, choices: object) -> str:
    """' (did you mean 'x'?)' for the closest choice, or an empty string."""
    from difflib import get_close_matches

    near = get_close_matches(wrong, [str(c) for c in choices], n=1, cutoff=0.55)  # type: ignore[attr-defined]
    return f" (did you mean '{near[0]}'?)" if near else ""
