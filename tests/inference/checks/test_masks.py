"""What counts where model and guide mask their sites."""

from functools import cache
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from oracles import agrees
from oracles.masks import (
    autoguide_masked_within_events,
    imputed_by_autoguide,
    masked_autoguide,
    masked_within_events,
)
from pyro import poutine
from refused import refused
from torch import Tensor

from pyro_vae import log_evidence
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.auto import Auto
from pyro_vae.inference.evidence.bidirectional import Sandwich
from pyro_vae.inference.evidence.result import Evidence

X = torch.randn(8, generator=torch.Generator().manual_seed(1))
SEEN = X > -0.3
FEW_STEPS = Annealed(10, num_leapfrog=3)


CASES = [
    masked_autoguide,
    imputed_by_autoguide,
    masked_within_events,
    autoguide_masked_within_events,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize(
    "method",
    [Auto(), FEW_STEPS, Annealed(10, "prior", num_leapfrog=3), Sandwich(FEW_STEPS)],
)
def test_what_is_masked_does_not_count(case, method) -> None:

    @cache
    def found(num_particles: int) -> Evidence:
        options: dict[str, Any] = {"method": method, "num_particles": num_particles, "seed": 0}
        return log_evidence(case.program, args=case.args, **options)

    assert agrees(found, 200, case.exact)
    if method.is_unbiased:
        assert found(200).certificate() < case.exact.mean()


@pytest.mark.parametrize("inner", [lambda p: p, lambda p: p.mask(True)])
@pytest.mark.parametrize("masked", ["model", "guide"])
@pytest.mark.parametrize("method", ["importance", Annealed(20, num_leapfrog=3)])
def test_a_mask_within_the_event_of_one_side(inner, masked, method) -> None:
    """A prior that is masked where the data depend on the latent stays out; a guide's draws all count."""

    def vectors(part: str, fn: dist.Normal) -> dist.TorchDistribution:
        return (inner(fn.mask(SEEN.unsqueeze(-1))) if masked == part else inner(fn)).to_event(1)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", vectors("model", dist.Normal(torch.zeros(8, 2), 1.0)))
            # two measurements: without their priors the latents are held by the data alone
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x[:, None].expand(-1, 2))

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc = torch.where(SEEN, x / 2, x) if masked == "model" else x / 2
            pyro.sample("z", vectors("guide", dist.Normal(loc[:, None].expand(-1, 2), 1.0)))

    if masked == "guide":
        with refused("z", remedy="poutine.mask"):
            log_evidence((model, guide), args=(X,), method=method)
        return
    seed = {"num_particles": 5000} if method == "importance" else {"num_particles": 200}
    found = log_evidence((model, guide), args=(X,), method=method, seed=0, **seed)
    exact = 2 * torch.where(SEEN, dist.Normal(0.0, 2**0.5).log_prob(X), 0.0).double()
    off = (found.log_evidence - exact).abs()
    assert (off < 4.5 * found.standard_error + 1e-5).all()
    assert "masks the prior of 'z'" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("draws", "points", "fits"),
    [(SEEN, SEEN, 1), (True, True, 1), (SEEN, True, 0), (True, SEEN, 0), (~SEEN, SEEN, 0)],
)  # fmt: skip
def test_an_auxiliary_site_and_its_point_are_masked_alike(draws, points, fits) -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.mask(mask=SEEN):
            z = pyro.sample("z", dist.LogNormal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z.log(), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            with poutine.mask(mask=torch.as_tensor(draws)):
                u = pyro.sample("u", dist.Normal(x / 2, 0.8), infer={"is_auxiliary": True})
            with poutine.mask(mask=torch.as_tensor(points)):
                pyro.sample("z", dist.Delta(u.exp(), log_density=-u))

    exact = dist.Normal(0.0, 2**0.5).log_prob(X) * SEEN
    for method in ("importance", FEW_STEPS):
        if fits:
            evidence = log_evidence(
                (model, guide), args=(X,), method=method, num_particles=2000, seed=0
            )
            off, known = evidence.log_evidence - exact, ~evidence.without_error
            assert known.sum() >= 7
            assert (off.abs() < 4 * evidence.standard_error + 1e-5)[known].all()
        else:
            with refused("z", remedy="poutine.mask"):
                log_evidence((model, guide), args=(X,), method=method)
