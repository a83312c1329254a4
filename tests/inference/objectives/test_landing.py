"""The objective whose gradient goes over from the ELBO's to the path derivative."""

from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from pyro_vae import fit
from pyro_vae.inference.objectives import Landing, Linear, StickingTheLanding, TraceELBO
from pyro_vae.models import FactorAnalysis

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))


def after_one_step(elbo: Any) -> Tensor:
    torch.manual_seed(0)
    program = FactorAnalysis((3,), 2)
    with torch.no_grad():  # away from the exact guide, where all gradients agree
        for parameter in program.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    options: dict[str, Any] = {"epochs": 1, "batch_size": 40, "shuffle": False, "progress": False}
    fit(program, X, elbo=elbo, optimizer=partial(SGD, lr=1e-2), device="cpu", **options)
    return torch.cat([p.detach().flatten() for p in program.parameters()])


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_gradient_is_a_mean_of_both(share: float) -> None:
    elbo, path = after_one_step(TraceELBO()), after_one_step(StickingTheLanding())
    landing = after_one_step(Landing(Linear(share, share)))
    assert not torch.allclose(elbo, path, atol=1e-5)
    torch.testing.assert_close(landing, (1 - share) * elbo + share * path, rtol=1e-4, atol=1e-6)


def test_the_figure_is_the_elbo_however_large_the_gradient_is() -> None:
    """A surrogate of 1e9 has 64 nats between a float32 and the next: the figure is not made of it."""

    class Far(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loc = nn.Parameter(torch.tensor(1e6))

        def model(self, x: Tensor) -> None:
            with pyro.plate("rows", len(x)):
                z = pyro.sample("z", dist.Normal(1e6, 1.0))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

        def guide(self, x: Tensor) -> None:
            with pyro.plate("rows", len(x)):
                pyro.sample("z", dist.Normal(self.loc, 1.0))

    x, figures = torch.tensor([1e6 + 1e3, 1e6 - 7.0]), []
    for elbo in (TraceELBO(), StickingTheLanding(), Landing()):
        result = fit(Far(), x, elbo=elbo, epochs=1, progress=False, device="cpu")
        figures.append(result.metrics[0]["train_elbo"])
    assert figures[0] < -1e5
    assert figures[1:] == pytest.approx([figures[0]] * 2, rel=1e-6)


def test_a_run_reports_the_share() -> None:
    result = fit(
        FactorAnalysis((3,), 2),
        X,
        epochs=4,
        elbo=Landing(Linear(0, 1, 2)),
        progress=False,
        device="cpu",
    )
    assert [m["landing"] for m in result.metrics] == [0.5, 1.0, 1.0, 1.0]
