"""All the mathematics of Soft Actor-Critic, one function per equation.

Tensors in, tensors out: no networks, no state, no randomness. Equation numbers refer to

- [1] Haarnoja et al. 2018, *Soft Actor-Critic: Off-Policy Maximum Entropy Deep RL*, arXiv 1801.01290
- [2] Haarnoja et al. 2018, *Soft Actor-Critic Algorithms and Applications*, arXiv 1812.05905

| symbol | shape | meaning |
|---|---|---|
| `q` | (N, B), (N, B, K) or (B, K) | action values of N critics, B states, K candidate actions, in reward units |
| `log_prob` | (B, K) | log pi(a|s) of each candidate, in nats, actions in the cube [-1, 1]^A |
| `weight` | (B, K) | how much each candidate counts; sums to 1 over K |
| `alpha` | () | temperature, reward units per nat |
| `discount` | (B,) | gamma^n where the return goes on, 0 after a termination |
| `u`, `mean`, `log_std` | (B, A) | the action before squashing and the Gaussian it came from |

The policy hands over K weighted candidates per state: one sample of weight 1 for continuous actions, every
action with its probability for discrete ones. The expectations below are therefore the same lines for both.
Wrong ranks raise `ValueError`: a stray dimension would broadcast silently and still train, badly.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

LOG_2 = math.log(2.0)
LOG_SQRT_2_PI = 0.5 * math.log(2.0 * math.pi)


def squash_correction(u: Tensor) -> Tensor:
    """Return log(1 - tanh(u)^2), the log-slope of the squashing, element by element ([1] App. C, Eq. 21).

    Written from `u` itself as 2 (log 2 - u - softplus(-2u)): exact for large |u|, where 1 - tanh(u)^2 underflows.
    """
    return 2.0 * (LOG_2 - u - softplus(-2.0 * u))


def squashed_gaussian(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return the action tanh(mean + std * noise) (B, A) and its log-density (B,) ([1] Eq. 11 and 21).

    `noise` is standard normal, (B, A). The density is that of the action in the cube [-1, 1]^A.
    """
    _ranks(mean=(mean, 2), log_std=(log_std, 2), noise=(noise, 2))
    u = mean + log_std.exp() * noise
    log_density = -0.5 * noise.square() - log_std - LOG_SQRT_2_PI
    return u.tanh(), (log_density - squash_correction(u)).sum(-1)


def soft_value(q: Tensor, log_prob: Tensor, weight: Tensor, alpha: Tensor) -> Tensor:
    """Return V(s) = E_a[Q(s, a) - alpha log pi(a|s)], shape (B,) ([1] Eq. 3, [2] Eq. 3)."""
    _ranks(q=(q, 2), log_prob=(log_prob, 2), weight=(weight, 2), alpha=(alpha, 0))
    return (weight * (q - alpha * log_prob)).sum(-1)


def td_target(reward: Tensor, discount: Tensor, next_value: Tensor) -> Tensor:
    """Return y = r + discount V(s'), shape (B,) ([1] Eq. 8, [2] Eq. 2)."""
    _ranks(reward=(reward, 1), discount=(discount, 1), next_value=(next_value, 1))
    return reward + discount * next_value


def critic_loss(q: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return J_Q = sum over critics of E[(Q(s, a) - y)^2 / 2] ([1] Eq. 7, [2] Eq. 5); q (N, B), target, weight (B,)."""
    _ranks(q=(q, 2), target=(target, 1), weight=(weight, 1))
    return 0.5 * ((q - target).square() if weight is None else weight * (q - target).square()).mean(-1).sum()


def quantile_target(reward: Tensor, discount: Tensor, quantiles: Tensor, entropy_cost: Tensor) -> Tensor:
    """Return r + discount (z - alpha log pi) for M quantiles z, (B, M) (arXiv 2005.04269, Eq. 12).

    `entropy_cost` is alpha log pi of the candidate, (B, 1).
    """
    _ranks(reward=(reward, 1), discount=(discount, 1), quantiles=(quantiles, 2), entropy_cost=(entropy_cost, 2))
    return reward.unsqueeze(-1) + discount.unsqueeze(-1) * (quantiles - entropy_cost)


def quantile_loss(quantiles: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the quantile Huber loss of N critics, () (arXiv 2005.04269, Eq. 13): quantiles (N, B, M), target (B, L).

    Each critic's loss is the mean over the batch and all pairs of quantile and target; the sum is over critics. Each
    transition counts `weight` times, (B,), if that is given.
    """
    _ranks(quantiles=(quantiles, 3), target=(target, 2), weight=(weight, 1))
    count = quantiles.shape[-1]
    share = (torch.arange(count, device=quantiles.device, dtype=quantiles.dtype) + 0.5) / count
    error = target.unsqueeze(-2) - quantiles.unsqueeze(-1)
    size = error.abs()
    huber = torch.where(size > 1.0, size - 0.5, 0.5 * error.square())
    slope = (share.unsqueeze(-1) - (error < 0.0).to(error.dtype)).abs()
    if weight is not None:
        huber = weight.view(-1, 1, 1) * huber
    return (slope * huber).mean((1, 2, 3)).sum()


def categorical_target(
    reward: Tensor, discount: Tensor, probabilities: Tensor, weight: Tensor, entropy_cost: Tensor, bound: float
) -> Tensor:
    """Return the distribution of r + discount (z - alpha log pi) over M values from -bound to bound, (B, M).

    The values are at equal distances. `probabilities` (B, K, M) are those of the next state's return z for each
    candidate, which counts by `weight` (B, K) and whose alpha log pi is `entropy_cost` (B, K). What lies between two
    values is shared by both, what lies beyond the ends is put there (arXiv 1707.06887, Eq. 7).
    """
    _ranks(reward=(reward, 1), discount=(discount, 1), probabilities=(probabilities, 3), weight=(weight, 2))
    _ranks(entropy_cost=(entropy_cost, 2))
    last = probabilities.shape[-1] - 1
    number = torch.arange(last + 1, device=probabilities.device, dtype=probabilities.dtype)
    first = (reward.unsqueeze(-1) + discount.unsqueeze(-1) * (-bound - entropy_cost) + bound) * (last / (2.0 * bound))
    line = torch.stack([first, discount.unsqueeze(-1).expand_as(first)], -1)  # where value 0 goes, and the slope
    moved = line @ torch.stack([torch.ones_like(number), number])  # a product, which compilers keep for what follows
    distance = (moved.clamp(0.0, last).unsqueeze(-1) - number).abs()
    shares = (weight.unsqueeze(-1) * probabilities).unsqueeze(-1) * (1.0 - distance).clamp(min=0.0)
    return shares.flatten(1, 2).sum(1)


def categorical_loss(log_probabilities: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the cross-entropy of N critics, (): log-probabilities (N, B, M), target (B, M) (arXiv 1707.06887).

    Each critic's loss is the mean over the batch; the sum is over critics. Each transition counts `weight` times, (B,),
    if that is given.
    """
    _ranks(log_probabilities=(log_probabilities, 3), target=(target, 2), weight=(weight, 1))
    if weight is not None:
        log_probabilities = weight.unsqueeze(-1) * log_probabilities
    return -(target * log_probabilities).sum(-1).mean(-1).sum()


def value_loss(value: Tensor, soft_value: Tensor) -> Tensor:
    """Return J_V = E[(V(s) - E_a[Q(s, a) - alpha log pi(a|s)])^2 / 2] ([1] Eq. 5); both (B,)."""
    _ranks(value=(value, 1), soft_value=(soft_value, 1))
    return 0.5 * (value - soft_value).square().mean()


def policy_loss(q: Tensor, log_prob: Tensor, weight: Tensor, alpha: Tensor) -> Tensor:
    """Return J_pi = E_s E_a[alpha log pi(a|s) - Q(s, a)] ([1] Eq. 12, [2] Eq. 9): minus the mean soft value."""
    return -soft_value(q, log_prob, weight, alpha).mean()


def entropy(log_prob: Tensor, weight: Tensor) -> Tensor:
    """Return the mean entropy estimate E_s E_a[-log pi(a|s)], in nats, shape ()."""
    _ranks(log_prob=(log_prob, 2), weight=(weight, 2))
    return -(weight * log_prob).sum(-1).mean()


def temperature_loss(log_alpha: Tensor, policy_entropy: Tensor, target_entropy: float) -> Tensor:
    """Return J(alpha) = E[-alpha (log pi(a|s) + target)] = alpha (H - target) ([2] Eq. 18); all shape ()."""
    _ranks(log_alpha=(log_alpha, 0), policy_entropy=(policy_entropy, 0))
    return log_alpha.exp() * (policy_entropy - target_entropy)


def log_temperature_loss(log_alpha: Tensor, policy_entropy: Tensor, target_entropy: float) -> Tensor:
    """Return log alpha (H - target), whose slope does not shrink with alpha (rail-berkeley/softlearning, of [2])."""
    _ranks(log_alpha=(log_alpha, 0), policy_entropy=(policy_entropy, 0))
    return log_alpha * (policy_entropy - target_entropy)


def smallest(q: Tensor) -> Tensor:
    """Return the smallest answer of the N critics: (N, B, ...) -> (B, ...) ([1] Sec. 4.2, after arXiv 1802.09477)."""
    return q.amin(0)


def first(q: Tensor) -> Tensor:
    """Return the first critic's answer: (N, B, ...) -> (B, ...) (arXiv 1802.09477, Alg. 1)."""
    return q[0]


def mean(q: Tensor) -> Tensor:
    """Return the mean answer of the critics: (N, B, ...) -> (B, ...) (arXiv 2101.05982, Alg. 1)."""
    return q.mean(0)


def polyak(target: Tensor, online: Tensor, tau: Tensor) -> Tensor:
    """Return (1 - tau) target + tau online, any shape ([1] Alg. 1, last line); tau = 1 copies, tau = 0 keeps."""
    return torch.lerp(target, online, tau)


def moments(gradient: Tensor, mean: Tensor, square: Tensor, beta_1: float, beta_2: float) -> tuple[Tensor, Tensor]:
    """Return Adam's running means of the gradient and of its square, any shape (arXiv 1412.6980, Alg. 1)."""
    return beta_1 * mean + (1.0 - beta_1) * gradient, beta_2 * square + (1.0 - beta_2) * gradient.square()


def adam(mean: Tensor, square: Tensor, step_size: Tensor, epsilon: Tensor) -> Tensor:
    """Return Adam's change of a parameter (arXiv 1412.6980, Alg. 1 in the order of its Sec. 2).

    `step_size` and `epsilon`, shape (), come from `adam_scalars`, which holds the bias corrections.
    """
    return -(step_size * mean / (square.sqrt() + epsilon))


def adam_scalars(count: int, lr: float, beta_1: float, beta_2: float, epsilon: float) -> dict[str, float]:
    """Return Adam's step size and epsilon at update number `count` (from 1), bias corrections folded in (Sec. 2)."""
    root = math.sqrt(1.0 - beta_2**count)
    return {"step_size": lr * root / (1.0 - beta_1**count), "epsilon": epsilon * root}


def unit_columns(weight: Tensor) -> Tensor:
    """Return a matrix (..., in, out) whose columns, the weights of each output, have length 1."""
    return weight / weight.square().sum(-2, keepdim=True).sqrt().clamp(min=1e-8)


def unit_scales(*rows: Tensor) -> list[Tensor]:
    """Return rows (..., H) that belong together, times one factor, so that their squares' sum has the mean 1 over H."""
    total = torch.stack([each.square() for each in rows]).sum(0).mean(-1, keepdim=True)
    return [each * (total + 1e-8).rsqrt() for each in rows]


def unit_rows(x: Tensor) -> Tensor:
    """Return rows (..., H) brought to length 1; those much shorter than 1e-8 stay near zero."""
    return x * (x.square().sum(-1, keepdim=True) + 1e-16).rsqrt()


def _ranks(**tensors: tuple[Tensor | None, int]) -> None:
    for name, (tensor, rank) in tensors.items():
        if tensor is not None and tensor.dim() != rank:
            raise ValueError(f"{name} must have {rank} dimensions, not {tensor.dim()}: shape {tuple(tensor.shape)}")
