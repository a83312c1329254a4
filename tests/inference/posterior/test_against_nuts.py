"""Weighted draws of a guide against NUTS, on programs of statisticians: moments, and leave-one-out."""

from functools import partial
from typing import Any

import arviz
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoMultivariateNormal
from statisticians import (
    Study,
    censored,
    eight_schools,
    gaussian_process,
    mixture,
    negative_binomial,
    ordinal,
)

from pyro_vae import fit, posterior
from pyro_vae.inference import NUTS, Posterior
from pyro_vae.inference.objectives import StickingTheLanding


def is_summed_out(msg: Any) -> bool:
    return bool(msg["type"] == "sample" and msg["infer"].get("enumerate"))


def elpd(found: Posterior) -> float:
    """Leave-one-out, by ArviZ before and after 1.0."""
    loo = arviz.loo(found.to_arviz(num_inner=200))
    return float(getattr(loo, "elpd_loo", None) or loo.elpd)


def moments(found: Posterior, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    z = found.particles[name].double()
    w = found.weights(name, z.dim())
    mean = (w * z).sum(0)
    return mean, (w * (z - mean).square()).sum(0).sqrt()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
@pytest.mark.parametrize(
    "make", [negative_binomial, eight_schools, mixture, ordinal, censored, gaussian_process]
)
def test_moments_and_loo_are_those_of_nuts(make) -> None:
    """Means within 0.1 sd, sds within 10 %, LOO within 0.5, with the rows' own latents integrated out."""
    study: Study = make()
    guide = AutoMultivariateNormal(poutine.block(study.model, hide_fn=is_summed_out))
    program, adam = (study.model, guide), partial(torch.optim.Adam, lr=0.03)
    options = {"optimizer": adam, "elbo": StickingTheLanding(), "progress": False}
    fit(program, args=study.args, epochs=1000, **options)
    drawn = {"num_draws": 2000, "num_particles": 20_000, "seed": 0}
    ours = posterior(program, args=study.args, **drawn)
    method = NUTS(num_chains=4, num_warmup=200)
    theirs = posterior(study.model, args=study.args, method=method, num_draws=2400, seed=0)
    for name in theirs.means:
        (mean, sd), (exact, spread) = moments(ours, name), moments(theirs, name)
        if set(theirs.draws[name].unique().tolist()) <= {
            0.0,
            1.0,
        }:  # probabilities, some of them rare
            assert (mean - exact).abs().max() < 0.05, name
            continue
        assert ((mean - exact) / spread).abs().max() < 0.1, name
        assert (sd / spread - 1).abs().max() < 0.1, name
    if make is not gaussian_process:  # its values are one draw of all points together
        assert elpd(ours) == pytest.approx(elpd(theirs), abs=0.5)
