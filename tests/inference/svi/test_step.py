"""One step by itself."""

from functools import partial

import torch
from refused import refused
from torch import Tensor
from torch.optim import Adam

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
