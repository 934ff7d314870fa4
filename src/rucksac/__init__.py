"""Soft Actor-Critic: train, evaluate, watch and load continuous-control agents.

Names are imported when first used, so `import rucksac` itself is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rucksac.agent import Agent
    from rucksac.config import Config
    from rucksac.errors import TrainingStopped, UsageError
    from rucksac.exporting.export import export
    from rucksac.importing.sb3 import from_sb3
    from rucksac.tools.plot import plot
    from rucksac.training.callbacks import STOP, Event
    from rucksac.training.evaluate import evaluate
    from rucksac.training.loading import load_agent as load
    from rucksac.training.minari_data import export_replay
    from rucksac.training.train import resume, train
    from rucksac.training.watch import watch

__version__ = "0.2.0"
__all__ = [
    "STOP",
    "Agent",
    "Config",
    "Event",
    "TrainingStopped",
    "UsageError",
    "evaluate",
    "export",
    "export_replay",
    "from_sb3",
    "load",
    "plot",
    "resume",
    "train",
    "watch",
]

_HOMES = {
    "STOP": ("rucksac.training.callbacks", "STOP"),
    "Agent": ("rucksac.agent", "Agent"),
    "Config": ("rucksac.config", "Config"),
    "Event": ("rucksac.training.callbacks", "Event"),
    "TrainingStopped": ("rucksac.errors", "TrainingStopped"),
    "UsageError": ("rucksac.errors", "UsageError"),
    "evaluate": ("rucksac.training.evaluate", "evaluate"),
    "export": ("rucksac.exporting.export", "export"),
    "export_replay": ("rucksac.training.minari_data", "export_replay"),
    "from_sb3": ("rucksac.importing.sb3", "from_sb3"),
    "load": ("rucksac.training.loading", "load_agent"),
    "plot": ("rucksac.tools.plot", "plot"),
    "resume": ("rucksac.training.train", "resume"),
    "train": ("rucksac.training.train", "train"),
    "watch": ("rucksac.training.watch", "watch"),
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rucksac' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)
