"""Whether the numbers of a run are in the range that its rewards can explain. Limits are rules of thumb."""

from collections.abc import Callable

from rucksac.training.record import Row

TOO_FAR = 10.0  # times the largest value that rewards and entropy can add up to
TOO_HOT = 100.0  # times the largest reward, per nat
GROWN = 10.0  # times its first value


def far_below(entropy: float, target: float) -> bool:
    """Return whether a policy of this entropy hardly tries anything new, both in nats."""
    return entropy < target - max(1.0, abs(target))


class Health:
    """Compares Q with what rewards and entropy can add up to, alpha with the largest reward, entropy with its target.

    `target_entropy` is None where alpha is fixed.
    """

    def __init__(self, gamma: float, target_entropy: float | None, largest_reward: Callable[[], float]) -> None:
        self._gamma, self.target_entropy, self._largest_reward = gamma, target_entropy, largest_reward
        self._first_alpha: float | None = None

    def problems(self, row: Row) -> dict[str, str]:
        """Return what is out of range in a row of metrics, in a sentence each, by metric."""
        found = {}
        reward, q, alpha, entropy = self._largest_reward(), row["q"], row["alpha"], row["entropy"]
        possible = (reward + alpha * abs(entropy)) / (1.0 - self._gamma)
        if abs(q) > TOO_FAR * possible:
            found["q"] = (
                f"Q is {q:.3g} at step {row['env_steps']:,}, but rewards and entropy so far allow at most "
                f"{possible:.3g}: the critics diverge; a smaller --lr or --tau, or more --critics, usually help."
            )
        self._first_alpha = self._first_alpha or alpha
        if alpha > max(TOO_HOT * reward, GROWN * self._first_alpha) and reward > 0.0:
            found["alpha"] = (
                f"alpha has grown to {alpha:.3g} at step {row['env_steps']:,}, more than {TOO_HOT:g} times the "
                f"largest reward ({reward:.3g}), as entropy {entropy:.2f} stays below its target; rewards "
                "hardly count any more, and a lower --target-entropy or a fixed --alpha usually helps."
            )
        target = self.target_entropy
        if target is not None and far_below(entropy, target):
            found["entropy"] = (
                f"entropy is {entropy:.2f} at step {row['env_steps']:,}, far below its target {target:.2f}: the "
                "policy hardly tries anything new."
            )
        return found
