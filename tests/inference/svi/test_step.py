"""One step by itself."""

from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import RenyiELBO
from refused import refused
from torch import Tensor, nn
from torch.optim import SGD, Adam

from pyro_vae import fit
from pyro_vae.inference.objectives import TraceELBO
from pyro_vae.inference.svi.batch_loss import BatchLoss
from pyro_vae.inference.svi.engine import EagerEngine
from pyro_vae.inference.svi.minibatching import Minibatching
from pyro_vae.inference.svi.optimizer import make_optimizer
from pyro_vae.inference.svi.step import Step
from pyro_vae.models import FactorAnalysis
from pyro_vae.program.contract import as_program
from pyro_vae.program.examination import examine
from pyro_vae.program.generators import torch_rng_state
from pyro_vae.program.parameters import named_parameters

NOISE: list[float] = []


class FailsLater(FactorAnalysis):
    """Note the generator's next number, and fail from the second call on."""

    def guide(self, x: Tensor) -> None:
        NOISE.append(float(torch.rand(())))
        if len(NOISE) > 1:
            raise ValueError("too late")
        super().guide(x)


def test_an_error_is_explained_with_the_noise_that_raised_it() -> None:
    NOISE.clear()
    program, x = as_program(FailsLater((3,), 1)), torch.randn(5, 3)
    loss = BatchLoss(examine(program, x), Minibatching(5, 5, shuffle=True), TraceELBO())
    parameters = named_parameters(program)
    optimizer = make_optimizer(partial(Adam, lr=0.1), parameters)
    with refused("guide"):
        Step(EagerEngine(loss, parameters), optimizer, None)((x,), before=torch_rng_state())
    of_examination, of_step, *of_explanation = NOISE
    assert of_explanation
    assert of_explanation[0] == of_step != of_examination


class Stacked(nn.Module):
    """A mean that is the sum of three parameters, which share a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ParameterList(torch.zeros(4) for _ in range(3))

    def model(self, x: Tensor) -> None:
        pyro.module("stacked", self)
        with pyro.plate("data", len(x)):
            loc = torch.stack(list(self.parts)).sum(0)
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None: ...


@pytest.mark.parametrize("elbo", [TraceELBO(), RenyiELBO(alpha=0.5, num_particles=2)])
@pytest.mark.parametrize("clip_norm", [None, 0.1])
def test_a_step_along_gradients_that_share_memory(elbo: Any, clip_norm: float | None) -> None:
    """Each part moves by the mean of x; clipped, all moves together have the norm asked for."""
    x, program = torch.randn(5, 4), Stacked()
    sgd = partial(SGD, lr=1.0)
    fit(program, x, epochs=1, optimizer=sgd, clip_norm=clip_norm, elbo=elbo, progress=False)
    moves = torch.stack([part.detach() for part in program.parts])
    expected = x.mean(0).expand(3, 4)
    if clip_norm is not None:
        expected = expected * clip_norm / expected.norm()
    torch.testing.assert_close(moves, expected, rtol=1e-4, atol=1e-6)
