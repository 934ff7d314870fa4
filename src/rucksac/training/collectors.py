"""Collecting while the run learns: grants steps to collectors and takes over what came of them.

A collector acts only when a step has been granted to it, and the learner takes no gradient step that would make a
granted step older than `most_lag`. So neither side runs away: a collector waits when its steps have not been taken
over or many gradient steps are owed, the learner when data is short or a step is late.

With a control rate collectors act by their own clocks and have one grant that stands, which moves on with every row
that is taken over. So the same rule holds back the learner, and nothing holds back a collector.
"""

import math
from collections.abc import Callable

import numpy as np

from rucksac.agent import Agent
from rucksac.environments.collector import Episodes
from rucksac.environments.env_group import Lost
from rucksac.environments.spaces import Stepped
from rucksac.environments.transitions import Collected, Policy
from rucksac.streams import words_of
from rucksac.training.collector_process import NO_ACTION, RANDOM, STEPS_AHEAD, streams
from rucksac.training.crew import Crew
from rucksac.training.pace import in_bins
from rucksac.training.progress import Progress

LAGS = ("lag", "lag_max")
"""Metrics: the lag of transitions, on average and the largest."""


class Collectors(Episodes):
    """A crew of collectors as one. With `most_lag` 0 each acts once, in turn with learning, and runs are repeatable."""

    STATE = ("streams", *Episodes.STATE)
    envs: Crew

    def __init__(self, crew: Crew, agent: Agent, progress: Progress) -> None:
        super().__init__(crew, agent.config.seed)
        self.agent, self.progress, self.most_lag = agent, progress, agent.config.most_lag
        self.streams = np.array([[*map(words_of, streams(self.seed, index))] for index in range(len(crew))])
        self._published = -1  # gradient steps of the weights that collectors have

    @property
    def learn_until(self) -> float:  # type: ignore[override]
        """Return the gradient steps with which the oldest granted step is as old as it may be."""
        return min((each.granted[0] for each in self.envs.members if each.granted), default=math.inf) + self.most_lag

    def collect(self, policy: Policy | None, lap: Callable[[str], None] = lambda _: None) -> Collected:
        """See `Episodes`; without lag every collector acts once, else this is what has come, perhaps no transition."""
        collected = Collected([], [], [])
        self._grant(policy, arrived=0)
        self.envs.listen(waits=not self._ready())
        while not self._ready():
            self._start_new_ones()
            self._grant(policy, arrived=0)
            self.envs.listen(waits=True)
        for env_index in range(len(self.envs)):
            self._take_over(env_index, collected)
        if self.most_lag:
            self._start_new_ones()
            self._grant(policy, len(collected.transitions))
        lap("environment")
        return collected

    def begin_episodes(self) -> None:
        """See `Episodes`; collectors do it by themselves, and only without lag this waits for them."""
        self._start_new_ones()
        while self.over and not self.most_lag:
            self.envs.listen(waits=True)
            for env_index in list(self.over):
                self._take_over(env_index, Collected([], [], []))
            self._start_new_ones()

    def _start_new_ones(self) -> None:
        for env_index, member in enumerate(self.envs.members):
            if member.ready and not member.working:
                goes_on = env_index not in self.over
                self.envs.start(env_index, self.started[env_index], self.streams[env_index], goes_on)

    def _ready(self) -> bool:
        """Return whether there is enough to hand over."""
        there = [bool(each.rows or each.lost) for each in self.envs.members if each.granted or each.lost]
        return any(there) if self.most_lag else bool(there) and all(there)

    def _grant(self, policy: Policy | None, arrived: int) -> None:
        """Let every collector that has room act once more, unless too many gradient steps are owed.

        `arrived` transitions are not counted in `progress` yet.
        """
        agent, config, progress = self.agent, self.agent.config, self.progress
        if config.control_rate:
            self._pace(policy, arrived)
            return
        owed = progress.owed + config.utd * (arrived - progress.env_steps % config.update_every)
        if owed >= self.most_lag + 1:
            return
        to_come = sum(len(each.granted) for each in self.envs.members) + arrived
        for ahead in range(STEPS_AHEAD if self.most_lag else 1):
            with_room = [number for number, each in enumerate(self.envs.members) if each.has_room(ahead)]
            if not with_room or progress.env_steps + to_come >= config.steps:
                return
            self._publish(policy)
            for env_index in with_room:
                self.envs.grant(env_index, policy is None, agent.grad_steps)
            to_come += len(with_room)

    def _pace(self, policy: Policy | None, arrived: int) -> None:
        """Let every collector act by its clock, with the newest weights; close the environments after the last step."""
        if self.progress.env_steps + arrived >= self.agent.config.steps:
            self.envs.close()
            return
        self._publish(policy)
        for env_index, member in enumerate(self.envs.members):
            if member.working:
                self.envs.pace(env_index, policy is None, self.agent.grad_steps)

    def _publish(self, policy: Policy | None) -> None:
        """Give collectors the newest weights, unless they have them or act at random."""
        agent = self.agent
        if policy and (agent.normaliser or agent.grad_steps != self._published):
            self.envs.engine.publish(agent.acting_tensors(), agent.grad_steps)
            self._published = agent.grad_steps

    def _take_over(self, env_index: int, collected: Collected) -> None:
        """Add to `collected` all that has come from a collector; if it has failed since, its episode is lost."""
        member, config = self.envs.members[env_index], self.agent.config
        while member.rows:
            if config.control_rate and self.progress.env_steps + len(collected.transitions) >= config.steps:
                return  # nobody has asked for these
            row = member.rows.popleft()
            if row["grad_steps"] == NO_ACTION:
                self.seeds[env_index] = self.next_seed(env_index)
                self.began(env_index, row["obs"])
                self.over.remove(env_index)
                member.begins = False
                continue
            granted, grad_steps = member.granted.popleft(), int(row["grad_steps"])
            outcome = Stepped(row["obs"], float(row["reward"]), *map(bool, row["ends"]))
            self.took(env_index, row["action"], outcome, collected)
            self.streams[env_index, int(grad_steps != RANDOM)] = row["stream"]
            member.begins = bool(row["ends"].any())
            if grad_steps != RANDOM and self.agent.grad_steps:
                lag = self.agent.grad_steps - grad_steps
                assert granted <= grad_steps
                assert 0 <= lag <= self.most_lag
                self.progress.add({"lag": lag})
                self.progress.add_largest("lag_max", lag)
            if config.control_rate:
                self.progress.add(in_bins(float(row["late"])))
                newest = self.agent.grad_steps if member.paced else granted
                member.granted.append(newest if grad_steps == RANDOM else grad_steps)
        if member.lost:
            member.granted.clear()
            member.lost = member.begins = False
            self.took(env_index, np.empty(0), Lost(), collected)
            if env_index not in self.over:
                self.over.append(env_index)
