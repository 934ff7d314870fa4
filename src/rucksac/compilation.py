"""From a function over tensors to native code: traced once, compiled ahead of time, kept for the next run.

The compiled file is native code and lives in the user's own cache folder, never beside a checkpoint. Its name is a
digest of the traced graph, the library and machine it was made for and the thread count, so a file is only ever used
for exactly what it was made from.
"""

import getpass
import hashlib
import logging
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rucksac import products, teams
from rucksac.errors import UsageError
from rucksac.resources import processor

try:
    import fcntl
except ImportError:  # not on Windows; there two processes may build the same file, one after the other replaces it
    fcntl = None  # type: ignore[assignment]

logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns of a graphics card that is not there
LEAST_PER_THREAD = 128  # numbers; with the compiler's own 512 the critics' losses stay on one thread
TensorFunction = Callable[..., Sequence[Tensor]]
Compiled = Callable[[list[Tensor]], Sequence[Tensor]]


class CompilerMissing(Exception):
    """Native code could not be made; the message says why."""


def cache_folder() -> Path:
    """Return the folder for compiled steps: $RUCKSAC_CACHE, or rucksac/ in the user's cache folder.

    Raises `UsageError` when the user has no home folder and neither variable is set.
    """
    own = os.environ.get("RUCKSAC_CACHE")
    try:
        if own:
            return Path(own).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rucksac"
    except RuntimeError as error:
        raise UsageError(
            "there is no home folder to keep compiled steps in; name a folder with RUCKSAC_CACHE"
        ) from error


def cached_bytes() -> int:
    """Return the size of all compiled steps."""
    return sum(file.stat().st_size for file in cache_folder().glob("*.pt2"))


def clear_cache() -> int:
    """Remove all compiled steps and return how many bytes that freed; a run under way keeps what it has loaded."""
    freed = cached_bytes()
    for pattern in ("*.pt2", "*.lock"):
        for file in cache_folder().glob(pattern):
            file.unlink()
    return freed


def compile_ahead(function: TensorFunction, arguments: list[Tensor], only_cached: bool = False) -> Compiled:
    """Compile `function(*arguments)`, which may change arguments in place, to native code.

    Only shapes, types and strides of `arguments` matter; their values are left alone. With `only_cached`
    what was not compiled before is not compiled now. Raises `CompilerMissing`.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    examples = [argument.clone() for argument in arguments]
    try:
        graph = make_fx(function)(*examples)
    except RuntimeError as error:  # a person's own network may decide by the values it sees
        raise CompilerMissing(f"it cannot be traced: {_first_line(error)}") from error
    try:
        file = cache_folder() / f"{_digest(graph, examples)}.pt2"
    except UsageError as error:
        raise CompilerMissing(str(error)) from error
    try:
        loader = _load(file)
    except (RuntimeError, OSError):  # not there yet, or damaged
        if only_cached:
            raise CompilerMissing("it has not been compiled yet") from None
        if not compiler():
            raise CompilerMissing("no C++ compiler was found; install g++ or clang++, or set CXX") from None
        try:
            with _alone(file):
                loader = _load_or_build(file, graph, examples)
        except Exception as error:  # the compiler stack raises almost anything; training goes on without it
            raise CompilerMissing(f"compiling failed: {_first_line(error)}") from error
    return loader.boxed_run


def compiler() -> str | None:
    """Return the path of the C++ compiler: $CXX, g++ or clang++; None where there is none."""
    named = os.environ.get("CXX")
    return shutil.which(named) if named else shutil.which("g++") or shutil.which("clang++")


@contextmanager
def computing(threads: int) -> Iterator[None]:
    """Set threads, full float32 products and flushing of subnormals for a run, and restore them afterwards.

    Subnormal optimiser moments cost many times the cycles of normal ones, hence the flushing.
    """
    before = torch.get_num_threads(), torch.get_float32_matmul_precision(), _flushes_subnormals()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])
        torch.set_flush_denormal(before[2])


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Let one process at a time build `file`; the lock ends with the process that holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _load(file: Path) -> Any:
    """Load native code without asking the compiler about this machine, which takes a second: the digest has it."""
    if not file.is_file():
        raise FileNotFoundError(file)
    one_thread_at_a_time, runners, device_of_the_tensors = False, 1, -1
    return torch._C._aoti.AOTIModelPackageLoader(
        str(file), "model", one_thread_at_a_time, runners, device_of_the_tensors
    )


def _load_or_build(file: Path, graph: torch.fx.GraphModule, examples: list[Tensor]) -> Any:
    try:
        return _load(file)  # another process may have built it while this one waited
    except (RuntimeError, OSError):
        return _build(graph, examples, file)


def _build(graph: torch.fx.GraphModule, examples: list[Tensor], file: Path) -> Any:
    if not products.worthwhile():
        return _package(graph, examples, file)
    try:
        return _package(products.with_own_kernel(graph), examples, file)
    except Exception as error:  # the compiler's inside changes from one PyTorch to the next
        why_not = _first_line(error)
    loader = _package(graph, examples, file)  # where this fails too, the compiler is to blame
    warnings.warn(f"products are left to PyTorch's own library, slower: {why_not}", stacklevel=2)
    return loader


def _package(graph: torch.fx.GraphModule, examples: list[Tensor], file: Path) -> Any:
    with (
        tempfile.TemporaryDirectory(dir=file.parent, prefix="building-") as folder,
        warnings.catch_warnings(),
        _compilers_files_in(folder),
    ):
        warnings.simplefilter("ignore")
        exported = torch.export.export(graph, tuple(examples), strict=False)
        with torch._inductor.config.patch(_compiler_settings(graph)), teams.own_team(), _unread_buffers_stay():
            built = torch._inductor.aoti_compile_and_package(exported, package_path=str(Path(folder) / "step.pt2"))
        loader = _load(Path(built))
        os.replace(built, file)  # atomic: two processes may build the same file at once
    return loader


@contextmanager
def _compilers_files_in(folder: str) -> Iterator[None]:
    """Let the compiler keep its own files in `folder` where the user has no name for the folder it would make."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # no entry in the list of users, as in a container
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", folder)
    try:
        yield
    finally:
        if os.environ.get("TORCHINDUCTOR_CACHE_DIR") == folder:
            del os.environ["TORCHINDUCTOR_CACHE_DIR"]


@contextmanager
def _unread_buffers_stay() -> Iterator[None]:
    """Let PyTorch's compiler go on where a loop does not read a buffer by the name that it was written by.

    It asks how the buffer is read, to see whether it may lie on the stack, and fails where there is no answer
    (pytorch/pytorch#196570). No answer now means that the buffer stays where it is.
    """
    from torch._inductor.loop_body import LoopBody

    asked = getattr(LoopBody, "get_read_expr", None)
    if asked is None:  # a PyTorch that asks in another way
        yield
        return

    def answered(body: LoopBody, name: str) -> Any:
        try:
            return asked(body, name)
        except KeyError:
            return None

    LoopBody.get_read_expr = answered  # type: ignore[method-assign]
    try:
        yield
    finally:
        LoopBody.get_read_expr = asked  # type: ignore[method-assign]


def _compiler_settings(graph: torch.fx.GraphModule) -> dict[str, Any]:
    """Return what is set in PyTorch's compiler.

    It tries out each vector extension on a small program, which takes five seconds the first time. A C++ compiler new
    enough for PyTorch's headers knows them all but AMX. A mask of dropout is a hash of some 25 operations, and the
    compiler would do up to 30 anew in every loop that reads them; where there are masks, it keeps what takes 20.
    """
    known = None if torch.cpu._is_amx_tile_supported() else True
    settings: dict[str, Any] = {"cpp.min_chunk_size": LEAST_PER_THREAD, "cpp.vec_isa_ok": known}
    if any(node.target is torch.ops.aten.bitwise_xor.Tensor for node in graph.graph.nodes):
        settings["realize_opcount_threshold"] = 20
    return settings


def _digest(graph: torch.fx.GraphModule, examples: list[Tensor]) -> str:
    facts = [
        graph.code,
        [(tuple(t.shape), t.stride(), str(t.dtype), str(t.device)) for t in examples],
        torch.__version__,
        torch.get_num_threads(),
        torch.backends.cpu.get_cpu_capability(),
        platform.platform(),
        processor(),
        products.worthwhile() and products.source(),
        teams.source(),
        _compiler_settings(graph),
        os.environ.get("CXX", ""),
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _flushes_subnormals() -> bool:
    return bool((torch.tensor([1e-39]) * 1.0).item() == 0.0)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
