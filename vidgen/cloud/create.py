"""One create, at most one job: repeated, raced and interrupted submits end in the same object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidgen.cloud.names import SPEC_HASH
from vidgen.errors import ClusterError

if TYPE_CHECKING:
    from vidgen.cloud.cluster import Cluster


def submit_once(cluster: Cluster, run: str, manifest: dict[str, Any]) -> bool:
    """Create the RayJob of a run's first submission; whether it is new.

    A run that was resumed goes on under another RayJob's name. Its first name may be free again,
    and a RayJob made under it would write to the same run folder at the same time.

    Raises:
        ClusterError: another run has the name, or the run was resumed.
    """
    from vidgen.cloud.look import attempts_of
    from vidgen.cloud.refusals import Forbidden

    try:
        attempts = attempts_of(cluster, run)
    except Forbidden:
        attempts = []  # a user who may only create: the name alone has to tell
    newest = attempts[-1]["metadata"]["name"] if attempts else manifest["metadata"]["name"]
    if newest == manifest["metadata"]["name"]:
        return create_once(cluster, manifest)[1]
    if any(_hash(job) == _hash(manifest) for job in attempts):
        return False
    raise ClusterError(
        f"run '{run}' was resumed: it is RayJob {newest} now",
        fix=f"Choose another --name, or go on with it: vidgen-cloud resume {run}",
    )


def create_once(cluster: Cluster, manifest: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Create the RayJob, or find the same one already there.

    Returns (object, whether it is new). A lost answer, a second submit at the same moment and a
    submit killed after its request all look alike: the name is taken by an object with our hash.

    Raises:
        ClusterError: another job has the name.
    """
    from vidgen.cloud.cluster import RAYJOBS
    from vidgen.cloud.refusals import AlreadyExists, NotFound

    name = manifest["metadata"]["name"]
    for _ in range(3):
        try:
            return cluster.create(RAYJOBS, manifest), True
        except AlreadyExists:
            try:
                found = cluster.get(RAYJOBS, name)
            except NotFound:
                continue  # deleted between the two requests: the name is free again
        meta = found["metadata"]
        if "deletionTimestamp" in meta:
            raise ClusterError(
                f"RayJob '{name}' is being deleted", fix="Try again in a few seconds."
            )
        if _hash(found) == _hash(manifest):
            return found, False
        raise ClusterError(
            f"another run is called '{name}' (created {meta.get('creationTimestamp')})",
            fix=f"Choose another --name, or look at it: vidgen-cloud status {name}",
        )
    raise ClusterError(f"RayJob '{name}' is created and deleted by someone at the same time")


def _hash(rayjob: dict[str, Any]) -> str | None:
    found: str | None = (rayjob["metadata"].get("annotations") or {}).get(SPEC_HASH)
    return found
