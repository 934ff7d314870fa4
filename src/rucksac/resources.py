"""What this process may use of the machine: processors and memory, by its affinity and its control group's limits."""

import os
import platform
from pathlib import Path

CONTROL_GROUP = Path("/sys/fs/cgroup")


def available_threads() -> int:
    """Return how many processors this process may use, at least 1."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (CONTROL_GROUP / "cpu.max").read_text().split()
        return max(1, min(processors, int(quota) // int(period)))
    except (OSError, ValueError):  # no control group, or no limit in it
        return processors


def runs_at_once(threads: int) -> int:
    """Return how many runs of so many threads each this machine has processors for, at least 1."""
    return max(1, available_threads() // threads)


def processor() -> str:
    """Return the name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def available_memory() -> int | None:
    """Return the bytes of memory that are free for this process, None where the system does not tell."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return None
    try:
        limit = int((CONTROL_GROUP / "memory.max").read_text())
        return min(free, limit - int((CONTROL_GROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        return free
