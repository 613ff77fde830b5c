"""Learners: right probabilities, nothing learned from nothing, and what is rewarded rises."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from models.tiny import tiny_batch, tiny_config
from rl.test_rewards import HERE
from torch import Generator, Tensor

from vidgen.config.reward import RewardConfig
from vidgen.errors import ConfigError
from vidgen.models.base import build_objective
from vidgen.models.flow.model import FlowModel
from vidgen.rl.learners.table import LEARNERS
from vidgen.rl.objective import RewardObjective
from vidgen.types import Batch, Condition, encode_text

BRIGHT = f"{HERE}:brightness"


def wake(objective: Any) -> None:
    """Give the last layer, which begins at zero, something to say."""
    stream = Generator().manual_seed(3)
    with torch.no_grad():
        for weight in objective.model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=stream))


def reward_objective(family: str = "flow", **keys: Any) -> RewardObjective:
    torch.manual_seed(0)
    config = tiny_config(
        family, **({"conditions": ["text"], "sample_steps": 6} if family == "flow" else {})
    )
    base = build_objective(config)
    wake(base)
    reward = RewardConfig.model_validate(
        {"start": "unused", "rewards": {BRIGHT: 1}, "group": 4, "guards": {}, **keys}
    )
    return RewardObjective(reward, base, guidance=1.0)


def batch(n: int = 3) -> Batch:
    return Batch(
        video=torch.zeros(n, 3, 4, 8, 8),
        cond=Condition(text=encode_text([f"number {i}" for i in range(n)])),
        seed=torch.arange(n) + 7,
    )


# -- probabilities -------------------------------------------------------------------------------


@pytest.fixture
def flow() -> FlowModel:
    objective = build_objective(tiny_config("flow", conditions=["text"], sample_steps=5))
    wake(objective)
    model = objective.model.eval()
    assert isinstance(model, FlowModel)
    return model


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_log_probabilities_agree_with_brute_force(flow: FlowModel, guidance: float) -> None:
    cond = Condition(text=encode_text(["a", "b"]))
    path = flow.rollout(cond, 2, guidance=guidance, noise=0.7, generator=Generator().manual_seed(0))
    assert path.states.shape == (2, path.decisions + 1, 3, 4, 8, 8)
    with torch.no_grad():
        found = flow.log_probs(
            path, cond, torch.arange(path.decisions), guidance=guidance, noise=0.7
        )
    shift, steps = flow.config.shift, flow.config.sample_steps
    stops = [u / (u + shift * (1 - u)) for u in (i / steps for i in range(steps + 1))]
    for k in range(path.decisions):
        now, then = stops[k], stops[k + 1]
        for row in range(2):
            one = Condition(text=cond.text[row : row + 1])  # type: ignore[index]
            state = path.states[row : row + 1, k].double()
            with torch.no_grad():
                level = torch.full((1,), now)
                seen = flow.estimate(state.float(), level, one)
                if guidance != 1:
                    free = flow.estimate(state.float(), level, Condition())
                    seen = free + guidance * (seen - free)
            # arXiv:2505.05470, equation 9, in the paper's time: tau = 1 is noise.
            tau, step = 1 - now, then - now
            velocity = (state - seen.double()) / tau  # of the noise
            sigma = 0.7 * math.sqrt(tau / (1 - tau if now else 1 - (1 - then)))
            drift = velocity + sigma**2 / (2 * tau) * (state + (1 - tau) * velocity)
            mean, spread = state - drift * step, sigma * math.sqrt(step)
            normal = torch.distributions.Normal(mean, spread)
            expected = normal.log_prob(path.states[row : row + 1, k + 1].double()).mean()
            assert float(found[row, k]) == pytest.approx(float(expected), abs=1e-4)


def test_a_path_ends_without_noise_and_with_little_is_the_flow(flow: FlowModel) -> None:
    cond = Condition(text=encode_text(["a"]))
    with torch.no_grad():
        path = flow.rollout(cond, 1, guidance=1.0, noise=1e-4, generator=Generator().manual_seed(0))
    plain = flow.sample(cond, 1, generator=Generator().manual_seed(0))
    # `sample` keeps what it sees in range at every step, a path only at the end.
    assert float((path.video - plain).abs().mean()) < 0.1
    assert float(path.video.abs().max()) <= 1


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_token_probabilities_agree_with_brute_force(guidance: float) -> None:
    """One token after the other through the network, without the cache that drew them."""
    objective = build_objective(tiny_config("autoregressive", conditions=["text"]))
    wake(objective)
    model: Any = objective.model.eval()
    cond, stream = Condition(text=encode_text(["a", "b"])), Generator().manual_seed(0)
    path = model.rollout(cond, 2, guidance=guidance, noise=0.7, generator=stream)
    with torch.no_grad():
        found = model.log_probs(
            path, cond, torch.arange(path.decisions), guidance=guidance, noise=0.7
        )
    assert path.together
    for row in range(2):
        one = Condition(text=cond.text[row : row + 1])  # type: ignore[index]
        for k in range(path.decisions):
            before = path.states[row : row + 1].clone()
            before[:, k:] = 0  # what comes later must not matter
            with torch.no_grad():
                marks = model.network(before, one)[0, k]
                if guidance != 1:
                    free = model.network(before, Condition())[0, k]
                    marks = free + guidance * (marks - free)
            chances = marks.double().exp() / marks.double().exp().sum()
            expected = math.log(chances[path.states[row, k]])
            assert float(found[row, k]) == pytest.approx(expected, abs=1e-4)
    again = model.sample(cond, 2, guidance=guidance, generator=Generator().manual_seed(0))
    assert torch.equal(path.video, again)


def test_a_transformer_of_tokens_learns_by_policy_gradient() -> None:
    objective = reward_objective("autoregressive", kl=0.0, behaviour_decay=0.5, group=8)
    assert objective.learner.name == "policy"
    optimizer = torch.optim.AdamW(
        [weight for weight in objective.model.parameters() if weight.requires_grad], 3e-3
    )
    rewards = []
    for step in range(30):
        held = tiny_batch(tiny_config("autoregressive"), seed=step)
        losses = objective.loss("model", held, step)
        optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rewards.append(float(losses.parts["reward"]))
    print([round(r, 3) for r in rewards])
    spread = torch.tensor(rewards[:5]).std()
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 3 * float(spread)


# -- nothing from nothing ------------------------------------------------------------------------


def constant(video: Tensor, cond: Condition) -> Tensor:
    return torch.full((len(video),), 0.5)


@pytest.mark.parametrize("learner", ["nft", "policy", "regression"])
def test_zero_advantage_changes_nothing(learner: str) -> None:
    objective = reward_objective(learner=learner, rewards={"rl.test_learners:constant": 1}, kl=0.5)
    objective.loss("model", batch(), 0).total.backward()  # type: ignore[no-untyped-call]
    for name, weight in objective.model.named_parameters():
        if weight.grad is not None:
            assert float(weight.grad.abs().max()) < 1e-6, name


def test_more_looks_at_a_rollout_are_looks_at_the_same_rollouts() -> None:
    one = reward_objective(learner="nft").loss("model", batch(), 0)
    many = reward_objective(learner="nft", draws=3).loss("model", batch(), 0)
    assert torch.equal(one.parts["reward"], many.parts["reward"])
    assert float(many.total) == pytest.approx(float(one.total), rel=0.5)
    assert float(many.total) != float(one.total)


def test_only_the_model_learns() -> None:
    objective = reward_objective(learner="nft")
    objective.loss("model", batch(), 0).total.backward()  # type: ignore[no-untyped-call]
    assert any(
        float(w.grad.abs().max()) > 0 for w in objective.model.parameters() if w.grad is not None
    )
    for frozen in (objective.behaviour, objective.start):
        assert all(weight.grad is None for weight in frozen.parameters())


# -- what is rewarded rises ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def grey() -> dict[str, Tensor]:
    """Weights that make even grey videos of any brightness."""
    objective = reward_objective().learner.objective
    optimizer = torch.optim.AdamW(objective.model.parameters(), 3e-3)
    stream = Generator().manual_seed(0)
    for step in range(150):
        level = torch.rand(16, 1, 1, 1, 1, generator=stream) * 1.6 - 0.8
        seeds = torch.randint(2**31, (16,), generator=stream)
        text = encode_text([f"number {i % 3}" for i in range(16)])
        video = level.expand(16, 3, 4, 8, 8)
        losses = objective.loss(
            "model", Batch(video=video, cond=Condition(text=text), seed=seeds), step
        )
        optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return dict(objective.model.state_dict())


@pytest.mark.parametrize("learner", ["nft", "policy", "regression"])
def test_what_is_rewarded_rises(learner: str, grey: dict[str, Tensor]) -> None:
    objective = reward_objective(learner=learner, kl=0.0, behaviour_decay=0.5, group=8)
    objective.begin(grey)
    optimizer = torch.optim.AdamW(objective.model.parameters(), 1e-3)
    rewards = []
    for step in range(25):
        held = batch()
        losses = objective.loss(
            "model", Batch(video=held.video, cond=held.cond, seed=held.seed + 100 * step), step
        )
        optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rewards.append(float(losses.parts["reward"]))
    print(learner, [round(r, 2) for r in rewards])
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.1


def dimness(video: Tensor, cond: Condition) -> Tensor:
    """A scorer of a user's that says it can be differentiated."""
    return -(video.flatten(1).mean(1) + 1).square()


dimness.differentiable = True  # type: ignore[attr-defined]


@pytest.mark.parametrize(("family", "group"), [("gan", 2), ("recurrent", 1), ("convolutional", 2)])
def test_back_propagation_through_the_sampler(family: str, group: int) -> None:
    objective = reward_objective(
        family, rewards={f"{__name__}:dimness": 1}, group=group, kl=0.01, learner="auto"
    )
    assert objective.learner.name == "backprop"
    rows = tiny_batch(tiny_config(family))
    cond = rows.cond.only(*objective.model.conditions)
    kept = objective.model.sample_with_grad(cond, 4, generator=Generator().manual_seed(1))
    plain = objective.model.sample(cond, 4, generator=Generator().manual_seed(1))
    assert kept.requires_grad
    assert torch.equal(kept, plain)
    optimizer = torch.optim.Adam(objective.model.parameters(), lr=3e-3)
    rewards = []
    for step in range(25):
        losses = objective.loss("model", rows, step)
        optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rewards.append(float(losses.parts["reward"]))
    print(family, [round(r, 3) for r in rewards])
    assert rewards[-1] > 0.5 * rewards[0]  # it is negative: half of the way


def test_ranks_and_parts_see_the_same_rollouts() -> None:
    whole = reward_objective(learner="nft").loss("model", batch(4), 0)
    halves = [reward_objective(learner="nft").loss("model", batch(4)[i : i + 2], 0) for i in (0, 2)]
    total = sum(float(each.total) for each in halves) / 2
    assert float(whole.total) == pytest.approx(total, rel=1e-4)


# -- who can learn how ---------------------------------------------------------------------------


def test_a_family_without_the_learner_hears_what_works() -> None:
    for learner, reason in (("nft", "removes no noise"), ("policy", "no probabilities")):
        with pytest.raises(
            ConfigError, match=rf"{learner} does not work here: .*{reason}.*regress"
        ):
            reward_objective("recurrent", learner=learner)
    with pytest.raises(ConfigError, match="sampler keeps no gradient"):
        reward_objective("flow", learner="backprop")


def test_auto_takes_the_first_that_fits() -> None:
    assert reward_objective("flow").learner.name == "nft"
    assert reward_objective("recurrent").learner.name == "regression"  # brightness says nothing
    assert reward_objective("recurrent", rewards={"contrast": 1}).learner.name == "backprop"
    assert list(LEARNERS) == ["nft", "policy", "backprop", "regression"]
