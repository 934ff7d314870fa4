"""Pendulum-v1 as a camera of 48 x 48 pixels sees it. Nothing else is observed; speeds show in several frames only."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import AddRenderObservation, FrameStackObservation, TransformObservation

SIDE, FRAMES = 48, 3


def make() -> gymnasium.Env:
    """Return the environment; its observations are (48, 48, 3), uint8."""
    env = gymnasium.make("Pendulum-v1", render_mode="rgb_array")
    env.unwrapped.screen_dim = SIDE
    return AddRenderObservation(env)


def stacked() -> gymnasium.Env:
    """Return the same for libraries without stacks, the latest three frames side by side as channels: (48, 48, 9)."""
    env = FrameStackObservation(make(), FRAMES, padding_type="reset")
    return TransformObservation(
        env, lambda frames: np.concatenate(list(frames), -1), Box(0, 255, (SIDE, SIDE, 3 * FRAMES), np.uint8)
    )
