"""The evidence against closed forms, within its own standard error."""

import math
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoDelta, AutoNormal
from refused import refused, refused_with
from stories import Conjugate, GlobalMean, PyroStyleVAE
from torch import Tensor, nn

from pyro_vae import (
    evaluate,
    fit,
    log_evidence,
    posterior,
    prior_samples,
)
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.models import VAE, FactorAnalysis

X = torch.randn(50, generator=torch.Generator().manual_seed(1)) * 1.5


def z_scores(estimate: Tensor, exact: Tensor, error: Tensor) -> Tensor:
    return ((estimate - exact) / error).abs()


def test_a_conjugate_pair() -> None:
    evidence = log_evidence(Conjugate, X, num_particles=20_000, seed=1)
    exact = Conjugate.log_evidence(X).double()
    assert evidence.num_units == 50
    assert z_scores(evidence.log_evidence, exact, evidence.standard_error).max() < 4
    assert abs(evidence.mean - exact.mean()) < 4 * evidence.mean_standard_error
    assert evidence.total == pytest.approx(evidence.mean * 50)
    assert evidence.sampling_error == pytest.approx(exact.std().item() / 50**0.5, rel=0.02)


@pytest.mark.slow
def test_errors_are_calibrated_over_repeats() -> None:
    exact = Conjugate.log_evidence(X).double()
    repeats = [log_evidence(Conjugate, X, num_particles=20_000, seed=s) for s in range(200)]
    z = torch.stack([z_scores(e.log_evidence, exact, e.standard_error) for e in repeats])
    for bound, normal in ((1.96, 0.05), (3.0, 0.0027)):
        share = (z > bound).double().mean().item()
        assert abs(share - normal) < 4 * (normal / z.numel()) ** 0.5


@pytest.mark.parametrize("trained", [False, True])
def test_factor_analysis(trained) -> None:
    torch.manual_seed(0)
    x = torch.randn(40, 4) @ torch.randn(4, 4)
    model = FactorAnalysis((4,), 2)
    if trained:
        fit(
            model,
            x,
            epochs=200,
            batch_size=40,
            progress=False,
            device="cpu",
            optimizer=partial(torch.optim.Adam, lr=0.02),
        )
    evidence = log_evidence(model, x, num_particles=20_000, seed=1)
    exact = model.log_evidence(x).detach().double()
    if trained:
        assert z_scores(evidence.log_evidence, exact, evidence.standard_error).max() < 4
    else:  # an untrained guide: heavy weights, so the bound lies below, and most of it near
        known = ~evidence.without_error
        off = (evidence.log_evidence - exact).abs()[known]
        assert (off < 4 * evidence.standard_error[known] + 1e-3).all()
        assert evidence.certificate(1e-4) < exact.mean()
    assert (evidence.bounds[1] <= evidence.log_evidence + 1e-9).all()


def test_a_joint_evidence_says_so() -> None:
    x = X[:10]
    evidence = log_evidence(GlobalMean, x, num_particles=50_000, seed=0)
    assert (evidence.num_units, evidence.unit) == (1, None)
    assert "'mean' lies outside" in evidence.summary()
    exact = GlobalMean.log_evidence(x).item()
    assert abs(evidence.total - exact) < 4 * evidence.standard_error.item()


@pytest.mark.parametrize("max_memory", [1, 3_000, 2**30])
def test_memory_changes_nothing_and_every_weight_is_drawn_once(max_memory, monkeypatch) -> None:
    counts: list[int] = []
    add = WeightSums.add
    monkeypatch.setattr(WeightSums, "add", lambda s, w: (counts.append(w.numel()), add(s, w))[1])
    x = torch.cat([X, X])
    evidence = log_evidence(Conjugate, x, num_particles=1100, seed=0, max_memory=max_memory)
    assert sum(counts) == 100 * 1100
    other = log_evidence(Conjugate, x, num_particles=1100, seed=0)
    torch.testing.assert_close(evidence.log_evidence, other.log_evidence, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_the_standard_error_is_the_spread_of_repeats() -> None:
    repeats = [log_evidence(Conjugate, X[:5], num_particles=400, seed=s) for s in range(200)]
    spread = torch.stack([e.log_evidence for e in repeats]).std(0)
    claimed = torch.stack([e.standard_error for e in repeats]).mean(0)
    # the standard deviation of 200 draws is known to 5%; four of those
    assert ((spread / claimed - 1).abs() < 0.2).all()


def test_a_call_leaves_no_trace_and_seeds_repeat() -> None:
    vae = VAE((6,), 2, encoder=_norm, decoder=_norm)
    x = (torch.randn(8, 6) > 0).float()
    state, noise = {n: t.clone() for n, t in vae.state_dict().items()}, torch.get_rng_state()
    one, two = (log_evidence(vae, x, num_particles=50, seed=3) for _ in range(2))
    assert torch.equal(one.log_evidence, two.log_evidence)
    assert torch.equal(noise, torch.get_rng_state())
    assert vae.training
    assert all(torch.equal(t, vae.state_dict()[n]) for n, t in state.items())


def _norm(in_shape, out_shape) -> nn.Module:
    size = torch.Size(out_shape).numel()
    return nn.Sequential(
        _Flat(in_shape[-1]), nn.Linear(in_shape[-1], size), nn.Unflatten(-1, out_shape)
    )


class _Flat(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(size)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.reshape(-1, x.shape[-1])).reshape(x.shape)


def test_programs_that_take_no_particle_dimension_give_the_same() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            assert z.dim() == 1
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    evidence = log_evidence((model, Conjugate.guide), X[:5], num_particles=500, seed=0)
    exact = Conjugate.log_evidence(X[:5]).double()
    assert z_scores(evidence.log_evidence, exact, evidence.standard_error).max() < 4


@pytest.mark.parametrize(
    ("options", "subject"),
    [
        ({"num_particles": 0}, "num_particles"),
        ({"unit": "dta"}, "dta"),
        ({"device": "cuda:9"}, "device"),
    ],
)
def test_wrong_options(options, subject) -> None:
    with refused(subject):
        log_evidence(Conjugate, X, **options)


def test_a_random_subset_is_no_evidence_of_all() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=3) as index:
            pyro.sample(
                "x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x[index]
            )

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=3) as index:
            pyro.sample("z", dist.Normal(x[index] / 2, 1.0))

    with refused("data", remedy="subsample_size"):
        log_evidence((model, guide), X)


def test_evaluation_of_a_fixed_gaussian() -> None:
    """q = Normal(0.3 x, 0.9): rate and distortion by formula."""
    evaluation = evaluate(Conjugate, X, num_particles=4000, seed=0)
    loc, scale = 0.3 * X, 0.9
    rate = 0.5 * (loc**2 + scale**2 - 1) - math.log(scale)
    distortion = 0.5 * math.log(2 * math.pi) + 0.5 * ((X - loc) ** 2 + scale**2)
    assert (evaluation.rate - rate).abs().max() < 0.1
    assert (evaluation.distortion - distortion).abs().max() < 0.15
    assert evaluation.elbo.mean().item() == pytest.approx(
        -(rate + distortion).mean().item(), abs=0.01
    )
    assert evaluation.active_units == {"z": (1, 1)}


def test_active_units_count_what_varies_with_the_data() -> None:
    vae = PyroStyleVAE(6, 3)
    with torch.no_grad():
        vae.encoder.weight.zero_()
        vae.encoder.weight[1, 0] = 1.0
        vae.encoder.bias.zero_()
    assert evaluate(vae, torch.randn(400, 6), seed=0).active_units == {"latent": (1, 3)}


def test_predictions() -> None:
    model = FactorAnalysis((3,), 2)
    x = torch.randn(4000, 3)
    drawn = prior_samples(model, x, num_draws=1, seed=0).predictive["x"][0]
    covariance = (model.loadings @ model.loadings.T + (2 * model.log_scale).exp().diag()).detach()
    assert (drawn.T.cov() - covariance).abs().max() < 0.25
    found = posterior(model, x, num_draws=100, seed=0)
    assert found.reconstructions(seed=0)["x"].shape == x.shape


def test_enumerated_latents_are_summed_out_exactly() -> None:
    locs, weights = torch.tensor([-2.0, 0.0, 3.0]), torch.tensor([0.2, 0.5, 0.3])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)), pyro.poutine.scale(scale=0.1):
            which = pyro.sample("which", dist.Categorical(weights), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(locs[which], 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.8 * x, 0.6))

    x = X[:8]
    evidence = log_evidence((model, guide), x, num_particles=20_000, seed=0)
    components = dist.Normal(locs, 1.25**0.5).log_prob(x[:, None]) + weights.log()
    exact = components.logsumexp(-1).double()
    assert z_scores(evidence.log_evidence, exact, evidence.standard_error).max() < 4


def test_masked_sequences_of_a_hidden_markov_model() -> None:
    """No draws at all: one weight is exact."""
    transition = torch.tensor([[0.8, 0.2], [0.3, 0.7]])
    locs = torch.tensor([-1.0, 1.0])

    def model(x: Tensor, lengths: Tensor) -> None:
        with pyro.plate("sequences", len(x)):
            state = 0
            for t in pyro.markov(range(x.shape[1])):
                with pyro.poutine.mask(mask=t < lengths):
                    state = pyro.sample(
                        f"state_{t}",
                        dist.Categorical(transition[state]),
                        infer={"enumerate": "parallel"},
                    )
                    pyro.sample(f"x_{t}", dist.Normal(locs[state], 1.0), obs=x[:, t])

    def forward(x: Tensor) -> Tensor:
        log_p = transition[0].log() + dist.Normal(locs, 1.0).log_prob(x[0])
        for value in x[1:]:
            log_p = (log_p[:, None] + transition.log()).logsumexp(0)
            log_p = log_p + dist.Normal(locs, 1.0).log_prob(value)
        return log_p.logsumexp(0)

    x, lengths = torch.randn(4, 6), torch.tensor([6, 1, 4, 2])
    evidence = log_evidence((model, lambda x, lengths: None), (x, lengths), num_particles=1)
    exact = torch.stack([forward(row[:n]) for row, n in zip(x, lengths, strict=True)])
    torch.testing.assert_close(evidence.log_evidence.float(), exact)


def test_guides_with_parameters_for_each_datum() -> None:
    guide = AutoNormal(Conjugate.model)
    x = X[:20]
    fit((Conjugate.model, guide), x, epochs=300, batch_size=20, progress=False, device="cpu",
        optimizer=lambda p: torch.optim.Adam(p, lr=0.02))  # fmt: skip
    evidence = log_evidence((Conjugate.model, guide), x, num_particles=5000, seed=0)
    exact, known = Conjugate.log_evidence(x).double(), ~evidence.without_error
    assert known.sum() > 15  # some guides are too narrow yet
    assert z_scores(evidence.log_evidence, exact, evidence.standard_error)[known].max() < 4
    with refused("batch_size", remedy="batch_size=20"):
        fit(
            (Conjugate.model, AutoNormal(Conjugate.model)),
            x,
            epochs=1,
            batch_size=6,
            progress=False,
        )


def test_a_guide_of_single_points_is_refused() -> None:
    guide = AutoDelta(GlobalMean.model)
    with refused("mean"):
        log_evidence((GlobalMean.model, guide), X, num_particles=50)


def test_data_that_are_not_numbers_are_named() -> None:
    with refused_with("the data hold nan", "(0,)"):
        log_evidence(Conjugate, torch.tensor([math.nan, math.nan]))
    evidence = log_evidence(Conjugate, torch.tensor([1.0, math.nan]))
    assert evidence.log_evidence.isnan().tolist() == [False, True]
    assert "1 of 2 units have NaN weights (the first is unit 1)" in evidence.summary()
