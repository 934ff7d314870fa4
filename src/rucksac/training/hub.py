"""Agents on the Hugging Face Hub: a model repository there that holds the files of `Agent.save`."""

from pathlib import Path

from rucksac.agent import MANIFEST, TENSORS
from rucksac.errors import UsageError
from rucksac.text import printable
from rucksac.training.checkpoint_layout import in_short

HUB = "hf://"


def downloaded(address: str) -> Path:
    """Return the folder of the agent at hf://OWNER/NAME or hf://OWNER/NAME@REVISION, downloaded if it is not here yet.

    Raises `UsageError` when that cannot be done.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UsageError(f'{HUB} needs the package huggingface_hub; pip install "rucksac[hub]"') from error
    name, _, revision = address.removeprefix(HUB).partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=[MANIFEST, TENSORS]))
    except (OSError, ValueError) as error:  # what the package raises for names, answers and connections
        raise UsageError(f"{printable(address)} cannot be had from the hub ({printable(in_short(error))})") from error
