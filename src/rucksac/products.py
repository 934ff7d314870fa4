"""Which library multiplies the large float32 matrices of compiled code.

PyTorch leaves these products to MKL, which gives AMD's processors no AVX-512 code even where they have AVX-512; oneDNN,
which PyTorch brings along too, does. There a large product takes half as long (docs/performance.md).
"""

import copy
import functools
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from rucksac.resources import processor

ENOUGH = 128**3  # multiply-adds from which oneDNN gains more than its call costs
_MATRICES, _STACKS = torch.ops.aten.mm.default, torch.ops.aten.bmm.default


def onednn_is_faster() -> bool:
    """Return whether this processor is one that MKL leaves without its widest registers."""
    wide = "AVX512" in torch.backends.cpu.get_cpu_capability()
    return wide and processor().startswith("AMD") and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def by_onednn(traced: GraphModule) -> GraphModule:
    """Return a traced graph with its large float32 products given to oneDNN."""
    product, result = _product(), copy.deepcopy(traced)
    for node in [node for node in result.graph.nodes if _is_large(node)]:
        with result.graph.inserting_before(node):
            node.replace_all_uses_with(_replacement(node, product))
        result.graph.erase_node(node)
    result.recompile()
    return result


def _is_large(node: Any) -> bool:
    if node.target not in (_MATRICES, _STACKS):
        return False
    left, right = (of.meta["val"] for of in node.args)
    by_mkl = left.dtype == torch.float32 and left.device.type == "cpu"
    return by_mkl and left.shape[-2] * left.shape[-1] * right.shape[-1] >= ENOUGH


def _replacement(node: Any, product: Any) -> Node:
    call = node.graph.call_function
    if node.target is _MATRICES:
        return call(product, node.args)
    pairs = [tuple(call(torch.select, (of, 0, row)) for of in node.args) for row in range(len(node.meta["val"]))]
    return call(torch.stack, ([call(product, pair) for pair in pairs],))


@functools.cache
def _product() -> Any:
    """Return the operation x (m, k), w (k, n) -> x w that the compiler turns into one call of oneDNN.

    The compiler's own such operation takes only a frozen w.
    """
    from torch._inductor.ir import FixedLayout, TensorBox
    from torch._inductor.lowering import permute, register_lowering
    from torch._inductor.mkldnn_ir import LinearUnary

    @torch.library.custom_op("rucksac::product", mutates_args=())
    def product(x: Tensor, w: Tensor) -> Tensor:
        return x @ w

    @product.register_fake
    def _(x: Tensor, w: Tensor) -> Tensor:
        return x.new_empty(x.shape[0], w.shape[1])

    @register_lowering(torch.ops.rucksac.product.default)
    def _(x: Any, w: Any) -> Any:  # x in order, w in whatever order it lies
        x = LinearUnary.require_contiguous(LinearUnary.realize_input(x))
        w = LinearUnary.realize_input(permute(w, [1, 0]))
        layout = FixedLayout(device=x.get_device(), dtype=x.get_dtype(), size=[x.get_size()[0], w.get_size()[0]])
        return TensorBox.create(LinearUnary(layout=layout, inputs=[x, w], constant_args=[None, "none", [-1], ""]))

    return torch.ops.rucksac.product.default
