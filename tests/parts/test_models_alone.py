"""What people write without a guide, in the forms of Pyro's examples."""

from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
import zuko
from pyro import poutine
from pyro.contrib.forecast import ForecastingModel
from pyro.contrib.zuko import ZukoToPyro
from pyro.infer import config_enumerate
from pyro.infer.reparam import LocScaleReparam
from refused import refused
from torch import Tensor

from pyro_vae import fit, log_evidence
from pyro_vae.guides import AutoAmortized
from pyro_vae.networks import MLP
from pyro_vae.program.support import support_of

SMALL = partial(MLP, hidden_dims=(8,))


class Level(ForecastingModel):  # type: ignore[misc]
    """A series around one level."""

    def model(self, zero_data: Tensor, covariates: Tensor) -> None:
        level = pyro.sample("level", dist.Normal(0.0, 1.0))
        with self.time_plate:
            drift = pyro.sample("drift", dist.Normal(0.0, 0.1))
        prediction = level + drift.unsqueeze(-1) + 0 * zero_data
        self.predict(dist.Normal(0.0, 1.0), prediction)


def test_a_forecasting_model_is_called_itself() -> None:
    data, covariates = torch.randn(6, 1), torch.zeros(6, 0)
    result = fit(Level(), args=(data, covariates), epochs=2, progress=False, compile="off")
    assert str(result.program[1]).splitlines()[0] == "q(level) prod_time q(drift | level)"
    evidence = log_evidence(result.program, args=(data, covariates), num_particles=10, seed=0)
    assert evidence.log_evidence.isfinite().all()


def of_four(x: Tensor) -> None:
    """A model written for four rows."""
    mean = pyro.sample("mean", dist.Normal(torch.zeros(1), 1.0).to_event(1))
    with pyro.plate("units", 4):
        z = pyro.sample("z", dist.Normal(mean, 1.0))
        pyro.sample("x", dist.Normal(z, torch.tensor([1.0, 2.0, 1.0, 2.0])), obs=x)


def up_to_the_largest_of_four(x: Tensor) -> None:
    with pyro.plate("units", 4):
        z = pyro.sample("z", dist.Uniform(0.0, x.max()))
        pyro.sample("x", dist.Normal(z, torch.ones(4)), obs=x)


def test_a_model_of_a_fixed_number_of_rows() -> None:
    x = torch.arange(4.0)
    words = str(AutoAmortized(of_four, x, network=SMALL)).splitlines()[0]
    assert words == "q(mean) prod_units q(z | rows, mean)"
    with refused("z", remedy="constants"):
        AutoAmortized(up_to_the_largest_of_four, x, network=SMALL)


def test_a_latent_that_its_plates_do_not_explain() -> None:
    def model(x: Tensor) -> None:
        scale = pyro.sample("scale", dist.HalfCauchy(torch.ones(3)))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, scale).to_event(1), obs=x)

    with refused("scale", remedy="to_event"):
        AutoAmortized(model, torch.randn(5, 3))


def test_a_model_that_finds_draws_of_its_prior_invalid() -> None:
    """A state outside of its range; the likelihood takes care of it."""

    def model(x: Tensor) -> None:
        share = pyro.sample("share", dist.Normal(0.5, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Bernoulli(share), obs=x)

    with pyro.validation_enabled(True):
        assert str(AutoAmortized(model, torch.ones(5))).splitlines()[0] == "q(share)"


def test_values_that_fit_by_dimensions_of_one() -> None:
    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("columns", x.shape[-1], dim=-1):
            z = pyro.sample("z", dist.Normal(mean, 1.0).expand([1, 3]))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    guide = AutoAmortized(lambda: model(torch.zeros(3)))
    assert str(guide).splitlines()[0] == "q(mean) prod_columns q(z | mean)"


def vae_with_flow(flow: Any, x: Tensor) -> None:
    pyro.module("flow", flow)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", ZukoToPyro(flow()))
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


def test_a_flow_as_prior() -> None:
    x = torch.randn(5, 2)
    flow = zuko.flows.MAF(2, transforms=1, hidden_features=(4,))
    guide = AutoAmortized(partial(vae_with_flow, flow), x, network=SMALL)
    assert (
        str(guide).splitlines()[1] == "  z: normal of 2 dimensions, full covariance, by a network"
    )


def test_a_flow_of_angles_has_no_known_support() -> None:
    with pytest.raises(NotImplementedError):
        support_of(ZukoToPyro(zuko.flows.NCSF(2)()))


def test_what_a_reparameterisation_computes_is_no_data() -> None:
    """A walk whose steps lie in the plate of time, and whose values, a joint event, do not."""

    @poutine.reparam(config={"step": LocScaleReparam(0.0)})
    def model(x: Tensor) -> None:
        with pyro.plate("time", len(x)):
            step = pyro.sample("step", dist.Normal(0.0, 0.5))
        pyro.sample("x", dist.Normal(step.cumsum(-1), 1.0).to_event(1), obs=x)

    words = str(AutoAmortized(model, torch.randn(6), network=SMALL)).splitlines()[0]
    assert words == "q(step_decentered)"


def test_a_model_that_sums_everything_out() -> None:
    """There is nothing to draw, and nothing to differentiate by."""

    def model(x: Tensor) -> None:
        with pyro.plate("classes", 2):
            level = pyro.sample("level", dist.Bernoulli(0.5))
        with pyro.plate("rows", len(x)):
            scale = pyro.param("scale", torch.ones(()), constraint=dist.constraints.positive)
            pyro.sample("x", dist.Normal(level[..., 0].unsqueeze(-1), scale), obs=x)

    guide = AutoAmortized(config_enumerate(model, "parallel"), torch.randn(9))
    assert str(guide) == "nothing: the model sums all latents out"
