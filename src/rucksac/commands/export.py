"""The command that hands a trained policy to a robot or an app."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from rucksac.commands.looking import Run
from rucksac.commands.parsing import Command
from rucksac.errors import UsageError
from rucksac.text import printable, size

if TYPE_CHECKING:
    from rucksac.exporting.export import Exported


@dataclass(frozen=True)
class Export(Command):
    """Write the trained policy to a file that works without rucksac: ONNX, PyTorch, NumPy or C.

    It maps raw observations to the environment's actions, and is compared with the agent on random observations.
    """

    takes: ClassVar[str] = "RUN"
    run_folder: Run
    """Folder of the run."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=("-o",))] = None
    """File to write, which ends in .onnx, .pt2 (PyTorch), .npz (NumPy) or .h (C), or a folder (NumPy with its
    runner)."""
    sample: bool = False
    """Take noise as one more input and sample actions by it, in place of the likeliest ones."""
    int8: bool = False
    """Keep the weights between hidden layers in 8 bits; for .onnx."""
    best: bool = False
    """Take the agent with the best evaluation instead of the newest one."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Export; the exit code is 1 when the file differs from the agent by more than rounding."""
        from rucksac.exporting.export import export

        if self.output is None:
            raise UsageError("export needs --output: a file ending in .onnx, .pt2, .npz or .h, or a folder")
        done = export(self.run_folder, self.output, sample=self.sample, int8=self.int8, best=self.best)
        print(json.dumps(_plain(done)) if self.json else _told(done))
        return 1 if done.suspicious else 0


def _plain(done: "Exported") -> dict[str, Any]:
    return {
        "files": [str(file) for file in done.files],
        "bytes": done.bytes,
        "inputs": done.inputs,
        "output": done.output,
        "check": done.check and done.check._asdict(),
        "unchecked": done.unchecked,
        "about": done.about,
    }


def _told(done: "Exported") -> str:
    file, *others = done.files
    lines = [f"{file}: {size(done.bytes)}" + "".join(f", with {other} to run it" for other in others)]
    arrays = [*(("input", each) for each in done.inputs), ("output", done.output)]
    batch = () if file.suffix == ".h" else ("batch",)
    for what, each in arrays:
        shape = " x ".join(map(str, (*batch, *each["shape"]))) or "one number"
        drawn = f", {each['drawn_from']} numbers" if "drawn_from" in each else ""
        lines.append(f"{what:8}{printable(each['name']):16}{each['dtype']:10}{shape}{drawn}")
    lines.append(_checked(done))
    return "\n".join(lines)


def _checked(done: "Exported") -> str:
    found = done.check
    if not found:
        return f"not checked: {done.unchecked}"
    if found.largest is None:
        text = f"the agent's action for {found.equal:,} of {found.observations:,} random observations"
    else:
        text = f"at most {found.largest:.1e} of the action range from the agent, {found.observations:,} observations"
    if done.rounded:
        text += f" ({done.rounded})"
    return f"checked: {text}" + ("; that is more than rounding, so try it before use" if done.suspicious else "")
