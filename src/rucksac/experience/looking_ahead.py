"""Returns over several steps: the rewards of transitions in a row, then the value of the state after the last of them.

The rewards between are those of the policy that acted then, and nothing corrects for that; they are summed without the
policy's entropy in the states between, so only the value of the last state has some (B is the batch size).
"""

import numpy as np

from rucksac.experience.kinds import Fold, Transform
from rucksac.experience.replay import TRANSITION, Replay


def look_ahead(steps: int) -> Transform:
    """Return what makes a fold of single transitions one of up to `steps` in a row.

    They are fewer where an episode ends or is not known further. A discount is the product of those of the transitions
    passed: gamma^k, also after a truncation, whose last state is the one after it, and 0 after a termination.
    """

    def transform(replay: Replay, rows: np.ndarray, fold: Fold) -> Fold:
        passed = [rows]
        while len(passed) < steps:
            passed.append(replay.following(passed[-1]))
        path = np.stack(passed)  # (steps, B)
        goes_on = replay.kind.take(path[1:]) & TRANSITION  # the last state of an episode has a row for itself
        discount = fold["discount"](replay, path, None)
        weight = np.ones_like(discount)  # of each transition's reward: 0 from the end on
        np.multiply.accumulate(np.where(goes_on, discount[:-1], 0.0), 0, out=weight[1:])
        last = np.count_nonzero(weight, 0) - 1, np.arange(rows.size)
        return {
            **fold,
            "reward": lambda _, __, out: np.sum(weight * fold["reward"](replay, path, None), 0, out=out),
            "discount": lambda _, __, out: np.multiply(weight[last], discount[last], out=out),
            "next_obs": lambda _, __, out: fold["next_obs"](replay, path[last], out),
        }

    return transform
