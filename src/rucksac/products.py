"""Which code multiplies the matrices of compiled code.

PyTorch leaves float32 products to MKL, which gives AMD's processors no AVX-512 code even where they have AVX-512.
oneDNN, which PyTorch brings along too, has a fast inner loop, but its library spends more time around it than a small
product takes. So compiled code calls that inner loop directly (`product.cpp`); docs/performance.md has what it gains.
"""

import copy
import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from rucksac import teams

KERNEL = Path(__file__).with_name("product.cpp")
_FACTOR, _SIZES = "const void*, " + ", ".join(["int64_t"] * 4), ", ".join(["int64_t"] * 5)
DECLARATION = f'extern "C" void rucksac_product(bool, {_FACTOR}, {_FACTOR}, void*, {_SIZES});\n'
_MATRICES, _STACKS = torch.ops.aten.mm.default, torch.ops.aten.bmm.default


def worthwhile() -> bool:
    """Return whether this processor has the registers that oneDNN's inner loop is best with."""
    onednn = torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled()  # type: ignore[no-untyped-call]
    return onednn and "AVX512" in torch.backends.cpu.get_cpu_capability()


def source() -> str:
    """Return the text that decides what the products of compiled code become."""
    return Path(__file__).read_text() + KERNEL.read_text()


def with_own_kernel(traced: GraphModule) -> GraphModule:
    """Return a traced graph whose products are done by `product.cpp` where they suit it."""
    product, result = _product(), copy.deepcopy(traced)
    for node in result.graph.nodes:
        if node.target in (_MATRICES, _STACKS) and _suits(*(of.meta["val"] for of in node.args)):
            node.target = product
    result.recompile()
    return result


def _suits(x: Tensor, w: Tensor) -> bool:
    m, k, n = *x.shape[-2:], w.shape[-1]
    if x.device.type != "cpu" or min(m, k) == 1:
        return False
    if n == 1:  # the compiler does well with vectors, but for sums down the columns
        return x.dtype == torch.float32 and x.stride()[-2] == 1 != x.stride()[-1]
    if x.dtype == torch.bfloat16:
        return torch.cpu._is_avx512_bf16_supported() and k % 2 == 0
    return x.dtype == torch.float32


@functools.cache
def _product() -> Any:
    """Return the operation x (m, k), w (k, n) -> x w, or on stacks of them, that becomes a call of the kernel."""
    from torch._inductor import ir
    from torch._inductor.lowering import register_lowering

    @torch.library.custom_op("rucksac::product", mutates_args=())
    def product(x: Tensor, w: Tensor) -> Tensor:
        return x @ w

    @product.register_fake
    def _(x: Tensor, w: Tensor) -> Tensor:
        return x.new_empty(*x.shape[:-1], w.shape[-1])

    class Product(ir.ExternKernelOut):
        def codegen(self, wrapper: Any) -> None:
            teams.bring_along(wrapper)
            if KERNEL not in wrapper.src_to_kernel:
                wrapper.define_kernel("rucksac_product", KERNEL.read_text(), gpu=False, cpp_definition=DECLARATION)
                wrapper.src_to_kernel[KERNEL] = "rucksac_product"
            x, w = inputs = list[Any](self.inputs)
            (*copies, m, k), n = x.get_size(), w.get_size()[-1]
            places = [_place(of) for of in inputs]
            if n == 1:  # x w = (w' x')', whose numbers lie the same way
                m, n = n, m
                places = [[*place, column, row] for *place, row, column in reversed(places)]
            half = str(x.get_dtype() == torch.bfloat16).lower()
            sizes = *(copies or [1]), m, k, n, torch.get_num_threads()
            arguments = half, *places[0], *places[1], f"{self.get_name()}.data_ptr()", *sizes
            wrapper.writeline(f"rucksac_product({', '.join(map(str, arguments))});")

    def _place(of: Any) -> list[Any]:
        """Return in C++ where a stack of matrices lies: memory, offset and the steps between copies, rows, columns."""
        offset = of.layout.offset if isinstance(of, ir.ReinterpretView) else 0
        return [f"{of.get_name()}.data_ptr()", offset, *[0, *of.get_stride()][-3:]]

    def _in_order(of: Any) -> bool:
        """Tell whether rows or columns lie one after the other; pairs of bfloat16 want columns of even length."""
        (rows, columns), (row, column) = of.get_size()[-2:], of.get_stride()[-2:]
        pairs = of.get_dtype() == torch.float32 or column % 2 == 0
        return bool((column == 1 and row >= columns) or (row == 1 and column >= rows and pairs))

    @register_lowering(torch.ops.rucksac.product.default)
    def _(x: Any, w: Any) -> Any:
        inputs = [ir.ExternKernel.realize_input(of) for of in (x, w)]
        inputs = [of if _in_order(of) else ir.ExternKernel.require_contiguous(of) for of in inputs]
        size = [*x.get_size()[:-1], w.get_size()[-1]]
        layout = ir.FixedLayout(device=x.get_device(), dtype=x.get_dtype(), size=size)
        return ir.TensorBox.create(Product(layout=layout, inputs=inputs))

    return torch.ops.rucksac.product.default
