"""Run a policy that rucksac exported, with NumPy alone: Policy("policy.npz")(obs) is the environment's action.

`obs` is one observation as the environment gives it, an array or a dict or tuple of them, or a batch of them: every
array with one more dimension in front. Where `about["inputs"]` lists noise, it must be drawn and given too.
"""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

erf = np.vectorize(math.erf, otypes=[np.float32])
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "silu": lambda x: x / (1 + np.exp(-np.maximum(x, -80))),
    "gelu": lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
}


class Policy:
    """The policy in a file; `about` says what it is: spaces, inputs, output, settings and versions."""

    def __init__(self, file: str) -> None:
        with np.load(file) as arrays:
            self.arrays = dict(arrays)
        self.about = json.loads(str(self.arrays.pop("rucksac")))

    def __call__(self, obs: Any, noise: Any = None) -> np.ndarray:
        """Return the action, or a batch of them, in the environment's units, shape and type."""
        a, output, rows, batch = self.arrays, self.about["output"], [], ()
        for number, part in enumerate(part for part in self.about["inputs"] if "path" in part):
            array = obs
            for key in part["path"]:
                array = array[key]
            array = np.asarray(array)
            batch = array.shape[: max(0, array.ndim - len(part["shape"]))]
            if (*batch, *part["shape"]) != array.shape:
                raise ValueError(f"{part['name']} has shape {array.shape}, but its last ones must be {part['shape']}")
            flat = array.reshape(math.prod(batch), -1)
            discrete = f"value{number}" in a
            rows.append(flat[:, a[f"index{number}"]] == a[f"value{number}"] if discrete else flat)
        x = np.concatenate(rows, -1, dtype=np.float32, casting="unsafe")
        if "spread" in a:
            x = ((x - a["mean"] - a["rest"]) / a["spread"]).clip(-10, 10)
        if "centre" in a:
            x = (x - a["centre"]) * a["gain"] + a["offset"]
        for number in range(self.about["layers"]):
            x = ACTIVATIONS[self.about["activation"]](x) if number else x
            x = x @ a[f"weight{number}"] + a[f"bias{number}"]
            if f"norm_bias{number}" in a:
                x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + np.float32(1e-5))
                x = x * a[f"norm_weight{number}"] + a[f"norm_bias{number}"]
        if self.about["sample"] == (noise is None):
            raise ValueError(f"this policy takes {'noise, see about' if noise is None else 'no noise'}")
        if noise is not None:
            noise = np.asarray(noise, np.float32).reshape(len(x), -1)
        if self.about["head"] == "choice":
            return a["options"][(x if noise is None else x + noise).argmax(-1)].reshape((*batch, *output["shape"]))
        if self.about["head"] == "gaussian":
            x, log_std = np.split(x, 2, -1)
            if "log_std_reach" in a:
                log_std = a["log_std_middle"] + a["log_std_reach"] * np.tanh(log_std)
            x = x + np.exp(log_std.clip(-20, 2)) * noise
        unit = np.tanh(x)
        if self.about["head"] == "noisy":
            unit = (unit + (a["std"] * noise).clip(-a["clip"], a["clip"])).clip(-1, 1)
        scaled = a["middle"] + unit * a["half_range"]
        scaled = (np.rint(scaled) if a["whole"] else scaled).clip(a["low"], a["high"])
        return scaled.astype(output["dtype"]).reshape((*batch, *output["shape"]))
