"""What a run needs of the machine: processors and memory."""

from rucksac.config import Config
from rucksac.environments.spaces import Spaces
from rucksac.errors import UsageError
from rucksac.experience.columns import bytes_for
from rucksac.experience.priorities import SumTree
from rucksac.resources import available_memory, available_threads
from rucksac.training.parts import columns_of

WORTH_A_THREAD = 1_500_000  # multiply-adds; measured in docs/performance.md


def threads_for(config: Config) -> int:
    """Return 1 for networks so small that handing work to a second thread takes longer than the work."""
    largest_product = config.batch_size * max(config.hidden) ** 2
    return available_threads() if largest_product > WORTH_A_THREAD else 1


def replay_bytes(config: Config, spaces: Spaces) -> int:
    """Return the size of a run's replay memory when it is full."""
    rows = bytes_for(config.buffer_size, columns_of(spaces, config.frame_stack))
    return rows + (SumTree.bytes_for(config.buffer_size) if config.priorities else 0)


def require_memory(config: Config, spaces: Spaces) -> None:
    """Raise `UsageError` when this machine cannot hold the replay memory of a run."""
    needed, free = replay_bytes(config, spaces), available_memory()
    if free is not None and needed > free:
        fitting = int(config.buffer_size * free / needed / 2)
        raise UsageError(
            f"a replay memory of {config.buffer_size:,} rows takes {needed / 2**20:,.0f} MiB, but only "
            f"{free / 2**20:,.0f} MiB are free; use --buffer-size {fitting} or less"
        )


def require_memory_at_once(config: Config, spaces: Spaces, runs: int) -> None:
    """Raise `UsageError` when it cannot hold those of so many runs at once."""
    free = available_memory()
    needed = replay_bytes(config, spaces) * runs
    if free is not None and needed > free:
        raise UsageError(
            f"{runs} runs at once take {needed / 2**20:,.0f} MiB of replay memory, but only "
            f"{free / 2**20:,.0f} MiB are free; use a smaller --buffer-size or more --threads per run"
        )
