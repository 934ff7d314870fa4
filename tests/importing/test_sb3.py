"""Models that Stable-Baselines3 trained and saved, as agents."""

import pickle
import zipfile

import numpy as np
import pytest
import torch

import rucksac
from rucksac import cli
from rucksac.errors import UsageError
from tests.beside_sb3 import told
from tests.runs import SMALL_FLAGS

TRAINED = """
import json, sys
import gymnasium, numpy as np, torch
from stable_baselines3 import SAC

torch.set_num_threads(1)
file, env, steps, settings = sys.argv[1], sys.argv[2], int(sys.argv[3]), eval(sys.argv[4])
policy = settings.pop("policy", "MlpPolicy")
usual = dict(learning_starts=50, batch_size=64, seed=1, buffer_size=10_000)
model = SAC(policy, eval(env) if "(" in env else env, **{**usual, **settings})
model.learn(steps)
model.save(file)
if model.observation_space.shape is None or len(model.observation_space.shape) == 3:
    print("{}")
    sys.exit()
obs = np.random.default_rng(0).normal(0.0, 3.0, (1_000, model.observation_space.shape[0])).astype(np.float32)
actions = model.predict(obs, deterministic=True)[0]
with torch.no_grad():
    q = model.critic(torch.from_numpy(obs), torch.zeros(1_000, actions.shape[1]))
    slow = model.critic_target(torch.from_numpy(obs), torch.zeros(1_000, actions.shape[1]))
    alpha = float(model.log_ent_coef.exp() if model.ent_coef_optimizer else model.ent_coef_tensor)
stacked = lambda answers: torch.cat(answers, 1).T.tolist()
print(json.dumps({"obs": obs.tolist(), "actions": actions.tolist(), "q": stacked(q), "slow": stacked(slow),
                  "alpha": alpha, "updates": model._n_updates}))
"""
KINDS = {
    "default": ("Pendulum-v1", 300, "dict(target_entropy=-2.0)"),
    "own": (
        "MountainCarContinuous-v0",
        200,
        "dict(ent_coef=0.2, gamma=0.9, policy_kwargs=dict("
        "net_arch=dict(pi=[32, 16], qf=[24]), activation_fn=torch.nn.Tanh, n_critics=3))",
    ),
}


WRAPPED = "gymnasium.wrappers.TransformObservation(gymnasium.make('Pendulum-v1'), {}, gymnasium.spaces.{})"
SEEN = {
    "DICT": WRAPPED.format("lambda obs: dict(all=obs)", "Dict(all=gymnasium.spaces.Box(-8, 8, (3,)))"),
    "IMAGE": WRAPPED.format("lambda obs: np.zeros((4, 4, 3), np.uint8)", "Box(0, 255, (4, 4, 3), np.uint8)"),
}


@pytest.fixture(scope="module", params=KINDS)
def model(request, tmp_path_factory):
    file = tmp_path_factory.mktemp("sb3") / "model.zip"
    env, steps, settings = KINDS[request.param]
    return file, env, told(TRAINED, file, env, steps, settings)


@pytest.mark.sb3
def test_an_imported_agent_is_the_model(model):
    file, env, theirs = model
    agent = rucksac.from_sb3(file, env)
    obs = np.array(theirs["obs"], np.float32)
    np.testing.assert_allclose(agent.predict(obs)[0], theirs["actions"], atol=1e-5)
    network, action = agent.algorithm.critic.network, torch.zeros(len(obs), agent.spaces.action_size)
    for name, weights in (("q", agent.state.critic.weights), ("slow", agent.state.target["critic"])):
        found = torch.func.functional_call(network, weights, (torch.from_numpy(obs), action))
        np.testing.assert_allclose(found, theirs[name], rtol=1e-4, atol=1e-4)
    assert np.abs(np.subtract(theirs["q"], theirs["slow"])).max() > 1e-3  # else a mix-up would not show
    assert agent.alpha == pytest.approx(theirs["alpha"])
    assert agent.grad_steps == theirs["updates"] > 100
    assert agent.config.batch_size == 64
    assert agent.algorithm.target_entropy == (-2.0 if env == "Pendulum-v1" else None)
    assert agent.config.lr == 3e-4


@pytest.mark.sb3
def test_an_imported_agent_goes_where_agents_go(model, tmp_path, capsys):
    file, env, _ = model
    folder = str(tmp_path / "agent")
    assert cli.main(["import", "sb3", str(file), "--env", env, "-o", folder]) == 0
    assert cli.main(["evaluate", folder, "--env", env, "--episodes", "1", "--json"]) == 0
    assert cli.main(["watch", folder, "--env", env, "--episodes", "1", "--video", str(tmp_path / "film.mp4")]) == 0
    assert cli.main(["export", folder, "-o", str(tmp_path / "policy.npz")]) == 0
    own = SMALL_FLAGS[: SMALL_FLAGS.index("--hidden")]
    flags = [*own, "--eval-episodes", "1", "--compile", "never", "--threads", "1", "--warmup", "0", "--quiet"]
    assert cli.main(["train", env, "--start-from", folder, "--run", str(tmp_path / "run"), *flags]) == 0
    assert rucksac.load(tmp_path / "run").config.hidden == rucksac.load(folder).config.hidden


@pytest.mark.sb3
@pytest.mark.parametrize(
    ("settings", "env", "says"),
    [
        ("dict(policy='MultiInputPolicy')", "DICT", "observations are of <class 'gymnasium.spaces.dict.Dict'>; supp"),
        ("dict(buffer_size=100)", "IMAGE", "its observations are images; supported is"),
        ("dict(use_sde=True)", "Pendulum-v1", "trained with use_sde; supported is SAC with MlpPolicy"),
        ("dict(policy_kwargs=dict(activation_fn=torch.nn.CELU))", "Pendulum-v1", "CELU'>, which is none of ReLU"),
        ("{}", "MountainCarContinuous-v0", "3 observations and 1 actions, but the environment has 2 and 1"),
        ("{}", "CartPole-v1", "continuous actions, but the environment has 2 choices"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path, settings, env, says):
    told(TRAINED, tmp_path / "model.zip", SEEN.get(env, "Pendulum-v1"), 60, settings)
    with pytest.raises(UsageError, match=says):
        rucksac.from_sb3(tmp_path / "model.zip", "Pendulum-v1" if env in SEEN else env)


class Harmful:
    def __reduce__(self):
        return print, ("unpickled",)


@pytest.mark.parametrize("content", [None, {"data": "{"}, {"data": "{}", "policy.pth": b"x"}, "harmful"])
def test_files_that_are_no_models_are_refused_and_never_unpickled(tmp_path, content, capsys):
    file = tmp_path / "model.zip"
    if content is None:
        file.write_bytes(b"PK nonsense")
    else:
        with zipfile.ZipFile(file, "w") as archive:
            if content == "harmful":
                content = {"data": "{}", "policy.pth": pickle.dumps(Harmful(), 2), "pytorch_variables.pth": b""}
            for name, data in content.items():
                archive.writestr(name, data)
    with pytest.raises(UsageError, match="cannot be taken over: .*supported is SAC with MlpPolicy"):
        rucksac.from_sb3(file, "Pendulum-v1")
    assert "unpickled" not in capsys.readouterr().out


def test_the_command_says_what_it_needs(capsys, tmp_path):
    (tmp_path / "agent.json").write_text("{}")
    assert cli.main(["import", "sb3", "model.zip", "--env", "Pendulum-v1", "-o", str(tmp_path)]) == 2
    assert "is there already; give another --output, or remove it first" in capsys.readouterr().err
    assert cli.main(["import", "sb3", "model.zip"]) == 2
    assert "import needs --env" in capsys.readouterr().err
    assert cli.main(["import", "tianshou", "model.zip"]) == 2
    assert "no files of 'tianshou'; it takes sb3" in capsys.readouterr().err
