"""One call for all methods: dispatch, arguments, interruptions, several processes, bad input."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from oracles import errors_off
from processes import LOOPBACK, TWO_PROCESSES
from refused import refused
from stories import Conjugate, GlobalMean, interrupt_after
from torch import Tensor

from pyro_vae import guides, log_evidence, priors
from pyro_vae.inference.evidence import importance
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.auto import Auto
from pyro_vae.inference.evidence.bidirectional import Bidirectional, Sandwich
from pyro_vae.inference.evidence.estimate import Interrupted
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.methods import METHODS
from pyro_vae.inference.evidence.result import mean_error
from pyro_vae.models import VAE, DequantizedFlow, FactorAnalysis

pytestmark = pytest.mark.usefixtures("small_blocks")

X = torch.randn(300, generator=torch.Generator().manual_seed(1)) * 1.5


FEW_STEPS = Annealed(30, num_leapfrog=4)
SHORT = {
    "ais": FEW_STEPS,
    "sandwich": Sandwich(FEW_STEPS),
    "bidirectional": Bidirectional(FEW_STEPS),
}
TWICE = {"sandwich"}  # 2 s: it anneals there and back, as "bidirectional" does
EVERY = [pytest.param(n, marks=[pytest.mark.slow] if n in TWICE else []) for n in METHODS]


@pytest.mark.parametrize("name", EVERY)
def test_every_method_gives_the_same_evidence(name: str) -> None:
    torch.manual_seed(0)
    model, x = FactorAnalysis((4,), 2), torch.randn(70, 4)
    evidence = log_evidence(model, x, method=SHORT.get(name, name), seed=0)
    data = evidence.simulated[0] if evidence.simulated else x
    exact = model.log_evidence(data).detach().double()
    assert errors_off(evidence, exact)[-1] < 4
    assert evidence.num_units == 70
    assert evidence.is_exact == (name == "exact")
    assert evidence.values_per_unit == 4


def test_there_is_no_such_method() -> None:
    with refused("method") as caught:
        log_evidence(Conjugate, X, method="importanc")
    assert "Did you mean 'importance'" in str(caught.value)
    with refused("method", remedy="Auto()"):
        log_evidence(Conjugate, X, method=Auto)  # type: ignore[arg-type]


def test_arguments_in_place_of_data() -> None:
    """A program that takes a dictionary and a flag: called once, as it is."""

    def model(batch: dict[str, Tensor], *, shifted: bool) -> None:
        with pyro.plate("data", len(batch["x"])):
            z = pyro.sample("z", dist.Normal(1.0 if shifted else 0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=batch["x"])

    def guide(batch: dict[str, Tensor], *, shifted: bool) -> None:
        with pyro.plate("data", len(batch["x"])):
            pyro.sample("z", dist.Normal(batch["x"] / 2, 0.9))

    x, kwargs = X[:20], {"shifted": True}
    exact = dist.Normal(1.0, 2**0.5).log_prob(x).double()
    for method in ("importance", "ais", "exact"):
        evidence = log_evidence(
            (model, guide), args=({"x": x},), kwargs=kwargs, method=method, seed=0
        )
        assert abs(evidence.mean - exact.mean()) < 4 * max(evidence.mean_standard_error, 1e-5)
        assert evidence.num_units == 20
    with refused("data", remedy="args"):
        log_evidence((model, guide), x, kwargs=kwargs)
    with refused("data", remedy="args"):
        log_evidence((model, guide))


# --- interruptions ----------------------------------------------------------------------------


def test_an_interrupted_estimate_is_known_in_part_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = log_evidence(Conjugate, X, num_particles=1000, seed=3)
    options: dict[str, Any] = {
        "num_particles": 1000,
        "seed": 3,
        "checkpoint": tmp_path / "half.part",
    }
    with monkeypatch.context() as patch:
        interrupt_after(patch, 5)  # two parts a tile, so two tiles and a half
        with pytest.raises(Interrupted) as stop:
            log_evidence(Conjugate, X, **options)
    evidence, units = stop.value.evidence, stop.value.units
    assert evidence is not None
    assert torch.equal(evidence.log_evidence, whole.log_evidence[units])
    assert len(units) == 120  # of five tiles of 60
    assert f"{len(units)} of 300 units" in evidence.summary()
    assert "1,000 of 1,000 particles" in evidence.summary()
    parts: list[int] = []
    add = importance.WeightSums.add
    monkeypatch.setattr(
        importance.WeightSums, "add", lambda s, w: (parts.append(w.numel()), add(s, w))[1]
    )
    again = log_evidence(Conjugate, X, **options)
    assert sum(parts) == 1000 * (300 - len(units))
    assert torch.equal(again.log_evidence, whole.log_evidence)
    assert torch.equal(again.pareto_k, whole.pareto_k)
    assert not list(tmp_path.iterdir())


def test_before_the_first_tile_is_done_fewer_particles_are_known(monkeypatch) -> None:
    interrupt_after(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt) as stop:
        log_evidence(GlobalMean, X[:10], num_particles=100_000, seed=0)
    evidence = stop.value.evidence
    assert evidence.num_particles == 3 * 500  # of 100,000 in equal parts
    assert list(evidence.bounds)[-1] == evidence.num_particles
    exact = GlobalMean.log_evidence(X[:10]).item()
    assert abs(evidence.total - exact) < 4 * evidence.standard_error.item()
    assert f"{evidence.num_particles:,} of 100,000 particles" in evidence.summary()


def test_nothing_is_known_yet(monkeypatch) -> None:
    interrupt_after(monkeypatch, 0)
    with pytest.raises(Interrupted) as stop:
        log_evidence(Conjugate, X, seed=0)
    assert stop.value.evidence is None
    assert not len(stop.value.units)


def test_what_is_kept_is_of_one_estimate(monkeypatch, tmp_path) -> None:
    path = tmp_path / "kept"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(Interrupted):
            log_evidence(Conjugate, X, num_particles=1000, seed=3, checkpoint=path)
    later_rows_changed = torch.cat([X[:8], X[8:] + 1])
    narrower = (Conjugate.model, lambda x: pyro.poutine.scale(Conjugate.guide, 1.0)(0.9 * x))
    for program, x, options, differing in (
        (Conjugate, X, {"num_particles": 999, "seed": 3}, "num_particles"),
        (Conjugate, X, {"num_particles": 1000, "seed": 4}, "seed"),
        (Conjugate, later_rows_changed, {"num_particles": 1000, "seed": 3}, "the data"),
        (narrower, X, {"num_particles": 1000, "seed": 3}, "guide"),
        (Conjugate, X[:290], {"num_particles": 1000, "seed": 3}, "units"),
        (Conjugate, X, {"num_particles": 1000, "seed": 3, "method": Auto()}, "method"),
    ):
        with refused(str(path), remedy="remove the file") as caught:
            log_evidence(program, x, checkpoint=path, **options)
        assert differing in str(caught.value)
    path.write_bytes(b"rubbish")
    with refused(str(path)):
        log_evidence(Conjugate, X, num_particles=1000, seed=3, checkpoint=path)
    with refused("checkpoint", expected="a path"):
        log_evidence(Conjugate, X, checkpoint=3)
    with refused("checkpoint", remedy="seed"):
        log_evidence(Conjugate, X, checkpoint=path)


SHARED = """
import os, sys, torch
from torch import distributed
from stories import Conjugate
from pyro_vae import log_evidence
from pyro_vae.inference.evidence.ais import Annealed

rank = os.environ.get("RANK", "alone")
if rank != "alone":
    distributed.init_process_group("gloo")
x = torch.randn(300, generator=torch.Generator().manual_seed(1)) * 1.5
one = log_evidence(Conjugate, x, num_particles=1500, seed=3)
other = log_evidence(Conjugate, x, method=Annealed(5), seed=3)
torch.save((one.log_evidence, other.log_evidence), f"{sys.argv[1]}/{rank}.pt")
if rank != "alone":
    distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_several_processes_share_the_units_and_get_the_same(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SHARED)
    here = str(Path(__file__).parents[2])
    for launch in ((), TWO_PROCESSES):
        done = subprocess.run(
            [sys.executable, *launch, str(script), str(tmp_path)],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": here, "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", **LOOPBACK},
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
    alone, *each = (
        torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in ("alone", 0, 1)
    )
    for shared in each:
        torch.testing.assert_close(shared, alone)


# --- auto -------------------------------------------------------------------------------------


def narrow_for_some(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        scale = torch.where(x > 0, 0.15, 0.8)
        pyro.sample("z", dist.Normal(x / 2, scale))


def test_auto_sends_the_bad_units_on() -> None:
    x, program = X[:120], (Conjugate.model, narrow_for_some)
    plain = log_evidence(program, x, num_particles=2000, seed=0)
    auto = log_evidence(program, x, num_particles=2000, seed=0, method="auto")
    bad = plain.without_error
    assert bad[x > 0].double().mean() > 0.7
    assert not bad[x < 0].any()
    assert torch.equal(auto.log_evidence[~bad], plain.log_evidence[~bad])
    exact = Conjugate.log_evidence(x).double()
    before, after = ((e.log_evidence - exact)[bad].abs().mean() for e in (plain, auto))
    assert after < before / 2
    annealed = (auto.log_evidence - exact)[bad]
    assert abs(annealed.mean()) < 4 * annealed.std() / len(annealed) ** 0.5
    assert f"{int(bad.sum())} of 120 units were annealed" in auto.summary()
    assert auto.certificate() != auto.certificate()  # none: NaN
    assert "certified" not in auto.summary()


# --- the mixture of guide and prior -----------------------------------------------------------


def too_narrow(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x / 2, 0.15))


@pytest.mark.slow
def test_a_share_of_the_prior_mends_a_guide_that_is_too_narrow() -> None:
    x, program = X[:40], (Conjugate.model, too_narrow)
    exact = Conjugate.log_evidence(x).double()
    evidence = log_evidence(program, x, num_particles=10_000, seed=0, method=Importance(0.2))
    # far out few draws of the prior come near the posterior, which k rightly takes for a heavy tail
    assert evidence.bad_units < log_evidence(program, x, num_particles=10_000, seed=0).bad_units / 3
    known = ~evidence.without_error
    off = (evidence.log_evidence - exact)[known]
    assert (off.abs() < 4 * evidence.standard_error[known]).all()
    assert abs(off.mean()) < 4 * mean_error(evidence.standard_error[known])
    assert "for 20%, prior" in evidence.method
    less = log_evidence(
        program, x, num_particles=10_000, seed=0, method=Importance(0.2), max_memory=10_000
    )
    torch.testing.assert_close(less.log_evidence, evidence.log_evidence)


def test_weights_of_the_mixture_are_bounded() -> None:
    """No weight exceeds p(x | z) / s, so neither does their mean."""
    x = torch.full((200,), 3.0)
    evidence = log_evidence(
        (Conjugate.model, too_narrow), x, num_particles=1, seed=0, method=Importance(0.25)
    )
    most = dist.Normal(0.0, 1.0).log_prob(torch.tensor(0.0)) - torch.tensor(0.25).log()
    assert evidence.log_evidence.max() < most


def test_the_mixture_of_latents_under_one_that_is_summed_out() -> None:
    """The prior of z is itself a mixture; units in a plate left of another, one chain at a time too."""
    locs, weights = torch.tensor([-2.0, 3.0]), torch.tensor([0.3, 0.7])

    def model(x: Tensor, alone: bool = False) -> None:
        with pyro.plate("data", len(x), dim=-2):
            which = pyro.sample("which", dist.Categorical(weights), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(locs[which], 1.0))
            with pyro.plate("seen", 2, dim=-1):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("z", dist.Normal(x.mean(-1, keepdim=True), 0.3))

    x = torch.randn(10, 2) * 2
    covariance = torch.ones(2, 2) + torch.eye(2)
    each = [
        w.log() + dist.MultivariateNormal(loc.expand(2), covariance).log_prob(x)
        for loc, w in zip(locs, weights, strict=True)
    ]
    exact = torch.stack(each).logsumexp(0).double()
    evidence = log_evidence((model, guide), x, num_particles=20_000, seed=0, method=Importance(0.3))
    assert ((evidence.log_evidence - exact).abs() < 4 * evidence.standard_error).all()


def test_the_mixture_one_by_one() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            assert z.dim() == 1
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    x = X[:5]
    evidence = log_evidence(
        (model, too_narrow), x, num_particles=600, seed=0, method=Importance(0.5)
    )
    exact, known = Conjugate.log_evidence(x).double(), ~evidence.without_error
    assert known.sum() >= 4
    off = (evidence.log_evidence - exact).abs()
    assert (off < 4 * evidence.standard_error)[known].all()


def test_the_mixture_with_an_autoguide_and_shares_that_are_none() -> None:
    guide = pyro.infer.autoguide.AutoNormal(Conjugate.model)
    evidence = log_evidence(
        (Conjugate.model, guide), X[:8], method=Importance(0.5), num_particles=4000, seed=0
    )
    off = (evidence.log_evidence - Conjugate.log_evidence(X[:8])).abs()
    assert (off < 4.5 * evidence.standard_error).all()
    with refused("prior_share", expected="at least 0 and below 1"):
        Importance(1.0)


# --- supports ---------------------------------------------------------------------------------


def of(prior: Any, proposal: Any, x: Tensor | None = None) -> tuple[Any, Tensor]:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior)
            pyro.sample("x", dist.Normal(z.float(), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", proposal)

    return (model, guide), X[:8]


@pytest.mark.parametrize(
    ("prior", "proposal"),
    [
        (dist.Uniform(0.0, 1.0), dist.Uniform(0.0, 0.5)),
        (dist.Normal(0.0, 1.0), dist.LogNormal(0.0, 1.0)),
        (dist.Categorical(torch.ones(5)), dist.Categorical(torch.ones(3))),
        (dist.Categorical(torch.ones(3)), dist.Categorical(torch.tensor([1.0, 1, 1, 1e-9]))),
        (dist.Poisson(2.0), dist.Binomial(3, 0.5)),
    ],
)
def test_a_guide_that_does_not_reach_where_the_prior_does(prior, proposal) -> None:
    program, x = of(prior, proposal)
    with refused("z"):
        log_evidence(program, x, num_particles=50, seed=0)


@pytest.mark.parametrize(
    ("prior", "proposal"),
    [
        (dist.Gamma(2.0, 1.0), dist.LogNormal(0.0, 1.0)),
        (dist.Poisson(2.0), dist.NegativeBinomial(3.0, torch.tensor(0.5))),
        (dist.Bernoulli(0.3), dist.Bernoulli(0.6)),
        (dist.Beta(2.0, 1.0), dist.Uniform(0.0, 1.0)),
        (dist.HalfNormal(1.0), dist.Exponential(1.0)),
    ],
)
def test_other_families_with_the_same_support(prior, proposal) -> None:
    program, x = of(prior, proposal)
    assert log_evidence(program, x, num_particles=50, seed=0).log_evidence.isfinite().all()


def test_a_share_of_the_prior_reaches_what_the_guide_does_not() -> None:
    program, x = of(dist.Uniform(0.0, 2.0), dist.Uniform(0.0, 1.0))
    evidence = log_evidence(program, x, num_particles=20_000, seed=0, method=Importance(0.5))
    normal = dist.Normal(0.0, 1.0)
    exact = ((normal.cdf(x) - normal.cdf(x - 2)) / 2).log().double()
    assert ((evidence.log_evidence - exact).abs() < 4 * evidence.standard_error).all()


# --- exact ------------------------------------------------------------------------------------


def student(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.StudentT(5.0, z, 5.0), obs=x)


def one_of_two(x: Tensor) -> None:
    k = pyro.sample("k", dist.Bernoulli(0.4), infer={"enumerate": "parallel"})
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(2 * k, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


@pytest.mark.parametrize("model", [student, one_of_two])
@pytest.mark.parametrize("seed", range(5))
def test_what_is_nearly_gaussian_has_no_exact_evidence(model, seed) -> None:
    with refused("exact", remedy="method='auto'"):
        log_evidence((model, Conjugate.guide), torch.ones(1), method="exact", seed=seed)


def test_an_exact_evidence_of_the_wrong_shape_is_refused() -> None:
    class Wrong(Conjugate):
        @staticmethod
        def log_evidence(x: Tensor) -> Tensor:
            return Conjugate.log_evidence(x).sum()

    with refused("log_evidence", expected="for each unit"):
        log_evidence(Wrong, X, method="exact")


# --- programs of other kinds ------------------------------------------------------------------


def test_an_autoguide_that_is_a_point_is_refused() -> None:
    guide = pyro.infer.autoguide.AutoLaplaceApproximation(Conjugate.model)
    with refused("_AutoLaplaceApproximation_latent"):
        log_evidence((Conjugate.model, guide), X[:5])


def test_bounds_of_a_model_without_latents() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    evidence = log_evidence((model, lambda x: None), X, method="bidirectional", seed=0)
    exact = dist.Normal(0.0, 1.0).log_prob(evidence.simulated[0]).double()
    torch.testing.assert_close(evidence.log_evidence, exact)
    torch.testing.assert_close(evidence.upper, exact)


def test_annealing_from_a_prior_that_is_a_mixture() -> None:
    weights, locs = torch.tensor([0.3, 0.7]), torch.tensor([-2.0, 1.0])
    prior = dist.MixtureSameFamily(dist.Categorical(weights), dist.Normal(locs, 0.5))

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    x = X[:10]
    each = dist.Normal(locs, 1.25**0.5).log_prob(x[:, None]) + weights.log()
    for start in ("prior", "guide"):
        method = Annealed(30, start, num_leapfrog=4)
        evidence = log_evidence(
            (model, Conjugate.guide), x, method=method, num_particles=100, seed=0
        )
        off = evidence.log_evidence - each.logsumexp(-1)
        assert (off.abs() < 4 * evidence.standard_error).all()


def test_a_shifted_count_is_not_taken_for_a_real_number() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            n = pyro.sample("n", dist.Poisson(3.0))
            pyro.sample("x", dist.Binomial(n, 0.5, validate_args=False), obs=x)

    def guide(x: Tensor) -> None:  # the posterior itself
        with pyro.plate("data", len(x)):
            shift = torch.distributions.AffineTransform(x, 1.0)
            pyro.sample(
                "n", dist.TransformedDistribution(dist.Poisson(1.5 * torch.ones(len(x))), shift)
            )

    x = torch.arange(5.0)
    evidence = log_evidence((model, guide), x, seed=0)
    torch.testing.assert_close(evidence.log_evidence.float(), dist.Poisson(1.5).log_prob(x))


CATEGORICAL: dict[str, Any] = {"prior": priors.Categorical, "guide": guides.Categorical}


def test_auto_takes_what_annealing_cannot_move() -> None:
    """And says so of units with bad weights alone."""
    torch.manual_seed(0)
    x = torch.rand(12, 4).round()
    programs: list[Any] = [VAE((4,), 2, **CATEGORICAL), DequantizedFlow((4,), levels=2)]
    for program in programs:
        auto = log_evidence(program, x, method="auto", num_particles=2000, seed=0)
        weighed = log_evidence(program, x, num_particles=2000, seed=0)
        torch.testing.assert_close(auto.log_evidence, weighed.log_evidence, atol=0.3, rtol=0)
        assert not auto.notes
    with torch.no_grad():
        program = DequantizedFlow((4,), levels=2)
        for parameter in program.parameters():
            parameter.mul_(12)
    bad = log_evidence(program, x, method="auto", num_particles=200, seed=0)
    assert bad.bad_units
    assert (
        f"{bad.bad_units} of 12 units have bad importance weights and could not be" in bad.notes[0]
    )
    assert "site 'y'" in bad.notes[0]


def test_what_is_not_exact_is_told_in_terms_of_that() -> None:
    x = torch.rand(12, 4).round()
    for program in (VAE((4,), 2, **CATEGORICAL), DequantizedFlow((4,), levels=2)):
        with refused("exact", remedy="method='auto'") as refusal:
            log_evidence(program, x, method="exact")
        assert not any(word in str(refusal.value) for word in ("anneal", "nan", "'ais'"))
