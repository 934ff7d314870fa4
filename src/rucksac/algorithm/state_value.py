"""The state-value network of the first paper: it answers for the next states instead of the critics ([1] Sec. 4.2).

[1] is Haarnoja et al. 2018, arXiv 1801.01290.
"""

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.func import functional_call, grad

from rucksac.algorithm import equations

if TYPE_CHECKING:
    from rucksac.algorithm.update import Learner, Parameters


class StateValue:
    """V(s), learned from the critics; `network` maps (B, O) to (B, 1)."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self, parameters: "Parameters", obs: Tensor) -> Tensor:
        """Return the values of states, (B,)."""
        return functional_call(self.network, parameters, (obs,)).squeeze(-1)

    def learn(
        self, learner: "Learner", obs: Tensor, soft_value: Tensor, step_size: Tensor, epsilon: Tensor
    ) -> "Learner":
        """Return the learner after one step towards what the critics say of the states ([1] Eq. 5 and 6)."""

        def loss(parameters: "Parameters") -> Tensor:
            return equations.value_loss(self(parameters, obs), soft_value)

        return learner.descend(grad(loss)(learner.value), step_size, epsilon)
