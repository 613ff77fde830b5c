"""One create, at most one job: repeated, raced and interrupted submits end in the same object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidgen.cloud.names import SPEC_HASH
from vidgen.errors import ClusterError

if TYPE_CHECKING:
    from vidgen.cloud.cluster import Cluster


def create_once(cluster: Cluster, manifest: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Create the RayJob, or find the same one already there.

    Returns (object, whether it is new). A lost answer, a second submit at the same moment and a
    submit killed after its request all look alike: the name is taken by an object with our hash.

    Raises:
        ClusterError: another job has the name.
    """
    from vidgen.cloud.cluster import RAYJOBS, AlreadyExists, NotFound

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
        if (
            meta.get("annotations", {}).get(SPEC_HASH)
            == manifest["metadata"]["annotations"][SPEC_HASH]
        ):
            return found, False
        raise ClusterError(
            f"another run is called '{name}' (created {meta.get('creationTimestamp')})",
            fix=f"Choose another --name, or look at it: vidgen-cloud status {name}",
        )
    raise ClusterError(f"RayJob '{name}' is created and deleted by someone at the same time")
