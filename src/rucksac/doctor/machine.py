"""What this machine offers a run: versions, compiler, processors, memory, ways of drawing, the cache."""

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator

import imageio_ffmpeg
import torch

from rucksac.compilation import cache_folder, cached_bytes, compiler
from rucksac.doctor.findings import Finding
from rucksac.resources import available_memory, available_threads, processor
from rucksac.training.display import has_display
from rucksac.training.folder import versions

DRAW_SOMETHING = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco/>")
renderer = mujoco.Renderer(model, 16, 16)
renderer.update_scene(mujoco.MjData(model))
renderer.render()
"""
BACK_ENDS = ("egl", "osmesa", "glfw")  # the first two draw without a display
SECONDS_TO_DRAW = 30.0
LITTLE_MEMORY = 2**30


def examine_machine() -> Iterator[Finding]:
    """Find out what there is."""
    yield _versions()
    yield _compiler()
    yield _processors()
    yield _memory()
    yield _graphics_card()
    yield _display()
    yield _mujoco_drawing()
    yield _video()
    yield _cache()


def _versions() -> Finding:
    found = versions()
    return Finding("versions", ", ".join(f"{name} {version}" for name, version in found.items()), found)


def _compiler() -> Finding:
    path = compiler()
    if path is None:
        return Finding(
            "compiler",
            "no C++ compiler: the gradient step runs uncompiled, several times slower",
            {"path": None},
            "advice",
            "install g++ or clang++, or set CXX to the path of one",
        )
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(
            "compiler",
            f"{path} does not run ({error}): the gradient step runs uncompiled, several times slower",
            {"path": path},
            "advice",
            "correct its installation, or set CXX to the path of another",
        )
    version = said.splitlines()[0] if said else ""
    return Finding("compiler", f"{path}: {version}", {"path": path, "version": version})


def _processors() -> Finding:
    threads, cpus = available_threads(), os.cpu_count()
    instructions = torch.backends.cpu.get_cpu_capability()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    busy = f"; {load:.1f} busy on average in the last minute, which slows all timing here" if load >= threads else ""
    return Finding(
        "processors",
        f"{threads} of {cpus} may be used: {processor()}, {instructions}{busy}",
        {"available": threads, "all": cpus, "name": processor(), "instructions": instructions, "load": load},
    )


def _memory() -> Finding:
    free = available_memory()
    if free is None:
        return Finding("memory", "this system does not tell how much is free", {"free_bytes": None})
    values = {"free_bytes": free}
    says = f"{free / 2**20:,.0f} MiB free"
    if free < LITTLE_MEMORY:
        return Finding("memory", says, values, "advice", "end other programs; PyTorch alone takes some 300 MiB")
    return Finding("memory", says, values)


def _graphics_card() -> Finding:
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    says = f"{', '.join(names)}; --device cuda learns there" if names else "none that this PyTorch can use"
    return Finding("graphics card", f"{says}; none is needed, as training runs on the processor", {"names": names})


def _display() -> Finding:
    found = has_display()
    return Finding("display", "there is one" if found else "none: rucksac watch writes videos", {"found": found})


def _mujoco_drawing() -> Finding:
    if not importlib.util.find_spec("mujoco"):
        return Finding("drawing MuJoCo", "MuJoCo is not installed", {"installed": False})
    trials = {
        name: subprocess.Popen(
            [sys.executable, "-c", DRAW_SOMETHING],
            env={**os.environ, "MUJOCO_GL": name},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in BACK_ENDS
    }
    works = {name: _succeeds(trial) for name, trial in trials.items()}
    working = [name for name in BACK_ENDS if works[name]]
    others = [name for name in BACK_ENDS if not works[name]]
    says = f"works with {', '.join(working) or 'nothing'}" + (f", not with {', '.join(others)}" if others else "")
    if working:
        return Finding("drawing MuJoCo", says, {"installed": True, **works})
    return Finding(
        "drawing MuJoCo",
        f"{says}: training works, rucksac watch does not",
        {"installed": True, **works},
        "advice",
        "install a software renderer, such as the system packages libegl1 and libosmesa6",
    )


def _succeeds(trial: subprocess.Popen[bytes]) -> bool:
    with trial:
        try:
            return trial.wait(SECONDS_TO_DRAW) == 0
        except subprocess.TimeoutExpired:
            trial.kill()
            return False


def _video() -> Finding:
    try:
        path = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        return Finding(
            "ffmpeg",
            "not found: rucksac watch cannot write videos",
            {"path": None},
            "advice",
            "install the system package ffmpeg, or pip install imageio-ffmpeg anew",
        )
    return Finding("ffmpeg", path, {"path": path})


def _cache() -> Finding:
    folder, size = cache_folder(), cached_bytes()
    return Finding(
        "compiled steps",
        f"{size / 2**20:.1f} MiB in {folder}; rucksac cache --clear removes them",
        {"folder": str(folder), "bytes": size},
    )
