"""Scores: closed forms, common random numbers, what is refused, shares and pictures."""

import io
import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from torch import Tensor, nn

from pyro_vae import fit, score
from pyro_vae.guides import FullCovarianceNormal, MixtureNormal
from pyro_vae.inference import (
    Annealed,
    Background,
    DoSE,
    Importance,
    InputComplexity,
    Reconstruction,
    Regret,
    Score,
    Scores,
    Surprise,
    Typicality,
    plot_scores,
    plot_strangest,
)
from pyro_vae.inference.scoring.by import LATENTS, Figures
from pyro_vae.inference.scoring.plot import _bins
from pyro_vae.likelihoods import Missing, Normal
from pyro_vae.models import VAE, Autoencoder, FactorAnalysis, Table
from pyro_vae.networks import MLP, MaskedInput

LINEAR = partial(MLP, hidden_dims=())  # no hidden layer
EVERY = (
    Surprise(),
    Reconstruction(),
    Typicality(),
    DoSE(),
    InputComplexity(),
    Regret(steps=5),
    Background(FactorAnalysis((3,), 2)),
)


@dataclass(frozen=True)
class OneFactor:
    """z ~ N(0, 1), x_j ~ N(w_j z, 1): a user's own program, whose rows may have gaps.

    The guide is the posterior of rows without gaps, perhaps widened.
    """

    weights: tuple[float, ...] = (1.0, -2.0, 0.5)
    widened: float = 1.3

    def model(self, x: Tensor) -> None:
        w = torch.tensor(self.weights)
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            observed = ~x.isnan()
            p = dist.Normal(z.unsqueeze(-1) * w, 1.0).mask(observed).to_event(1)
            pyro.sample("x", p, obs=x.nan_to_num())

    def guide(self, x: Tensor) -> None:
        w = torch.tensor(self.weights) * ~x.isnan()
        precision = 1 + w.square().sum(-1)
        with pyro.plate("rows", len(x)):
            loc = (x.nan_to_num() * w).sum(-1) / precision
            pyro.sample("z", dist.Normal(loc, self.widened * precision**-0.5))

    def exact(self, x: Tensor) -> Tensor:
        w = torch.tensor(self.weights).double()
        found = []
        for row in x.double():
            seen = ~row.isnan()
            covariance = torch.outer(w[seen], w[seen]) + torch.eye(int(seen.sum()))
            p = dist.MultivariateNormal(torch.zeros(int(seen.sum())).double(), covariance)
            found.append(p.log_prob(row[seen]) if seen.any() else torch.zeros(()).double())
        return torch.stack(found)


def with_gaps(rows: int = 12) -> Tensor:
    x = torch.randn(rows, 3) * 2
    x[::3, 0] = math.nan
    x[1, :2] = math.nan
    return x


def fitted(rows: int = 60) -> tuple[FactorAnalysis, Tensor]:
    x, model = torch.randn(rows, 3), FactorAnalysis((3,), 1)
    fit(model, x, epochs=2, progress=False)
    return model, x


# --- values ----------------------------------------------------------------------------------


def test_a_surprise_is_minus_the_evidence_of_what_was_observed() -> None:
    program, x = OneFactor(), with_gaps()
    scores = score(program, x, num_particles=5000)
    off = (scores.scores + program.exact(x)).abs() / scores.errors.clamp(min=1e-7)
    assert bool((off < 5).all()), off
    assert float(scores.errors.max()) < 0.05


def test_factor_analysis_with_gaps_is_scored_by_its_marginal() -> None:
    """Linear factors under a likelihood of ours that leaves gaps out, against the Normal marginal."""
    x = with_gaps(30) / 4
    parts = {"likelihood": partial(Missing, likelihood=Normal), "encoder": MaskedInput}
    model = VAE((3,), 1, decoder=LINEAR, **parts)
    method = Importance(prior_share=0.5)  # the encoder is not fitted
    scores = score(model, x[:8], method=method, num_particles=4000)
    loc = model.likelihood(torch.zeros(1, 1)).mean[0].detach().double()
    w = model.likelihood(torch.ones(1, 1)).mean[0].detach().double() - loc
    scale = model.likelihood.complete.log_scale.exp()
    for row, found, error in zip(x[:8].double(), scores.scores, scores.errors, strict=True):
        seen = ~row.isnan()
        noise = scale.detach().double().expand(3)[seen].square().diag()
        p = dist.MultivariateNormal(loc[seen], torch.outer(w[seen], w[seen]) + noise)
        assert abs(float(found + p.log_prob(row[seen]))) < 5 * max(float(error), 1e-6)


def test_shares_sum_to_the_score_and_are_those_of_the_posterior() -> None:
    program, x = OneFactor(), torch.randn(5, 3) * 2
    scores = score(program, x, num_particles=20_000)
    total = sum(part for part in scores.parts().values())
    torch.testing.assert_close(total, scores.scores)
    w = torch.tensor(program.weights)
    precision = 1 + w.square().sum()
    loc = (x * w).sum(1) / precision
    expected = 0.5 * ((x - loc[:, None] * w).square() + w**2 / precision + math.log(2 * math.pi))
    torch.testing.assert_close(scores.shares["x"], expected.double(), atol=0.06, rtol=0.02)
    kl = 0.5 * (1 / precision + loc**2 - 1 + precision.log())
    torch.testing.assert_close(scores.shares[LATENTS], kl.double(), atol=0.12, rtol=0.02)


def test_scores_follow_their_formulas() -> None:
    model, _ = fitted()
    other = FactorAnalysis((3,), 2)
    new, reference = torch.randn(7, 3) * 3, torch.randn(80, 3)
    surprise = score(model, new).scores
    exact = -model.log_evidence(new).detach().double()
    torch.testing.assert_close(surprise, exact, rtol=1e-5, atol=1e-5)
    ratio = score(model, new, by=Background(other)).scores
    expected = exact + other.log_evidence(new).detach().double()
    torch.testing.assert_close(ratio, expected, rtol=1e-5, atol=1e-5)
    typicality = score(model, new, by=Typicality(), reference=reference).scores
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))
    entropy = -model.log_evidence(reference[order[:40]]).detach().double().mean()
    torch.testing.assert_close(typicality, (exact - entropy).abs(), rtol=1e-5, atol=1e-5)
    by_guide = score(model, new, by=Reconstruction())
    assert bool((by_guide.errors > 0).all())
    assert set(by_guide.shares) == {"x"}


def test_a_regret_is_the_gap_that_a_poor_guide_leaves() -> None:
    """The refined guide of a linear-Gaussian program reaches the evidence."""
    program = OneFactor(widened=2.0)
    x = torch.randn(6, 3)
    regret = score(program, x, by=Regret(steps=200, learning_rate=0.1), num_particles=4000)
    gap = -math.log(2.0) - 0.5 + 2.0  # KL of the widened guide from the posterior
    assert bool(((regret.scores - gap).abs() < 5 * regret.errors + 0.02).all()), regret.scores


# --- common random numbers -------------------------------------------------------------------


@pytest.mark.parametrize("by", EVERY, ids=lambda by: type(by).__name__)
def test_a_row_scores_alone_as_among_others_and_always_the_same(by: Score) -> None:
    model, _ = fitted()
    x, reference = torch.randn(30, 3), torch.randn(20, 3)
    run = partial(score, model, by=by, reference=reference, num_particles=100, method="importance")
    whole, again = run(x), run(x)
    for name in ("scores", "errors", "p_values", "q_values"):
        assert torch.equal(getattr(whole, name).nan_to_num(), getattr(again, name).nan_to_num()), (
            name
        )
    for some in (slice(4, 5), slice(20, 23), slice(5, 25)):
        alone, among = run(x[some]).scores, whole.scores[some]
        assert bool(((alone - among).abs() <= 1e-4 + 1e-6 * among.abs()).all()), (alone, among)


@pytest.mark.parametrize("guide", [FullCovarianceNormal, MixtureNormal])
def test_other_guides_share_their_noise(guide: type) -> None:
    model = VAE((3,), 2, guide=guide, likelihood=Normal)
    x = torch.randn(20, 3)
    whole = score(model, x, num_particles=700).scores
    alone = torch.cat([score(model, x[i : i + 1], num_particles=700).scores for i in (0, 13)])
    torch.testing.assert_close(alone, whole[[0, 13]], atol=1e-4, rtol=1e-6)


class WithGamma(nn.Module):
    """Its guide draws by rejection, so noise cannot be shared within a tile."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
            pyro.sample("x", dist.Exponential(rate), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            pyro.sample("rate", dist.Gamma(2.7, 1.0 + x))


@pytest.mark.parametrize(
    "method", ["importance", pytest.param(Annealed(num_temperatures=2), marks=pytest.mark.slow)]
)
def test_where_noise_cannot_be_shared_a_row_is_taken_alone(method) -> None:
    x = torch.rand(9) * 3
    run = partial(score, WithGamma(), method=method, num_particles=4)
    whole = run(x).scores
    torch.testing.assert_close(run(x[3:4]).scores, whole[3:4], atol=1e-4, rtol=1e-6)


def test_a_call_leaves_the_generator_as_it_was() -> None:
    model, _ = fitted()
    state = torch.get_rng_state()
    score(model, torch.randn(5, 3, generator=torch.Generator().manual_seed(1)), method="importance")
    assert torch.equal(state, torch.get_rng_state())


# --- refusals --------------------------------------------------------------------------------


def test_an_autoencoder_has_no_scores() -> None:
    with pytest.raises(ValueError, match=r"no evidence|improper|flat"):
        score(Autoencoder((3,), 1), torch.rand(9, 3).round())


def test_wrong_input_is_refused() -> None:
    model, x = fitted()
    new = torch.randn(4, 3)
    with refused("reference", expected="the same columns"):
        score(model, new, reference=torch.randn(30, 2))
    with refused("reference", expected="not fitted to"):
        score(model, new, reference=torch.cat([torch.randn(30, 3), x[:2]]))
    with refused("num_particles"):
        score(model, new, num_particles=0)
    with refused("reference"):
        score(model, new, by=Typicality())
    with refused("by"):
        score(model, new, by=Surprise)
    with refused("false_alarms"):
        score(model, new, false_alarms=1.5)
    with refused("steps"):
        Regret(steps=0)


def test_a_program_whose_rows_share_a_latent_has_no_score_of_a_row() -> None:
    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("mean", dist.Normal(x.mean(), 0.1))

    with refused("program", expected="plate of the rows"):
        score((model, guide), torch.randn(12))


def test_rows_that_came_twice_in_training_may_come_again() -> None:
    x = torch.randint(0, 2, (200, 3)).float()
    model = FactorAnalysis((3,), 1)
    fit(model, x, epochs=1, progress=False)
    assert score(model, x[:5], reference=torch.randint(0, 2, (50, 3)).float()).p_values is not None


# --- the result ------------------------------------------------------------------------------


def result() -> tuple[Scores, Tensor]:
    model, _ = fitted()
    new = torch.randn(30, 3)
    new[4, 1] = 25.0
    return score(model, new, reference=torch.randn(60, 3)), new


def test_a_result_says_which_rows_are_strange_and_why() -> None:
    scores, _ = result()
    assert scores.strangest(1).tolist() == [4]
    assert scores.reasons(4)[0][0] == "x[1]"
    assert bool(scores.is_strange[4])
    assert 4 in scores.discoveries(0.6).tolist()
    assert "x[1]" in str(scores)
    assert "<table" in scores._repr_html_()
    frame = scores.to_frame()
    assert len(frame) == 30
    parts = frame[[name for name in frame if name.startswith("share of")]]
    np.testing.assert_allclose(parts.sum(axis=1), frame["score"], rtol=1e-6)
    assert scores.to_dict()["scores"][4] == pytest.approx(float(scores.scores[4]))


def test_flagged_rows_are_those_above_the_threshold() -> None:
    scores, _ = result()
    assert scores.p_values is not None
    assert torch.equal(scores.is_strange, scores.p_values <= 0.05 + 1e-12)


def test_few_reference_rows_flag_nothing_and_say_so() -> None:
    model, _ = fitted()
    scores = score(model, torch.full((2, 3), 50.0), reference=torch.randn(9, 3))
    assert not scores.is_strange.any()
    assert any("at least 19 rows" in note for note in scores.notes)


def test_pictures_of_tables_and_of_images() -> None:
    scores, new = result()
    for figure in (plot_scores(scores), plot_strangest(scores, new, 6)):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        assert len(buffer.getvalue()) > 5000
    images = torch.rand(9, 1, 6, 5).round()
    of_images = score(VAE((1, 6, 5), 2), images, num_particles=20)
    assert len(plot_strangest(of_images, images, 5).axes) == 10


def test_a_users_own_score_is_an_object() -> None:
    @dataclass(frozen=True)
    class Rate(Score):
        description = "the rate"

        def figures(self, rows, learnt):
            return Figures(rows.terms.rate, rows.terms.rate_error)

    scores = score(OneFactor(), torch.randn(12, 3), by=Rate(), num_particles=50)
    assert scores.scores.shape == (12,)
    assert "the rate" in str(scores)


def test_a_method_that_weighs_other_data_is_refused() -> None:
    with refused("method", remedy="sandwich"):
        score(OneFactor(), torch.randn(4, 3), method="bidirectional")


def test_a_program_without_latents_has_no_share_of_them_and_no_regret() -> None:
    table, rows = Table((3,)), torch.randn(5, 3)
    found = score(table, rows)
    assert list(found.shares) == ["x"]
    torch.testing.assert_close(found.shares["x"].sum(1), found.scores, rtol=1e-5, atol=1e-4)
    with refused("by", expected="Surprise"):
        score(table, rows, by=Regret())
    empty = score(table, torch.full((2, 3), torch.nan))
    assert "-0" not in str(empty.scores.tolist())


def test_reference_rows_without_a_score_are_said() -> None:
    reference = torch.randn(30, 3)
    reference[:2, 0] = math.inf
    found = score(FactorAnalysis((3,), 1), torch.randn(4, 3), reference=reference)
    assert any("2 of the 30" in note for note in found.notes)


def test_every_score_is_inside_the_bins() -> None:
    values = torch.cat([torch.zeros(1), 20 + torch.rand(50), torch.tensor([9e5])])
    edges = _bins(values)
    assert edges[0] == values.min()
    assert edges[-1] == values.max()
