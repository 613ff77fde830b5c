"""Where a run's folder is: its RayJob says so; without one, the platform's rule does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidgen.cloud.state import note

if TYPE_CHECKING:
    from vidgen.cloud.session import Session


def run_url(session: Session, name: str) -> str:
    """Run folder of a run, also after its RayJob is deleted. Raises ClusterError: no such run."""
    from vidgen.cloud.look import newest
    from vidgen.cloud.refusals import NotFound
    from vidgen.storage.open import open_store

    url = f"{session.platform.object_store.url}/runs/{name}"
    try:
        return note(newest(session.cluster, name), "run-url") or url
    except NotFound:
        store = open_store(url, session.storage)
        if next(iter(store.list()), None) is None:
            raise
        return url
