"""The state-value network of the first paper: it answers for the next states instead of the critics ([1] Sec. 4.2).

[1] is Haarnoja et al. 2018, arXiv 1801.01290.
"""

from torch import Tensor, nn
from torch.func import functional_call, grad

from rucksac.algorithm import equations


class StateValue:
    """V(s), learned from the critics; `network` maps (B, O) to (B, 1)."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self, parameters: dict[str, Tensor], obs: Tensor) -> Tensor:
        """Return the values of states, (B,)."""
        return functional_call(self.network, parameters, (obs,)).squeeze(-1)

    def gradient(self, parameters: dict[str, Tensor], obs: Tensor, soft_value: Tensor) -> dict[str, Tensor]:
        """Return the gradient of the loss against what the critics say of the states, (B,) ([1] Eq. 5 and 6)."""

        def loss(parameters: dict[str, Tensor]) -> Tensor:
            return equations.value_loss(self(parameters, obs), soft_value)

        return grad(loss)(parameters)
