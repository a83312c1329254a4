"""Other proposals give the same evidence, within its error, and better weights where they should."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from stories import Conjugate
from torch import Tensor

from pyro_vae import InputError, evaluate, log_evidence
from pyro_vae.inference.proposals import refined, wider
from pyro_vae.layout import examine
from pyro_vae.models import FactorAnalysis
from pyro_vae.particles import draws_together

X = torch.randn(20, generator=torch.Generator().manual_seed(1)) * 1.5


def narrow_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x / 2, 0.2))


def test_a_guide_that_is_too_narrow_is_flagged_and_widening_mends_it() -> None:
    program = (Conjugate.model, narrow_guide)
    exact = Conjugate.log_evidence(X).double()
    narrow = log_evidence(program, X, num_particles=5000, seed=0)
    # the tail's index is 1 - 0.2^2 / 0.5 = 0.92; one unit's estimate of it is good to about 0.13
    assert narrow.pareto_k.mean() > 0.7
    assert narrow.bad_units > 10
    assert "Pareto k above 0.7" in narrow.summary()
    wide = log_evidence(wider(program, 4.0), X, num_particles=5000, seed=0)
    assert wide.bad_units == 0
    assert ((wide.log_evidence - exact).abs() < 4 * wide.standard_error).all()
    assert narrow.certificate() <= exact.mean()  # it holds all the same


def test_refinement_closes_the_amortisation_gap() -> None:
    torch.manual_seed(0)
    model = FactorAnalysis((6,), 2)
    model.loadings.data.mul_(3)
    x = torch.randn(30, 6)
    better = refined(model, steps=300, learning_rate=0.1)
    with torch.no_grad():
        layout = examine(better, x)
        assert draws_together(better, layout, x)
    before, after = (evaluate(p, x, num_particles=200, seed=0).elbo.mean() for p in (model, better))
    exact = model.log_evidence(x).detach().double()
    assert exact.mean() - after < 0.05 < exact.mean() - before
    evidence = log_evidence(better, x, num_particles=2000, seed=0)
    assert ((evidence.log_evidence - exact).abs() < 4 * evidence.standard_error).all()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_cannot_be_refined_or_widened() -> None:
    with pytest.raises(InputError, match="must be positive"):
        wider(Conjugate, 0.0)

    def empirical(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(x))

    with pytest.raises(InputError, match="'z' is a Delta"):
        log_evidence(refined((Conjugate.model, empirical)), X)
