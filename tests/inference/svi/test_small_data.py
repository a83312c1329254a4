"""Fits of little data: steps, verdicts, means of the last iterates, restarts, unlike arguments."""

import math
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from torch import Tensor, nn
from torch.optim import SGD, Adam

from pyro_vae import checkpoint, fit, log_evidence
from pyro_vae.inference.svi.convergence import late_gain, verdict
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.inference.svi.run_storage import CHECKPOINT, METRICS
from pyro_vae.models import FactorAnalysis, Table
from pyro_vae.progress import progress_bar

quick = partial(fit, progress=False, device="cpu")


class Mean(nn.Module):
    """A conjugate normal mean: all rows share it."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(0.0))
        self.log_scale = nn.Parameter(torch.tensor(0.0))

    def model(self, x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
        with pyro.plate("rows", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.sample("mean", dist.Normal(self.loc, self.log_scale.exp()))


# --- steps -------------------------------------------------------------------------------------


def test_steps_in_place_of_epochs() -> None:
    x = torch.randn(30)
    result = quick(Mean(), x, steps=70)
    assert (len(result.metrics), result.epochs, result.steps_per_epoch) == (70, 70, 1)
    assert str(result).startswith("70 steps in ")
    rows = torch.randn(100, 3)
    result = quick(FactorAnalysis((3,), 1), rows, batch_size=40, steps=7)  # 3 a pass
    assert (len(result.metrics), result.steps_per_epoch) == (3, 3)
    assert str(result).startswith("3 epochs in ")


@pytest.mark.slow
def test_few_parameters_go_far_by_default_and_leave_no_noise() -> None:
    """From 0 to 30, at which 5,000 steps of 0.001 would not arrive; then to the exact posterior."""
    x = 30 + torch.randn(50)
    mean = Mean()
    result = quick(mean, x)
    precision = 50 + 0.01
    assert mean.loc.item() == pytest.approx(x.sum().item() / precision, abs=0.1 / precision**0.5)
    assert mean.log_scale.exp().item() == pytest.approx(precision**-0.5, rel=0.05)
    assert any("falls from 0.1 to 0" in note for note in result.notes)
    assert any(note.startswith("5,000 steps of 50 rows") for note in result.notes)
    assert "levelled off" in result.verdict
    mean.large = nn.Parameter(torch.zeros(2000))  # together they move by 1 a step
    assert any("falls from 0.022 to 0" in note for note in quick(mean, x, steps=2).notes)
    mean.layer = nn.Linear(1, 1)
    assert not any("falls from" in note for note in quick(mean, x, steps=2).notes)


def test_the_rate_falls_for_many_rows_of_a_model_without_latents() -> None:
    table, x = Table((2,)), torch.randn(1_500, 2)
    assert sum(p.numel() for p in table.parameters()) > 1_000
    result = quick(table, x, epochs=2)
    assert [m["learning_rate"] for m in result.metrics] == pytest.approx([1e-3, 5e-4])
    assert not result.has_latents
    result = quick(Table((2,)), x, epochs=2, optimizer=partial(Adam, lr=1e-3))
    assert [m["learning_rate"] for m in result.metrics] == [1e-3, 1e-3]


@pytest.mark.slow
def test_a_guide_with_all_covariances_of_a_hierarchy_arrives_at_the_defaults() -> None:
    """More than 1,000 parameters: means and sds of all latents against the closed form."""
    groups, members = 44, 4
    group = torch.arange(groups).repeat_interleave(members)
    y = (2 + 0.7 * torch.randn(groups))[group] + torch.randn(groups * members)

    def model(group: Tensor, y: Tensor) -> None:
        level = pyro.sample("level", dist.Normal(0.0, 5.0))
        with pyro.plate("groups", groups):
            effect = pyro.sample("effect", dist.Normal(level, 0.7))
        with pyro.plate("rows", len(y)):
            pyro.sample("y", dist.Normal(effect[group], 1.0), obs=y)

    guide = AutoMultivariateNormal(model)
    quick((model, guide), args=(group, y), steps=2500)
    assert sum(p.numel() for p in guide.parameters()) > 1_000
    precision = torch.zeros(groups + 1, groups + 1).double()
    precision.diagonal()[1:] = 1 / 0.49 + members
    precision[0, 1:] = precision[1:, 0] = -1 / 0.49
    precision[0, 0] = 1 / 25 + groups / 0.49
    covariance = precision.inverse()
    sums = torch.zeros(groups + 1).double().index_add(0, group + 1, y.double())
    posterior = guide.get_posterior()
    sd = covariance.diagonal().sqrt()
    assert ((posterior.mean - covariance @ sums) / sd).abs().max() < 0.1
    assert (posterior.stddev / sd - 1).abs().max() < 0.1


# --- the verdict -------------------------------------------------------------------------------


def test_the_way_is_measured_in_learning_rates() -> None:
    """Where the rate falls to 0, the last epochs stand still: that shows nothing."""
    figures = [-1000 + 10.0 * n for n in range(50)] + [-500.0] * 50
    falling = [1.0] * 50 + [0.01] * 50
    constant = [1.0] * 100
    assert late_gain(figures, constant) == (0.0, 0.0)
    gain, _ = late_gain(figures, falling)
    assert gain > 10


def test_verdicts_in_words() -> None:
    rates, noise = [0.1] * 200, [math.sin(9 * n) for n in range(200)]
    level = verdict("the ELBO", noise, rates, True, "steps")
    assert "levelled off" in level
    rising = verdict("the ELBO", [n + noise[n] for n in range(200)], rates, True, "steps")
    assert rising.startswith("the ELBO was still rising at the end, by 20 nats")
    assert "more steps, or a larger learning rate" in rising
    falling = verdict("the ELBO", [-n + noise[n] for n in range(200)], rates, True, "epochs")
    assert "was falling at the end" in falling
    assert "too few" in verdict("the ELBO", noise[:10], rates[:10], True, "steps")
    lost = [*noise[:-1], 4.5e14]
    for sign in (1, -1):  # a guide that is lost may show any figure
        diverged = verdict("the ELBO", [sign * n for n in lost], rates, True, "steps")
        assert "diverged" in diverged
        assert "smaller learning rate" in diverged
    large = [1e9 * (n - 200) for n in range(200)]
    assert "rising" in verdict("the ELBO", large, rates, True, "steps")
    loud = verdict("the ELBO", [50 * n for n in noise], rates, True, "steps")
    assert "the noise of the ELBO hides whether it had levelled off" in loud


def test_a_short_run_says_how_far_its_steps_reach() -> None:
    """A narrow guide far from its place gains little a step, and its weights have light tails."""
    level = partial(verdict, "the ELBO", is_joint=True, times="steps")
    short = level([0.0] * 300, [0.02] * 300)
    assert "300 steps of Adam at such learning rates move a parameter by 6 at most" in short
    assert "move a parameter" not in level([0.0] * 300, [0.1] * 300)
    assert "move a parameter" not in level([0.0] * 1500, [0.001] * 1500)
    assert "move a parameter" not in verdict("the ELBO", [0.0] * 99, [1e-3] * 99, False, "epochs")


def test_a_made_guide_says_where_the_data_lie_beyond_the_prior() -> None:
    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    x = torch.randn(20)
    far = quick(model, 100 + x, steps=2).notes
    assert any("x.std()" in note and "'x'" in note for note in far)
    assert not any("x.std()" in note for note in quick(model, x, steps=2).notes)


def test_as_long_as_the_kl_weight_grows_the_elbo_is_another_one() -> None:
    x = torch.randn(30)
    result = quick(Mean(), x, steps=100, kl_warmup=95)
    assert result.verdict == "there are too few steps to tell whether the ELBO had converged"
    assert "too few" not in quick(Mean(), x, steps=100, kl_warmup=2).verdict


def test_the_verdict_of_held_out_data() -> None:
    x = torch.randn(60, 3)
    result = quick(FactorAnalysis((3,), 1), x[:40], validation=x[40:], epochs=60,
                   optimizer=partial(Adam, lr=0.01))  # fmt: skip
    assert "the validation ELBO" in result.verdict
    still = partial(SGD, lr=0.0)
    stopped = quick(
        FactorAnalysis((3,), 1), x, validation=x, epochs=50, patience=2, optimizer=still
    )
    assert stopped.verdict == "the fit stopped after 3 of 50 steps; the best was step 1"


# --- means of the last iterates ------------------------------------------------------------------


def test_the_mean_of_the_last_parameters() -> None:
    x, slowly = torch.randn(30), partial(SGD, lr=0.01)

    def after(steps: int, **options: object) -> Tensor:
        mean = Mean()
        quick(mean, x, steps=steps, optimizer=slowly, **options)
        return torch.stack([mean.loc.detach(), mean.log_scale.detach()])

    iterates = [after(steps) for steps in range(6, 11)]
    torch.testing.assert_close(after(10, averaging=0.5), torch.stack(iterates).mean(0))
    torch.testing.assert_close(after(10, averaging=0.1), iterates[-1])


def test_means_take_the_noise_out() -> None:
    """At a constant rate the last parameters keep moving about the posterior; their mean does not."""
    x = torch.randn(50)
    off = {None: 0.0, 0.5: 0.0}
    for averaging in off:
        for seed in range(5):
            mean = Mean()
            quick(
                mean, x, steps=200, optimizer=partial(Adam, lr=0.1), seed=seed, averaging=averaging
            )
            off[averaging] += (mean.loc.item() - x.sum().item() / 50.01) ** 2
    assert off[0.5] < off[None] / 4


def test_the_checkpoint_holds_the_mean_for_other_verbs(tmp_path: Path) -> None:
    mean = Mean()
    quick(mean, torch.randn(30), steps=20, averaging=0.5, out=tmp_path)
    tensors, _ = checkpoint.read(tmp_path / CHECKPOINT)
    assert torch.equal(tensors["best/loc"], mean.loc)
    assert not torch.equal(tensors["model/loc"], mean.loc)


# --- restarts ------------------------------------------------------------------------------------


class TwoModes(nn.Module):
    """A point estimate of a location with two maxima, the lower of which attracts a start at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))

    def model(self, x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            peaks = dist.Normal(torch.tensor([-0.3, 1.6]), 0.2).log_prob(self.loc.unsqueeze(-1))
            pyro.factor("peaks", (peaks + torch.tensor([0.0, 3.0])).logsumexp(-1).expand(len(x)))
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    def guide(self, x: Tensor) -> None:
        pass


def test_restarts_keep_the_best() -> None:
    x, options = torch.randn(10), {"steps": 80, "optimizer": partial(Adam, lr=0.05)}
    once, best = TwoModes(), TwoModes()
    quick(once, x, **options)
    state = torch.get_rng_state()
    result = quick(best, x, restarts=6, **options)
    assert torch.equal(state, torch.get_rng_state())
    assert once.loc.item() == pytest.approx(-0.3, abs=0.03)
    assert best.loc.item() == pytest.approx(1.6, abs=0.03)
    assert len(result.restarts) == 6
    assert max(result.restarts) - result.restarts[0] == pytest.approx(3.0, abs=0.05)
    assert f"6 restarts: ELBO {max(result.restarts):,.2f}, kept" in str(result)
    again = [quick(TwoModes(), x, restarts=2, seed=5, steps=3).restarts for _ in range(2)]
    assert again[0] == again[1]


def mixture(x: Tensor) -> None:
    means = pyro.sample("means", dist.Normal(torch.zeros(2), 3.0).to_event(1))
    with pyro.plate("rows", len(x)):
        probs = torch.tensor([0.3, 0.7])
        kind = pyro.sample("kind", dist.Categorical(probs), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(means[..., kind], 0.5), obs=x)


@pytest.mark.parametrize("kind", ["module", "AutoNormal", "alone", "functions"])
def test_restarts_of_any_program_start_elsewhere_and_end_with_the_best(kind: str) -> None:
    """The first run is the fit without restarts, and the final parameters have the figure that is kept."""
    x = torch.cat([torch.randn(30) / 2 - 2, torch.randn(70) / 2 + 2])

    def guide(x: Tensor) -> None:
        loc = pyro.param("loc", torch.zeros(2))
        pyro.sample("means", dist.Normal(loc, pyro.param("log", torch.zeros(2)).exp()).to_event(1))

    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loc = nn.Parameter(torch.zeros(2))

        def model(self, x: Tensor) -> None:
            mixture(x)

        def guide(self, x: Tensor) -> None:
            pyro.sample("means", dist.Normal(self.loc, 0.05).to_event(1))

    def program() -> object:
        pyro.clear_param_store()
        latents = pyro.poutine.block(mixture, hide=["kind"])
        return {
            "module": Module,
            "AutoNormal": lambda: (mixture, AutoNormal(latents)),
            "alone": lambda: mixture,
            "functions": lambda: (mixture, guide),
        }[kind]()

    options = {"steps": 50, "optimizer": partial(Adam, lr=0.05)}
    single = quick(program(), x, **options)
    result = quick(program(), x, restarts=2, **options)
    assert len({round(figure, 6) for figure in result.restarts}) == 2  # from starts of their own
    index = result.restarts.index(max(result.restarts))
    assert (result.metrics == single.metrics) == (index == 0)
    evidence = log_evidence(result.program, x, num_particles=100, seed=0)
    best_known = max(result.restarts)
    assert evidence.total > best_known - 1  # the evidence is above the ELBO of these parameters


def test_restarts_in_a_folder_resume_exactly(tmp_path: Path) -> None:
    x = torch.randn(10)

    def run(out: Path, **more: object) -> tuple[float, tuple[float, ...]]:
        program = TwoModes()
        result = quick(program, x, steps=20, restarts=3, out=out,
                       optimizer=partial(Adam, lr=0.05), **more)  # fmt: skip
        return program.loc.item(), result.restarts

    whole = run(tmp_path / "whole")
    part = tmp_path / "part"
    run(part, control=RunControl(stop_after=9))
    assert run(part, resume=True) == whole
    assert run(part, resume=True) == whole  # nothing is left to do
    for name in (CHECKPOINT, METRICS):
        contents = [(tmp_path / folder / name).read_bytes() for folder in ("whole", "part")]
        assert contents[0] == contents[1]
    tensors, _ = checkpoint.read(part / CHECKPOINT)
    assert tensors["model/loc"].item() == whole[0]
    assert sorted(p.name for p in part.iterdir() if p.is_dir()) == [
        f"restart-{n}" for n in range(3)
    ]


def test_a_restart_that_fails_counts_as_the_worst() -> None:
    class Fragile(TwoModes):
        def model(self, x: Tensor) -> None:
            super().model(x)
            if self.loc.abs() > 0.6:
                raise RuntimeError("too far")

    result = quick(Fragile(), torch.randn(10), steps=5, restarts=4, optimizer=partial(SGD, lr=1e-3))
    failed = [math.isnan(figure) for figure in result.restarts]
    assert not failed[0]
    assert any(failed)
    assert f"{sum(failed)} failed" in str(result)


# --- arguments of unlike lengths -------------------------------------------------------------------

GROUPS, ROWS = 12, 90


def by_group(u: Tensor, group: Tensor, x: Tensor, y: Tensor) -> None:
    """A predictor u of each group beside one, x, of each row."""
    slope = pyro.sample("slope", dist.Normal(0.0, 2.0))
    gamma = pyro.sample("gamma", dist.Normal(0.0, 2.0))
    with pyro.plate("groups", len(u)):
        effect = pyro.sample("effect", dist.Normal(gamma.unsqueeze(-1) * u, 0.5))
    with pyro.plate("rows", len(x)):
        pyro.sample("y", dist.Normal(effect[..., group] + slope.unsqueeze(-1) * x, 0.4), obs=y)


class ByHand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.loc, self.log_scale = nn.Parameter(torch.zeros(14)), nn.Parameter(torch.zeros(14) - 2)

    def model(self, *args: Tensor) -> None:
        by_group(*args)

    def guide(self, u: Tensor, *_: Tensor) -> None:
        q = dist.Normal(self.loc, self.log_scale.exp())
        pyro.sample("slope", dist.Normal(q.loc[0], q.scale[0]))
        pyro.sample("gamma", dist.Normal(q.loc[1], q.scale[1]))
        with pyro.plate("groups", len(u)):
            pyro.sample("effect", dist.Normal(q.loc[2:], q.scale[2:]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["by hand", "AutoNormal", "alone"])
def test_arguments_of_unlike_lengths(kind: str) -> None:
    u, group, x = torch.randn(GROUPS), torch.arange(ROWS) % GROUPS, torch.randn(ROWS)
    y = (0.8 * u + 0.5 * torch.randn(GROUPS))[group] - 0.6 * x + 0.4 * torch.randn(ROWS)
    args = (u, group, x, y)
    program = {
        "by hand": ByHand,
        "AutoNormal": lambda: (by_group, AutoNormal(by_group)),
        "alone": lambda: by_group,
    }[kind]()
    options = {"optimizer": partial(Adam, lr=1e-2)} if kind == "alone" else {}
    result = quick(program, args=args, steps=600, **options)
    evidence = log_evidence(result.program, args=args, num_particles=2000, seed=0)
    columns = torch.cat([x[:, None], u[group][:, None]], 1).double()
    same = (group[:, None] == group).double()
    covariance = 4 * columns @ columns.T + 0.25 * same + 0.16 * torch.eye(ROWS).double()
    exact = dist.MultivariateNormal(torch.zeros(ROWS).double(), covariance).log_prob(y.double())
    assert evidence.total == pytest.approx(exact.item(), abs=0.3)


# --- progress --------------------------------------------------------------------------------------


def test_a_notebook_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress_bar(3, None, "row").disable  # neither terminal nor notebook
    shell = SimpleNamespace(kernel=object(), config={})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with progress_bar(3, None, "row") as bar:
        assert not bar.disable
    assert progress_bar(3, False, "row").disable
