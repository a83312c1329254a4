"""Objectives in a fit: captured as they are in Python, reported by their name, resumed exactly."""

import warnings
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from controls import GRAPHS
from every_objective import OBJECTIVES
from pyro.distributions import transforms
from pyro.infer import (
    ELBO,
    SVI,
    RenyiELBO,
    ReweightedWakeSleep,
    Trace_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
)
from pyro.infer.autoguide import AutoDelta, AutoNormal
from pyro.optim import Adam as PyroAdam
from refused import refused
from stories import Conjugate, GlobalMean, PyroStyleVAE
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyro_vae import fit, guides, log_evidence, priors
from pyro_vae.inference.evidence.proposals import refined
from pyro_vae.inference.objectives import (
    AAE,
    CIWAE,
    DIPVAE1,
    IWAE,
    MIWAE,
    PIWAE,
    R1R2,
    TCVAE,
    WAE,
    Capacity,
    Cyclical,
    DReG,
    FactorVAE,
    FreeBits,
    Linear,
    Renyi,
    StickingTheLanding,
    WakeSleep,
)
from pyro_vae.inference.objectives.adversary import Adversary
from pyro_vae.inference.objectives.aggregate import Aggregate
from pyro_vae.inference.objectives.objective import Scheduled
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.models import VAE, FactorAnalysis, MixtureVAE, SemiSupervisedVAE

X = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
BY_THEIR_DRAWS = [elbo for elbo in OBJECTIVES if not isinstance(elbo, WakeSleep | Adversary)]
quick = partial(
    fit, epochs=2, batch_size=50, progress=False, device="cpu", optimizer=partial(Adam, lr=0.01)
)


def trained(elbo: Any, mode: str = "off", **options: Any) -> tuple[Any, list[Tensor]]:
    torch.manual_seed(0)
    program = PyroStyleVAE()
    result = quick(program, X, elbo=elbo, compile=mode, **options)
    return result, [p.detach() for p in program.parameters()]


@pytest.mark.parametrize("elbo", OBJECTIVES, ids=lambda elbo: type(elbo).__name__)
def test_the_captured_step_is_the_step_in_python(elbo: Any) -> None:
    eager, expected = trained(elbo)
    captured, parameters = trained(elbo, "auto", control=GRAPHS)
    (note,) = captured.notes
    assert "as a graph, without Pyro" in note
    for one, other in zip(parameters, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    names = (f"train_{elbo.figure}", elbo.quantity if isinstance(elbo, Scheduled) else "beta")
    for name in names:
        assert [m[name] for m in captured.metrics] == pytest.approx(
            [m[name] for m in eager.metrics], rel=1e-4
        )


def test_a_schedule_is_captured() -> None:
    _, expected = trained(IWAE(2), beta=Cyclical(2.0, epochs=2))
    captured, parameters = trained(IWAE(2), "auto", beta=Cyclical(2.0, epochs=2), control=GRAPHS)
    assert "as a graph" in captured.notes[0]
    assert [m["beta"] for m in captured.metrics] == [2.0, 2.0]
    for one, other in zip(parameters, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_inductor_compiles_a_gradient_within_a_gradient() -> None:
    _, expected = trained(DReG(3))
    compiled, parameters = trained(DReG(3), "on")
    assert "compiled by Inductor" in compiled.notes[0]
    for one, other in zip(parameters, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


# --- what is reported -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elbo", "names"),
    [
        (None, {"train_elbo", "validation_elbo"}),
        (StickingTheLanding(), {"train_elbo", "validation_elbo"}),
        (IWAE(3), {"train_bound", "validation_bound"}),
        (Renyi(-0.5, 3), {"train_objective", "validation_elbo"}),
        (FreeBits(), {"train_objective", "validation_elbo"}),
        (RenyiELBO(num_particles=2), {"train_objective", "validation_elbo"}),
        (ReweightedWakeSleep(num_particles=2), {"train_objective", "validation_elbo"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_an_elbo_is_called_one(elbo: Any, names: set[str]) -> None:
    result, _ = trained(elbo, validation=X[:20])
    found = {n for n in result.metrics[0] if n.startswith(("train", "validation"))}
    assert found == names
    assert result.best_epoch is not None


def test_held_out_data_are_judged_by_the_elbo_where_the_objective_is_no_bound() -> None:
    """With learning rate 0 all objectives leave the same parameters, whose ELBO is the same."""
    still = partial(Adam, lr=0.0)
    torch.manual_seed(0)
    fa = FactorAnalysis((6,), 2)
    kept = {name: value.clone() for name, value in fa.state_dict().items()}
    found = []
    for elbo in (None, FreeBits(30.0), WAE(100.0), Capacity()):
        fa.load_state_dict(kept)
        result = quick(fa, X, elbo=elbo, validation=X, optimizer=still, epochs=1)
        found.append(result.metrics[0]["validation_elbo"])
    assert found == pytest.approx([found[0]] * 4, rel=1e-5)


def test_capacity_weighs_the_kl_by_itself() -> None:
    for options in ({"beta": 2.0}, {"kl_warmup": 1.0}, {"beta": Linear()}):
        with refused("Capacity", remedy="kl_warmup"):
            trained(Capacity(), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"beta": Cyclical(1.0, epochs=3)},
        {"elbo": Capacity(5.0, Linear(0, 4, 5))},
        {"elbo": DReG(2)},
        {"elbo": FactorVAE(5.0)},
        {"elbo": AAE(penalty=R1R2(), discriminator_steps=2)},
    ],
    ids=["cyclical", "capacity", "DReG", "FactorVAE", "AAE"],
)
def test_resume_is_exact(tmp_path, options) -> None:
    def run(out, **more):
        torch.manual_seed(0)
        model = FactorAnalysis((6,), 2)
        return model, quick(model, X, epochs=4, batch_size=20, out=out, **options, **more)

    whole, result = run(tmp_path / "whole")
    run(tmp_path / "part", control=RunControl(stop_after=7))
    again, resumed = run(tmp_path / "part", resume=True)
    assert resumed.metrics == result.metrics
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


# --- any program ----------------------------------------------------------------------------------


def test_plain_functions_and_pyros_svi() -> None:
    """IWAE has the posterior for a fixed point, too: slope 1/2, scale sqrt(1/2)."""
    pyro.clear_param_store()
    torch.manual_seed(0)
    x = torch.randn(256) * 2**0.5
    svi = SVI(Conjugate.model, Conjugate.guide, PyroAdam({"lr": 0.02}), loss=DReG(4))
    losses = [svi.step(x) for _ in range(300)]
    store = pyro.get_param_store()
    assert store["slope"].item() == pytest.approx(0.5, abs=0.02)
    assert store["scale"].item() == pytest.approx(0.5**0.5, abs=0.02)
    evidence = float(Conjugate.log_evidence(x).sum())
    assert -losses[-1] == pytest.approx(evidence, abs=0.5)
    assert -svi.evaluate_loss(x) == pytest.approx(evidence, abs=0.5)


def test_a_joint_evidence_is_bounded_as_one() -> None:
    x = torch.randn(20, generator=torch.Generator().manual_seed(0)) + 1
    pyro.set_rng_seed(0)
    value = -IWAE(5000).loss(GlobalMean.model, GlobalMean.guide, x)
    assert value == pytest.approx(float(GlobalMean.log_evidence(x)), abs=0.02)


def test_a_program_that_takes_no_further_dimension_is_drawn_one_by_one() -> None:
    class Averages(nn.Module):
        """Its likelihood means over dimension 0, whatever that is."""

        def __init__(self) -> None:
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(0.4))

        def model(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
                pyro.sample("x", dist.Normal(z + 0 * z.mean(0), 1.0), obs=x)
                assert z.dim() == 1

        def guide(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(self.slope * x, 0.5**0.5))

    program, x = Averages(), X[:, 0].contiguous()
    with torch.no_grad():
        program.slope.fill_(0.5)
    for elbo in (IWAE(4), DReG(4), PIWAE(2, 2), WakeSleep(3)):
        planned = elbo.planned(program, x)
        assert not planned.plan.vectorized
        evidence = float(Conjugate.log_evidence(x).sum())
        assert -planned.loss(program.model, program.guide, x) == pytest.approx(evidence, rel=1e-4)
        quick(program, x, elbo=elbo, optimizer=partial(Adam, lr=0.0))


@pytest.mark.slow
def test_autoguides_with_sites_of_their_own() -> None:
    """AutoNormal draws in other coordinates; AutoDelta draws nothing, and then log w is log p(x, z)."""
    x = torch.randn(20, generator=torch.Generator().manual_seed(0))

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.LogNormal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean.log(), 1.0), obs=x)

    evidence, mean = float(GlobalMean.log_evidence(x)), float((x.sum() / 21).exp())
    for elbo in (DReG(4), PIWAE(2, 2), StickingTheLanding(), WakeSleep(4), FreeBits(0.0)):
        pyro.clear_param_store()
        guide = AutoNormal(model)
        quick(
            (model, guide), x, batch_size=20, epochs=400, elbo=elbo,
            optimizer=partial(Adam, lr=0.02), lr_schedule=partial(CosineAnnealingLR, T_max=400),
        )  # fmt: skip
        assert guide.median()["mean"].item() == pytest.approx(mean, rel=0.05)
        error = log_evidence((model, guide), x, num_particles=5000).mean_standard_error
        least = 1e-5  # what float32 leaves of sums of tens of nats
        assert -IWAE(5000).loss(model, guide, x) == pytest.approx(evidence, abs=5 * error + least)
    pyro.clear_param_store()
    guide = AutoDelta(model)
    guide(x)
    mode = guide.median()["mean"].detach()
    joint = dist.LogNormal(0.0, 1.0).log_prob(mode) + dist.Normal(mode.log(), 1.0).log_prob(x).sum()
    for elbo in (IWAE(3), StickingTheLanding()):
        assert -elbo.loss(model, guide, x) == pytest.approx(float(joint), rel=1e-5)
    FreeBits().loss(model, guide, x)


def test_a_proposal_is_refined_by_it_where_an_evidence_draws() -> None:
    pyro.clear_param_store()
    x = X[:, 0].contiguous()
    better = refined(Conjugate, steps=200, learning_rate=0.02, elbo=IWAE(4))
    evidence = log_evidence(better, x, num_particles=50, seed=0)
    off = (evidence.log_evidence - Conjugate.log_evidence(x)).abs()
    assert (off < 5 * evidence.standard_error + 1e-3).all()
    plain = log_evidence(Conjugate, x, num_particles=50, seed=0)
    lost, before = (50 - figures.ess.mean() for figures in (evidence, plain))
    assert lost < 0.75 * before  # the guide of all data alike is close already


def test_the_objective_that_was_given_serves_the_next_program_too() -> None:
    elbo = IWAE(2)
    trained(elbo)
    assert elbo.plan is None
    quick(FactorAnalysis((6,), 2), X, elbo=elbo)
    quick(VAE((6,), 2), (X > 0).float(), elbo=elbo, batch_size=20)


def test_one_that_has_seen_another_program_says_so() -> None:
    elbo = IWAE(2)
    elbo.loss(Conjugate.model, Conjugate.guide, X[:, 0])

    def model(x: Tensor) -> None:
        with pyro.plate("others", len(x)):
            pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("others", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))

    with refused("data", remedy="a new objective"):
        elbo.loss(model, guide, X[:, 0])


# --- what is refused ------------------------------------------------------------------------------


def discrete_model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        which = pyro.sample("which", dist.Bernoulli(0.4))
        pyro.sample("x", dist.Normal(which, 1.0), obs=x[:, 0])


def discrete_guide(x: Tensor) -> None:
    logit = pyro.param("logit", torch.tensor(0.3))
    with pyro.plate("data", len(x)):
        pyro.sample("which", dist.Bernoulli(logits=logit * x[:, 0]))


@pytest.mark.parametrize("elbo", BY_THEIR_DRAWS, ids=lambda elbo: type(elbo).__name__)
def test_draws_without_gradients_are_refused_by_their_site(elbo: Any) -> None:
    is_aggregate = isinstance(elbo, Aggregate)
    with refused("which", remedy="to_event(1)" if is_aggregate else "WakeSleep"):
        quick((discrete_model, discrete_guide), X, elbo=elbo)


def test_flows_that_cannot_be_inverted_are_refused_where_copies_are_scored() -> None:
    story = FactorAnalysis((6,), 2)

    def guide_of(flow: Any) -> Any:
        def guide(x: Tensor) -> None:
            pyro.module("flow", flow)
            with pyro.plate("data", len(x)):
                base = dist.Normal(x[:, :2], torch.ones(2))
                pyro.sample("z", dist.TransformedDistribution(base, [flow]))

        return guide

    planar = guide_of(transforms.planar(2))
    for elbo in (DReG(3), StickingTheLanding(), PIWAE(2, 2), IWAE(3)):
        with refused("z", remedy="an inverse"):
            quick((story.model, planar), X, elbo=elbo)
        quick((story.model, guide_of(transforms.affine_autoregressive(2, [4]))), X, elbo=elbo)
    quick((story.model, planar), X, elbo=IWAE(1))


def test_what_is_summed_out_belongs_to_prior_and_likelihood_both() -> None:
    for elbo in (FreeBits(), Capacity(), TCVAE(), WAE()):
        with refused("k", remedy="IWAE"):
            quick(MixtureVAE((6,), 2, 3), (X > 0).float(), elbo=elbo)
    quick(MixtureVAE((6,), 2, 3), (X > 0).float(), elbo=DIPVAE1())


def test_a_program_without_latents_has_its_likelihood() -> None:
    def model(x: Tensor) -> None:
        loc = pyro.param("loc", torch.zeros(6))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None: ...

    exact = float(dist.Normal(torch.zeros(6), 1.0).log_prob(X).sum())
    for elbo in (IWAE(3), DReG(2), WakeSleep(2), StickingTheLanding()):
        pyro.clear_param_store()
        assert -elbo.loss(model, guide, X) == pytest.approx(exact, rel=1e-5)
        quick((model, guide), X, elbo=elbo)
    for elbo in (TCVAE(), FreeBits(), Capacity()):
        with refused(type(elbo).__name__, remedy="TraceELBO"):
            elbo.loss(model, guide, X)


def test_wake_sleep_trains_what_has_no_gradients_through_its_draws() -> None:
    pyro.clear_param_store()
    result = quick((discrete_model, discrete_guide), X, elbo=WakeSleep(4), control=GRAPHS)
    assert "as a graph" in result.notes[0]


def test_rows_left_out_within_a_unit_make_no_bound() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 1), 1.0))
            with pyro.plate("columns", 6, subsample_size=3, dim=-1) as index:
                pyro.sample("x", dist.Normal(z, 1.0), obs=x[:, index])

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("z", dist.Normal(pyro.param("a", torch.tensor(0.1)) * x[:, :1], 1.0))

    for elbo in (IWAE(2), Renyi(0.5, 2), WakeSleep(2), MIWAE(2, 2)):
        with refused("columns", remedy="subsample_size"):
            elbo.loss(model, guide, X)
    FreeBits().loss(model, guide, X)
    StickingTheLanding().loss(model, guide, X)


@pytest.mark.parametrize(
    ("make", "subject", "fields"),
    [
        (lambda: IWAE(0), "num_particles", {"expected": "at least 1"}),
        (lambda: MIWAE(2, 0), "num_estimates", {"expected": "at least 1"}),
        (lambda: CIWAE(2, 1.5), "elbo_weight", {"expected": "0 and 1"}),
        (lambda: Renyi(1.0), "alpha", {"remedy": "TraceELBO"}),
        (lambda: WakeSleep(1), "num_particles", {"expected": "at least 2"}),
    ],
)
def test_numbers_that_make_no_sense(make: Any, subject: str, fields: dict[str, str]) -> None:
    with refused(subject, **fields):
        make()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("elbo", OBJECTIVES, ids=lambda elbo: type(elbo).__name__)
def test_on_a_gpu_too(elbo: Any) -> None:
    eager, expected = trained(elbo, device="cuda")
    compiled, parameters = trained(elbo, "on", device="cuda")
    name = f"train_{elbo.figure}"
    assert compiled.metrics[-1][name] == pytest.approx(eager.metrics[-1][name], rel=1e-3)
    for one, other in zip(parameters, expected, strict=True):
        assert one.is_cuda
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "elbo", [Trace_ELBO(), TraceMeanField_ELBO(), TraceGraph_ELBO(), RenyiELBO()]
)
def test_a_site_that_the_guide_leaves_to_be_summed_out_is_(elbo: ELBO) -> None:
    with refused("k", remedy="TraceEnum_ELBO"):
        fit(MixtureVAE((4,), 2), torch.ones(8, 4), epochs=1, elbo=elbo, progress=False)


def test_a_marked_site_that_is_drawn_is_spoken_of() -> None:
    model, data = (
        SemiSupervisedVAE((4,), 2, num_classes=2),
        (torch.ones(8, 4), torch.zeros(8).int()),
    )
    with refused("y", remedy="TraceEnum_ELBO"):
        fit(model, data, epochs=1, elbo=TraceMeanField_ELBO(), progress=False)
    with refused("y", remedy="TraceEnum_ELBO"):
        fit(model, data, epochs=1, elbo=IWAE(4), progress=False)
    drawn = VAE((4,), 2, prior=priors.Categorical, guide=guides.Categorical)
    with refused("z", remedy="WakeSleep"):
        fit(drawn, data[0], epochs=1, elbo=TraceMeanField_ELBO(), progress=False)
    with warnings.catch_warnings(record=True) as raw:
        noted = fit(model, data, epochs=1, elbo=Trace_ELBO(), progress=False).notes
    assert not raw
    assert "Trace_ELBO draws 'y'" in noted[0]
    assert "TraceEnum_ELBO" in noted[0]
    assert not any("TraceEnum" in n for n in fit(model, data, epochs=1, progress=False).notes)
