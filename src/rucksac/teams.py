"""Which threads run the loops of compiled code: a team of its own (`team.cpp`) in place of those of GCC's library."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("team.cpp")


def source() -> str:
    """Return the text that decides who runs the loops."""
    return Path(__file__).read_text() + SOURCE.read_text()


def bring_along(wrapper: Any) -> None:
    """Make the team part of the code that is being generated."""
    if SOURCE not in wrapper.src_to_kernel:
        wrapper.define_kernel("rucksac_team", SOURCE.read_text(), gpu=False, cpp_definition="")
        wrapper.src_to_kernel[SOURCE] = "rucksac_team"


@contextmanager
def own_team() -> Iterator[None]:
    """Let PyTorch's compiler generate code for the team: a region of its own for each parallel loop.

    It would put several loops into one region, with barriers between them. Then a thread could not do the part of
    another, because it would have to be at two places at once.
    """
    from torch._inductor.codegen import cpp
    from torch._inductor.virtualized import V

    class OneLoopEach(cpp.WorkSharing):
        def parallel(self, threads: int) -> None:
            bring_along(V.graph.wrapper_code)
            self.close()  # type: ignore[no-untyped-call]
            super().parallel(threads)  # type: ignore[no-untyped-call]

        def single(self) -> bool:
            self.close()  # type: ignore[no-untyped-call]
            return False

    before = cpp.WorkSharing
    cpp.WorkSharing = OneLoopEach  # type: ignore[misc]
    try:
        yield
    finally:
        cpp.WorkSharing = before  # type: ignore[misc]
