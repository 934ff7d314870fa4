import dataclasses
import math
from pathlib import Path

import pytest

from rucksac.algorithm.recipes import RECIPES
from rucksac.config import DECLARED, DEFAULTS, Config, with_settings
from rucksac.errors import UsageError


def test_every_setting_has_a_rule():
    assert set(DECLARED) == {field.name for field in dataclasses.fields(Config)}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("steps", 0), ("steps", 1.5), ("seed", -1), ("batch_size", 0), ("hidden", ()), ("hidden", (0,)),
        ("lr", -1.0), ("lr", math.nan), ("lr", math.inf), ("gamma", 1.0), ("gamma", -0.1), ("gamma", math.nan),
        ("tau", 0.0), ("tau", 1.1), ("alpha", 0.0), ("alpha", "auto"), ("alpha", math.nan), ("utd", 0.0),
        ("utd", math.nan), ("target_entropy", math.inf), ("activation", "sigmoid"), ("precision", "fp8"),
        ("threads", 0), ("critics", True), ("warmup", -5), ("eval_every", 0), ("initial_alpha", 0.0),
        ("learning_starts", -1), ("update_every", 0), ("deterministic_policy", "yes"), ("exploration_noise", -0.1),
        ("target_noise", math.nan), ("improvement_noise", -1), ("noise_clip", 0.0), ("policy_q", "largest"),
        ("value_network", 1), ("target_policy", None), ("policy_delay", 0), ("policy_lr", 0.0), ("reward_scale", 0.0),
        ("demonstrations", ""), ("demonstrations", 3), ("demonstration_share", 0.0), ("demonstration_share", 1),
        ("offline_steps", -1),
    ],
)  # fmt: skip
def test_values_without_meaning_are_refused_naming_flag_value_and_rule(setting, value):
    with pytest.raises(UsageError, match=rf"--{setting.replace('_', '-')} is .* but must be"):
        Config(**{setting: value})


def test_settings_that_contradict_each_other_are_refused_with_the_way_out():
    with pytest.raises(UsageError, match="--warmup 256 or more, --batch-size 100 or less, or --warmup 0"):
        Config(warmup=100)
    with pytest.raises(UsageError, match="--learning-starts 256 or more, --batch-size 40 or less"):
        Config(learning_starts=40)
    assert Config(learning_starts=0, warmup=100).first_update == 0
    assert Config(warmup=300).first_update == 300
    with pytest.raises(UsageError, match="--buffer-size 514"):
        Config(buffer_size=300)
    with pytest.raises(UsageError, match="--demonstration-share 0.001 of a batch of 256 is 0 rows.* leave 1"):
        Config(demonstrations="runs/old", demonstration_share=0.001)
    with pytest.raises(UsageError, match="--demonstration-share 0.9 of a batch of 4 is 4 rows.* leave 1"):
        Config(demonstrations="runs/old", demonstration_share=0.9, batch_size=4, warmup=0)
    with pytest.raises(UsageError, match="--critic-hidden is 64 32, but .* give equal widths, or --blocks none"):
        Config(blocks="pre-norm", critic_hidden=(64, 32))


def test_the_warm_up_depends_on_the_steps_until_the_run_begins():
    for steps, warmup in ((100, 256), (5_000, 500), (50_000, 5_000), (10**6, 5_000)):
        settled = Config(steps=steps).settled()
        assert settled.warmup == settled.first_update == Config(steps=steps).first_update == warmup
        assert with_settings(settled, {"steps": 10**7}).warmup == warmup
    assert Config(warmup=0).settled().warmup == 0


def test_demonstrations_are_found_from_any_folder_once_the_run_has_begun(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Config(demonstrations=Path("old")).settled().demonstrations == str(tmp_path / "old")
    assert Config(demonstrations="minari:me/p-v0").settled().demonstrations == "minari:me/p-v0"
    assert Config(demonstrations="old", demonstration_share=0.3, batch_size=10).demonstration_rows == 3
    assert Config().demonstration_rows == 0


def test_one_width_is_one_layer():
    assert Config(hidden=64).hidden == (64,)


def test_settings_survive_json():
    for recipe in RECIPES.values():
        assert Config.from_json(recipe.config.to_json()) == with_settings(recipe.config, {})
    kept_by_former_versions = {"alpha": 0.2, "target_noise": 0.3, "deterministic_policy": False}
    assert Config.from_json(kept_by_former_versions) == Config(alpha=0.2, temperature_loss="alpha")
    before = Config.from_json({"steps": 3})  # the others were not there yet when it was written
    assert before == Config(steps=3, temperature_loss="alpha")
    for wrong, says in (({"shoe_size": 43}, "no setting 'shoe_size'"), ([3], "must be a table")):
        with pytest.raises(UsageError, match=says):
            Config.from_json(wrong)


def test_the_recipes_are_what_their_sources_say():
    sac, notebook = RECIPES["sac"].config, RECIPES["notebook"].config
    assert (sac.hidden, sac.batch_size, sac.lr, sac.gamma, sac.tau) == ((256, 256), 256, 3e-4, 0.99, 0.005)
    assert sac.buffer_size == notebook.buffer_size == 1_000_000
    assert (notebook.hidden, notebook.warmup, notebook.steps) == ((64, 64, 64), 0, 40_000)


GIVEN = {"target_critics": 1, "quantiles": 3, "dropped_quantiles": 1, "target_entropy": -1.0, "initial_alpha": 0.5,
         "temperature_lr": 0.1, "lr_end": 0.5, "lr_steps": 9, "categories": 7, "largest_return": 9.0,
         "priority_beta": 0.5, "most_lag": 4, "demonstration_share": 0.2, "offline_steps": 9,
         "bound_returns": True, "initialisation": "xavier", "policy_norm": "layer",
         "critic_norm": "batch", "dropout": 0.1, "control_rate": 50.0, "exploration_noise": 0.3, "noise_clip": 0.2,
         "target_noise": 0.1, "improvement_noise": 0.1, "log_std": "tanh"}  # fmt: skip
WITHOUT_USE = [
    ("target_entropy", {"deterministic_policy": True}, "--no-deterministic-policy"),
    ("target_entropy", {"alpha": 0.2}, "--alpha learned"),
    ("initial_alpha", {"alpha": 0.2}, "--alpha learned"),
    ("entropy_to_come", {"deterministic_policy": True}, "--no-deterministic-policy"),
    ("gsde", {"deterministic_policy": True}, "--no-deterministic-policy"),
    ("log_std", {"deterministic_policy": True}, "--no-deterministic-policy"),
    ("log_std", {"gsde": True}, "--no-gsde"),
    *((f"{where}_noise", {}, "--deterministic-policy") for where in ("exploration", "target", "improvement")),
    ("noise_clip", {}, "--deterministic-policy"),
    ("target_policy", {"value_network": True}, "--no-value-network"),
    ("target_network", {"value_network": True}, "--no-value-network"),
    ("target_critics", {"value_network": True}, "--no-value-network"),
    ("target_critics", {"returns": "quantiles"}, "--returns expected"),
    ("returns", {"value_network": True}, "--no-value-network"),
    ("quantiles", {}, "--returns quantiles"),
    ("dropped_quantiles", {}, "--returns quantiles"),
    ("temperature_lr", {"deterministic_policy": True}, "--no-deterministic-policy"),
    ("temperature_lr", {"alpha": 0.2}, "--alpha learned"),
    ("categories", {}, "--returns categories"),
    ("largest_return", {}, "--returns categories"),
    ("lr_end", {}, "--lr-schedule linear"),
    ("lr_steps", {}, "--lr-schedule linear"),
    ("priority_beta", {}, "--priorities 0.6"),
    ("hindsight_strategy", {}, "--hindsight 4"),
    ("dropped_quantiles", {"returns": "quantiles", "target_q": "mean"}, "--target-q smallest"),
    ("bound_returns", {"returns": "categories"}, "--normalise-rewards"),
    ("bound_returns", {"normalise_rewards": True}, "--returns categories"),
    ("most_lag", {}, "--collectors 2"),
    ("demonstration_share", {}, "--demonstrations runs/old"),
    ("offline_steps", {}, "--demonstrations runs/old"),
    *(
        (name, {"blocks": "pre-norm"}, "--blocks none")
        for name in ("initialisation", "policy_norm", "critic_norm", "dropout")
    ),
    ("control_rate", {}, "--collectors 1"),
]


@pytest.mark.parametrize(("name", "others", "instead"), WITHOUT_USE)
def test_a_setting_that_would_do_nothing_is_refused_with_the_way_out(name, others, instead):
    value = GIVEN.get(
        name,
        {"entropy_to_come": "never", "hindsight_strategy": "final", "returns": "quantiles"}.get(
            name, not DEFAULTS[name]
        ),
    )
    called = name.replace("_", "-")
    with pytest.raises(
        UsageError, match=f", so --(no-)?{called}.* would do nothing; leave that out, or give {instead}$"
    ):
        with_settings(Config(), {name: value, **others})


def test_what_a_recipe_has_goes_back_to_its_default_where_it_would_do_nothing():
    fixed = with_settings(RECIPES["xqc"].config, {"alpha": 0.2, "returns": "expected"})
    assert (fixed.target_entropy, fixed.initial_alpha) == (None, 1.0)
    assert (fixed.weight_norm, fixed.lr_schedule) == (True, "linear")
    state_value = with_settings(RECIPES["xqc"].config, {"value_network": True, "categories": 101})
    assert state_value.returns == "expected"
    with pytest.raises(UsageError, match="--categories 51 would do nothing"):
        with_settings(RECIPES["xqc"].config, {"value_network": True, "categories": 51})


def test_every_case_in_which_a_setting_does_nothing_is_tested():
    assert len(WITHOUT_USE) == sum(len(declared.idle) for declared in DECLARED.values())
