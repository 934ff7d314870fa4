"""Where several runs are trained: on this machine, or on a Ray cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

from rucksac.training.cluster import check_address, connected
from rucksac.training.jobs import Place, ThisMachine


@contextmanager
def place_of(ray: str | None, threads: int) -> Iterator[Place]:
    """Give the place with this address, this machine without one; runs have so many threads, or fewer.

    Raises `UsageError` when there is no such cluster, or none of its nodes has so many processors.
    """
    if ray is None:
        yield ThisMachine()
        return
    check_address(ray)
    with connected(ray, "run", 1, threads):
        from rucksac.training.ray_jobs import RayCluster

        yield RayCluster()
