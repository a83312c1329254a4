"""The compiled step is Pyro's own step, or it says why there is none."""

import copy
import multiprocessing
import random
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from controls import GRAPHS
from pyro import poutine
from pyro.distributions import constraints, transforms
from pyro.infer import RenyiELBO, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoIAFNormal, AutoMultivariateNormal, AutoNormal
from refused import refused, refused_with
from stories import Conjugate, GlobalMean, PyroStyleVAE
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from pyro_vae import checkpoint, fit
from pyro_vae.inference.compiling.validation_ops import without_validation
from pyro_vae.inference.objectives import IWAE, TraceELBO
from pyro_vae.inference.svi.batch_loss import BatchLoss
from pyro_vae.inference.svi.compiled_engine import CompiledEngine
from pyro_vae.inference.svi.engine import EagerEngine
from pyro_vae.inference.svi.fit_result import FitResult
from pyro_vae.inference.svi.minibatching import Minibatching
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.inference.svi.step_graph import StepCapture, WrongGraph
from pyro_vae.models import VAE, FactorAnalysis
from pyro_vae.networks import ConvDecoder, ConvEncoder
from pyro_vae.program.contract import as_program
from pyro_vae.program.examination import examine
from pyro_vae.program.parameters import named_parameters

X = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
FIRST = X[:, 0].clone()
quick = partial(fit, epochs=3, batch_size=20, progress=False, device="cpu",
                optimizer=partial(Adam, lr=0.01))  # fmt: skip


def trained(
    make: Callable[[], tuple[Any, ...]], mode: str, **more: Any
) -> tuple[FitResult, list[Tensor]]:
    """A run, and all parameters after it."""
    pyro.clear_param_store()
    torch.manual_seed(0)
    program, data, options = make()
    result = quick(program, data, compile=mode, **{**options, **more})
    modules = {id(p): p for p in getattr(program, "parameters", list)()}
    stored = dict(pyro.get_param_store().named_parameters())
    return result, [p.detach() for p in [*modules.values(), *stored.values()]]


# --- what is captured -------------------------------------------------------------------------


class Mixture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor([-1.0, 1.0]))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            which = pyro.sample(
                "which", dist.Categorical(torch.ones(2) / 2), infer={"enumerate": "parallel"}
            )
            pyro.sample("x", dist.Normal(self.loc[which], 1.0), obs=x)

    def guide(self, x: Tensor) -> None: ...


class Layer(nn.Module):
    """A linear layer after another one: BatchNorm, which writes its buffers, or dropout."""

    def __init__(self, in_shape, out_shape, first) -> None:
        super().__init__()
        self.first, self.out_shape = first(in_shape[0]), out_shape
        self.linear = nn.Linear(in_shape[0], torch.Size(out_shape).numel())

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.first(x)).unflatten(-1, self.out_shape)


class WithFlow(FactorAnalysis):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.flow = transforms.affine_autoregressive(2, hidden_dims=[8])

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            base = dist.Normal(x[:, :2], torch.ones(2))
            pyro.sample("z", dist.TransformedDistribution(base, [self.flow]))


class Subsampled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.1))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=7) as index:
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[index])

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=7) as index:
            pyro.sample("z", dist.Normal(self.slope * x[index], 1.0))


def score_function() -> tuple[Any, ...]:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Bernoulli(0.4))
            pyro.sample("x", dist.Normal(which, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        logit = pyro.param("logit", torch.tensor(0.3))
        with pyro.plate("data", len(x)):
            pyro.sample("which", dist.Bernoulli(logits=logit * x))

    return (model, guide), FIRST, {}


def gamma() -> tuple[Any, ...]:
    def model(x: Tensor) -> None:
        rate = pyro.param("rate", torch.tensor(1.0), constraint=constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Gamma(2.0, rate))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        shape = pyro.param("shape", torch.tensor(1.5), constraint=constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Gamma(shape, 1.0))

    return (model, guide), FIRST, {}


def a_network_of_a_function() -> tuple[Any, ...]:
    net, story = nn.Linear(6, 2), FactorAnalysis((6,), 2)

    def guide(x: Tensor) -> None:
        pyro.module("net", net)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(net(x), 1.0).to_event(1))

    def model(x: Tensor) -> None:
        pyro.module("story", story)
        with poutine.mask(mask=x[:, 0] > 0), poutine.scale(scale=0.5):
            story.model(x)

    return (model, guide), X, {}


def vae(**options: Any) -> tuple[Any, ...]:
    return PyroStyleVAE(), X, options


def of_layers(first: Callable[[int], nn.Module]) -> tuple[Any, ...]:
    layer = partial(Layer, first=first)
    return VAE((6,), 2, encoder=layer, decoder=layer), (X > 0).float(), {}


def convolutional() -> tuple[Any, ...]:
    nets = {
        "encoder": partial(ConvEncoder, channels=(4,)),
        "decoder": partial(ConvDecoder, channels=(4,)),
    }
    return VAE((1, 8, 8), 2, **nets), (torch.rand(50, 1, 8, 8) > 0.5).float(), {}


def auto(guide: Callable[..., Any], model: Callable[..., Any]) -> tuple[Any, ...]:
    return (model, guide(model)), FIRST, {"batch_size": 50}


def two_means(x: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(mean.sum(), 1.0), obs=x)


def tensor_counter() -> tuple[Any, ...]:
    """A KL weight of one's own, counted in a tensor in place: a graph does that, too."""
    steps, story = torch.zeros(()), FactorAnalysis((6,), 2)

    def model(x: Tensor) -> None:
        steps.add_(1)
        with poutine.scale(scale=(steps / 5).clamp(max=1.0)):
            story.model(x)

    return (model, story.guide), X, {}


def with_prior(prior: Any, **options: Any) -> tuple[Any, ...]:
    """A mean of two values with a prior that is made once, while validation is on."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior)
            pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        loc = pyro.param("loc", torch.full((2,), 0.5))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.LogNormal(loc, 0.5).to_event(1))

    return (model, guide), FIRST, options


class SureOfItself(dist.LogNormal):
    """Checks what it scores whatever is asked for."""

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return super().log_prob(value)


def two(base: Any) -> Any:
    return base.expand([2]).to_event(1)


def mixture() -> Any:
    parts = dist.LogNormal(torch.tensor([-1.0, 1.0]), torch.ones(2))
    return dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), parts)


PRIORS = {
    "expanded": lambda: two(dist.Exponential(1.0)),
    "of a tensor": lambda: dist.Gamma(torch.ones(2), torch.ones(2)).to_event(1),
    "validated": lambda: two(dist.Gamma(2.0, 1.0, validate_args=True)),
    "not validated": lambda: two(dist.Gamma(2.0, 1.0, validate_args=False)),
    "transformed": lambda: two(
        dist.TransformedDistribution(
            two(dist.Normal(0.0, 1.0)).base_dist, transforms.ExpTransform()
        )
    ),
    "masked": lambda: two(dist.LogNormal(0.0, 1.0)).mask(torch.tensor(True)),
    "mixed": lambda: two(mixture()),
    "one's own": lambda: two(SureOfItself(0.0, 1.0)),
}


def reading(read: Callable[[Tensor, Tensor], float], **options: Any) -> tuple[Any, ...]:
    """The scale is what Python makes of the data and of a parameter that is trained."""

    def model(x: Tensor) -> None:
        weight = pyro.param("weight", torch.tensor(0.5))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            scale = 1.0 + read(x, weight)
            pyro.sample("x", dist.Normal(weight * z.sum(-1), scale), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(pyro.param("loc", torch.ones(2)), 1.0).to_event(1))

    return (model, guide), FIRST, options


LEVELS, SEEN = torch.tensor([0.5, 0.25]), torch.tensor([True, False, True])


def entry(x: Tensor, _: Tensor) -> float:
    """A tensor that the run makes and writes to, from numbers alone."""
    table = torch.arange(6.0).reshape(2, 3)
    return float(table.sum()) / 15 + table[1].tolist()[2] / 5


CONSTANTS = {
    "a product of a shape": lambda x, _: torch.tensor([*x.shape, 2]).prod().item() / 100,
    "an integer": lambda x, _: 1.0 / int(torch.sum(torch.tensor(x.shape))),
    "an arange": lambda x, _: torch.arange(x.shape[0]).sum().item() / 100,
    "a hyper-parameter": lambda *_: LEVELS[1].item() if LEVELS[0] > 0.3 else 7.0,
    "a list": lambda *_: LEVELS.tolist()[0],
    "entries": entry,
    "what a mask selects": lambda *_: len(LEVELS.repeat(2)[:3][SEEN]) / 4,
    "how many there are": lambda *_: (
        len(torch.unique(LEVELS)) / 4 + torch.bincount(torch.tensor([0, 2])).sum().item() / 8
    ),
    "equality": lambda *_: float(torch.equal(LEVELS, LEVELS.flip(0))),
    "by the name of a function": lambda *_: np.sqrt(torch.tensor(2.0).item()),
}


class Sums(nn.Module):
    """Parameters that share a gradient, and others whose gradients are computed in the same way."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ParameterList(torch.zeros(6) for _ in range(3))
        self.turned = nn.ParameterList(torch.zeros(6) for _ in range(2))
        self.slopes = nn.ParameterList(torch.zeros(2) for _ in range(2))

    def model(self, x: Tensor) -> None:
        pyro.module("sums", self)
        with pyro.plate("data", len(x)):
            turned = [part.view(3, 2).t().flatten() for part in self.turned]
            loc = torch.stack([*self.parts, *turned]).sum(0)
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)
            for number, slope in enumerate(self.slopes):
                pyro.factor(f"slope {number}", (3 * slope.sum().exp()).log().expand(len(x)))

    def guide(self, x: Tensor) -> None: ...


def clipped_sums() -> tuple[Any, ...]:
    """What writes to gradients in place: clipping and Nesterov's momentum."""
    return (
        Sums(),
        X,
        {"clip_norm": 0.5, "optimizer": partial(SGD, lr=0.1, momentum=0.9, nesterov=True)},
    )


class TwiceThroughCells(nn.Module):
    """Recurrent cells, which write in place into parts of what they compute, read the same rows twice."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(1, 3, batch_first=True)
        self.slope = nn.Parameter(torch.ones(2, 2))

    def model(self, x: Tensor) -> None:
        pyro.module("cells", self)
        steps = x.unsqueeze(-1)
        read = [self.gru(steps)[0], self.gru(steps)[0]]
        with pyro.plate("data", len(x)):
            pairs = torch.relu_(x.unflatten(-1, (3, 2)) @ self.slope)
            pairs = pairs - (x.unflatten(-1, (3, 2)) @ self.slope)
            loc = torch.stack(read).prod(0).sum(-1) + pairs.flatten(1)
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None: ...


def bounded_from_below(x: Tensor) -> None:
    """Densities with constants of minus infinity."""
    height = pyro.sample("height", dist.HalfNormal(1.0))
    weights = torch.where(x > -9, torch.zeros(()), torch.tensor(-torch.inf))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(height, weights.exp()), obs=x)


def from_an_array() -> tuple[Any, ...]:
    """A scale in memory of NumPy's, which changes between epochs."""
    scale, story = np.ones(1, np.float32), FactorAnalysis((6,), 2)

    def model(x: Tensor) -> None:
        with poutine.scale(scale=torch.as_tensor(scale)[0]):
            story.model(x)

    def schedule(optimizer: Any) -> Any:
        def rate(epoch: int) -> float:
            scale[:] = 1 + 0.5 * epoch
            return 1.0

        return LambdaLR(optimizer, rate)

    return (model, story.guide), X, {"lr_schedule": schedule}


CAPTURED = {
    **{f"prior {name}": partial(lambda make: with_prior(make()), p) for name, p in PRIORS.items()},
    **{f"constant {name}": partial(reading, read) for name, read in CONSTANTS.items()},
    "factor analysis": lambda: (FactorAnalysis((6,), 2), X, {}),
    "pyro style": vae,
    "Trace_ELBO": lambda: vae(elbo=Trace_ELBO()),
    "three particles": lambda: vae(elbo=Trace_ELBO(3)),
    "vectorized particles": lambda: vae(elbo=Trace_ELBO(4, vectorize_particles=True)),
    "TraceMeanField_ELBO": lambda: vae(elbo=TraceMeanField_ELBO()),
    "warm-up and clipping": lambda: vae(kl_warmup=2, beta=0.5, clip_norm=0.5),
    "shared gradients": clipped_sums,
    "cells": lambda: (TwiceThroughCells(), X, {"clip_norm": 0.5}),
    "SGD": lambda: vae(optimizer=partial(SGD, lr=0.01, momentum=0.9)),
    "AdamW, schedule": lambda: vae(
        optimizer=partial(AdamW, lr=0.01), lr_schedule=partial(CosineAnnealingLR, T_max=3)
    ),
    "enumeration": lambda: (Mixture(), FIRST, {"elbo": TraceEnum_ELBO(max_plate_nesting=1)}),
    "score function": score_function,
    "parameters in the store": lambda: (Conjugate, FIRST, {}),
    "a function's network": a_network_of_a_function,
    "batch norm": lambda: of_layers(nn.BatchNorm1d),
    "dropout": lambda: of_layers(lambda _: nn.Dropout(0.3)),
    "convolutions": convolutional,
    "gamma": gamma,
    "flow": lambda: (WithFlow((6,), 2), X, {}),
    "subsampling": lambda: (Subsampled(), FIRST, {}),
    "AutoNormal": lambda: auto(AutoNormal, GlobalMean.model),
    "AutoMultivariateNormal": lambda: auto(AutoMultivariateNormal, two_means),
    "AutoIAFNormal": lambda: auto(AutoIAFNormal, two_means),
    "tensor counter": tensor_counter,
    "infinite constants": lambda: (bounded_from_below, FIRST, {"batch_size": 50, "seed": 0}),
    "an array": from_an_array,
}
# whose epochs end with a smaller batch, and its graph; of the others all batches have one shape
UNEVEN = {"factor analysis", "batch norm", "warm-up and clipping", "tensor counter"}


@pytest.mark.parametrize("name", CAPTURED)
def test_a_graph_does_what_python_did(name) -> None:
    """Parameters, metrics and the noise to come, after an epoch with checks and two without."""
    rows = {} if name in UNEVEN or "Auto" in name else {"batch_size": 25}
    eager, expected = trained(CAPTURED[name], "off", **rows)
    captured, parameters = trained(CAPTURED[name], "auto", control=GRAPHS, **rows)
    ways = [note for note in captured.notes if note.startswith("batches of")]
    assert len(ways) == (2 if name in UNEVEN else 1)
    assert all("as a graph" in note for note in ways)
    for one, other in zip(parameters, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    (figure,) = {key for key in captured.metrics[0] if key.startswith("train_")}
    elbos = [[m[figure] for m in run.metrics] for run in (captured, eager)]
    assert elbos[0] == pytest.approx(elbos[1], rel=1e-5)


# Inductor compiles a dozen libraries for each; that their graphs are right is tested above, without it
ALIKE = ("warm-up and clipping", "shared gradients", "batch norm", "enumeration")


@pytest.mark.parametrize(
    "name", ["factor analysis", *(pytest.param(n, marks=pytest.mark.slow) for n in ALIKE)]
)
def test_inductor_does_what_python_did_and_the_same_twice(name) -> None:
    compiled, parameters = trained(CAPTURED[name], "on", batch_size=50)
    again, parameters_again = trained(CAPTURED[name], "on", batch_size=50)
    eager, expected = trained(CAPTURED[name], "off", batch_size=50)
    assert "compiled by Inductor" in compiled.notes[0]
    for one, other, same in zip(parameters, expected, parameters_again, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
        assert torch.equal(one, same)
    assert compiled.metrics == again.metrics
    assert compiled.metrics[-1]["train_elbo"] == pytest.approx(
        eager.metrics[-1]["train_elbo"], rel=1e-5
    )


# --- what is not ------------------------------------------------------------------------------


def factor_analysis_with(change: Callable[[Tensor], Tensor]) -> tuple[Any, ...]:
    """Something is done in Python to the mean of x, after z was drawn."""
    story = FactorAnalysis((6,), 2)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            loc = change(z @ story.loadings.T + story.bias)
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("story", story)
        story.guide(x)

    return (model, guide), X, {}


def counting(rule: Callable[[int], float]) -> tuple[Any, ...]:
    count = [0]

    def change(loc: Tensor) -> Tensor:
        count[0] += 1
        return loc * rule(count[0])

    return factor_analysis_with(change)


def remembering() -> tuple[Any, ...]:
    losses: list[Tensor] = []

    def change(loc: Tensor) -> Tensor:
        losses.append(loc.detach().mean())
        return loc

    return factor_analysis_with(change)


def numpy_generator() -> tuple[Any, ...]:
    generator = np.random.default_rng(0)
    return factor_analysis_with(lambda loc: loc + torch.tensor(generator.normal(size=6)).float())


def own_generator() -> tuple[Any, ...]:
    generator = torch.Generator()
    return factor_analysis_with(lambda loc: loc + torch.randn(6, generator=generator))


def hidden_counter() -> tuple[Any, ...]:
    numbers = iter(range(10**9))  # nothing that can be looked into
    return factor_analysis_with(lambda loc: loc * (1 + next(numbers) / 1000))


def counted_in_a_tensor(read_first: bool) -> tuple[Any, ...]:
    count = torch.zeros(())

    def read(*_: Tensor) -> float:
        number = count.item() if read_first else count.add_(1).item()
        count.add_(float(read_first))
        return min(1.0, number / 1000)

    return reading(read)


def statistic() -> tuple[Any, ...]:
    norm = nn.BatchNorm1d(1, affine=False)

    def read(x: Tensor, _: Tensor) -> float:
        norm(x[:, None])
        return float(norm.running_var[0])

    return reading(read)


def numpy_generator_decides() -> tuple[Any, ...]:
    generator = np.random.default_rng(0)
    return reading(lambda *_: 1.0 if torch.tensor(generator.normal()) > 0 else 2.0)


VALUE = "Python needs to know a tensor's value"
READ = {
    "of the data": lambda x, _: 1.0 if x.sum() > 0 else 2.0,
    "of a batch statistic": lambda x, _: x.square().mean().item(),
    "of the parameter": lambda _, weight: weight.exp().item(),
    "of one number": lambda _, weight: abs(weight.item()),
    "by its sign": lambda _, weight: 1.0 if weight > 0 else 2.0,
    "past autograd": lambda _, weight: weight.data.item(),
    "of noise": lambda *_: float(torch.rand(())),
    "how many are positive": lambda x, _: 1.0 + len((x > 0).nonzero()),
}

REFUSED = {
    **{f"value {name}": (partial(reading, read), VALUE) for name, read in READ.items()},
    "value in a list": (
        lambda: reading(lambda _, weight: weight.tolist()),
        "would .* Pyro's",
    ),
    "tensor counter": (lambda: counted_in_a_tensor(False), VALUE),
    "tensor counter, read first": (lambda: counted_in_a_tensor(True), "every run"),
    "running statistic": (statistic, VALUE),
    "numpy generator decides": (numpy_generator_decides, "in every run|where Pyro's is"),
    "branch": (
        lambda: factor_analysis_with(lambda loc: loc if loc.mean() > 0 else 2 * loc),
        "Python needs to know a tensor's value after site 'z'",
    ),
    "numpy": (
        lambda: factor_analysis_with(lambda loc: loc * float(loc.detach().numpy().mean())),
        "after site 'z'",
    ),
    "counter": (lambda: counting(lambda n: min(1.0, n / 1000)), r"every run changes .*count\[0\]"),
    "late switch": (lambda: counting(lambda n: 1.0 if n < 10**6 else 2.0), "every run changes"),
    "list of losses": (remembering, "every run changes .*losses"),
    "random": (
        lambda: factor_analysis_with(lambda loc: loc * random.random()),
        "Python's `random`",
    ),
    "numpy's random": (
        lambda: factor_analysis_with(lambda loc: loc * float(np.random.rand())),  # noqa: NPY002
        "NumPy's global generator",
    ),
    "numpy generator": (
        numpy_generator,
        "every run changes|a constant of shape .6,. is another one",
    ),
    "hidden counter": (hidden_counter, "it does not do the same in every run"),
    "own generator": (own_generator, "a generator of its own"),
    "RenyiELBO": (lambda: vae(elbo=RenyiELBO(num_particles=2)), "RenyiELBO runs the backward pass"),
    "TraceGraph_ELBO": (lambda: vae(elbo=TraceGraph_ELBO()), "TraceGraph_ELBO runs the backward"),
}


# as it is looked at before, while and after it is traced
ASKED_FOR = ("RenyiELBO", "counter", "branch", "own generator", "hidden counter", "value in a list")


@pytest.mark.parametrize("name", ASKED_FOR)
def test_a_step_that_was_to_be_compiled_is_refused_with_the_reason(name) -> None:
    make, reason = REFUSED[name]
    with refused("compile", remedy="compile='auto'") as caught:
        trained(make, "on")
    assert re.search(reason, str(caught.value))


@pytest.mark.parametrize("name", REFUSED)
def test_python_goes_on_and_a_note_names_the_reason(name) -> None:
    make, reason = REFUSED[name]
    random.seed(0), np.random.seed(0)  # noqa: NPY002
    _, expected = trained(make, "off", batch_size=50)
    random.seed(0), np.random.seed(0)  # noqa: NPY002
    result, parameters = trained(make, "auto", batch_size=50, control=GRAPHS)
    (note,) = result.notes
    assert note.startswith("batches of 50 run step by step in Python: ")
    assert re.search(reason, note)
    if (
        "counter" not in name and "generator" not in name and "running" not in name
    ):  # those count the runs that were looked at
        for one, other in zip(parameters, expected, strict=True):
            torch.testing.assert_close(one, other)


def engine(mode: str, capture: type[StepCapture] = StepCapture, **more: Any) -> CompiledEngine:
    """An engine for a VAE and batches of 20 rows."""
    torch.manual_seed(0)
    program = as_program(PyroStyleVAE())
    loss = BatchLoss(examine(program, X[:20]), Minibatching(50, 20, True), TraceELBO())
    parameters = named_parameters(program)
    captures = capture(loss, parameters, is_tempered=False)
    expected = [((X[:20],), 100)]
    return CompiledEngine(EagerEngine(loss, parameters), captures, mode, expected, **more)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_graph_that_is_wrong_is_found_out(what) -> None:
    class Wrong(StepCapture):
        def capture(self, batch):
            graph, right = super().capture(batch)

            def wrong(*args):
                loss, passed, *gradients = right.code(*args)
                if what == "loss":
                    return loss * 1.001, passed, *gradients
                return loss, passed, gradients[0] * 1.001, *gradients[1:]

            return graph, replace(right, code=wrong)

    with refused("compile", remedy="compile='auto'") as caught:
        engine("on", Wrong).prepare()
    assert isinstance(caught.value.__cause__, WrongGraph)
    assert ("where Pyro's is" if what == "loss" else "its gradient for") in str(caught.value)
    (note,) = engine("auto", Wrong, control=GRAPHS).prepare()
    assert note.startswith("batches of 20 run step by step in Python: its")


def test_without_a_compiler_the_graph_runs() -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("no C++ compiler")

    control = RunControl(steps_worth_a_graph=0, steps_worth_inductor=0)
    compiled = engine("auto", control=control, inductor=fails)
    (note,) = compiled.prepare()
    assert "as a graph, without Pyro (Inductor could not compile it: no C++ compiler)" in note
    assert compiled((X[:20],), 1.0).isfinite()
    with refused("compile") as caught:
        engine("on", inductor=fails).prepare()
    assert "no C++ compiler" in str(caught.value)


def test_short_runs_are_not_compiled() -> None:
    result, _ = trained(vae, "auto")
    assert result.notes == (
        "batches of 20 are not compiled: 6 steps save less than it takes",
        "batches of 10 are not compiled: 3 steps save less than it takes",
    )
    assert trained(vae, "off")[0].notes == ()
    with refused("compile", expected="'auto', 'on', 'off'"):
        trained(vae, "yes")


# --- state, checks, exactness -----------------------------------------------------------------


def test_global_state_is_untouched() -> None:
    for validation in (True, False):
        with pyro.validation_enabled(validation):
            settings = pyro.settings.get()
            # compiled above: Inductor finds it in its cache
            trained(CAPTURED["factor analysis"], "on", batch_size=50)
            assert pyro.settings.get() == settings
            assert torch.distributions.Distribution._validate_args is validation
            noise = torch.rand(())
            torch.manual_seed(0)
            FactorAnalysis((6,), 2)
            assert noise == torch.rand(())


def test_values_outside_the_support_are_found_in_any_batch() -> None:
    x = (X.repeat(6, 1) > 0).float()
    x[200, 3] = 0.5
    with refused("x", remedy="binarise"):
        quick(VAE((6,), 2), x, compile="auto", control=GRAPHS)


def test_a_guide_that_fits_no_smaller_batch_is_explained_as_ever() -> None:
    guide = AutoNormal(Conjugate.model)
    with refused("batch_size", remedy="batch_size=50"):
        quick((Conjugate.model, guide), FIRST, compile="auto", control=GRAPHS)


def test_a_wish_not_to_validate_is_heard() -> None:
    class Relaxed(FactorAnalysis):
        def model(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
                logits = z @ self.loadings.T + self.bias
                likelihood = dist.Bernoulli(logits=logits, validate_args=False).to_event(1)
                pyro.sample("x", likelihood, obs=x)

    result = quick(Relaxed((6,), 2), X.sigmoid(), compile="auto", control=GRAPHS)
    assert "as a graph" in result.notes[0]


@pytest.mark.parametrize("elbo", [None, IWAE(1)])  # which run the program in ways of their own
def test_a_reason_names_the_line(elbo) -> None:
    make, reason = REFUSED["value of the data"]
    with refused_with(reason, "'z'", "test_compiled_engine.py", "x.sum"):
        trained(make, "on", elbo=elbo)


@pytest.mark.parametrize("wish", [None, True, False])
def test_a_distribution_made_outside_is_as_it_was(wish) -> None:
    inner = dist.Gamma(torch.ones(2), 1.0, validate_args=wish)
    prior = dist.Independent(inner.expand([2]), 1)
    before = [dict(vars(fn)) for fn in (inner, prior, prior.base_dist)]
    with without_validation():
        assert not inner._validate_args
        assert (inner._validate_args is False) is (wish is False)
        assert (prior.expand([3]).base_dist._validate_args is False) is (wish is False)
        later = prior.expand([3])
    assert [dict(vars(fn)) for fn in (inner, prior, prior.base_dist)] == before
    assert "_validate_args" not in vars(Distribution())
    assert Distribution._validate_args is True
    assert later.base_dist._validate_args is (wish is not False)


def test_what_lies_outside_the_support_of_a_distribution_made_outside_is_found() -> None:
    x = FIRST.repeat(6).exp()
    x[200] = -1.0
    likelihood = dist.Exponential(1.0).expand([1])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", likelihood.expand([len(x)]), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(pyro.param("loc", torch.tensor(0.5)), 1.0))

    with refused("x"):
        quick((model, guide), x, compile="auto", control=GRAPHS)


def test_a_constant_that_is_written_to_between_steps_is_read_again() -> None:
    """By whatever runs between two epochs; from then on Python does the step."""

    def make() -> tuple[Any, ...]:
        level = torch.tensor(0.5)

        def schedule(optimizer: Any) -> Any:
            def rate(epoch: int) -> float:
                level.fill_(0.5 + epoch)
                return 1.0

            return LambdaLR(optimizer, rate)

        return reading(lambda *_: level.item(), lr_schedule=schedule)

    _, expected = trained(make, "off")
    captured, parameters = trained(make, "auto", control=GRAPHS)
    assert all("as a graph" in note for note in captured.notes)
    for one, other in zip(parameters, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "size_of",
    [
        lambda x: x.new_full((1,), x.mean().item()),
        lambda x: torch.arange((x > -9).sum().item()).float().mean(),
        lambda x: torch.zeros((x > -9).sum().item(), 3).unsqueeze(0).squeeze(0).sum(),
        lambda x: x.unsqueeze(0).expand((x[:3] > -9).sum().item(), -1, -1).mean(),
    ],
)
def test_numbers_and_sizes_that_depend_on_the_data_do_not_stop_a_fit(size_of) -> None:
    """As a graph or in Python, with the same result."""
    story = FactorAnalysis((6,), 2)

    def model(x: Tensor) -> None:
        with poutine.scale(scale=1 + 0 * size_of(x).sum()):
            story.model(x)

    before = copy.deepcopy(story.state_dict())
    runs = []
    for mode in ("off", "auto"):
        story.load_state_dict(before)
        quick((model, story.guide), X, compile=mode, control=GRAPHS, seed=0)
        runs.append([p.detach().clone() for p in story.parameters()])
    for one, other in zip(*runs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_not_finite_names_its_site() -> None:
    class Explodes(FactorAnalysis):
        def model(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
                scale = (self.bias.sum() + 1e-2).sqrt()
                pyro.sample("x", dist.Normal(z @ self.loadings.T, scale).to_event(1), obs=x)

    model = Explodes((6,), 2)
    model.bias.register_hook(torch.ones_like)
    with refused("x", remedy="clip_norm"):
        quick(model, X, epochs=50, optimizer=partial(SGD, lr=2e-4), compile="auto", control=GRAPHS)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [pytest.param("on", marks=pytest.mark.slow), "auto"])
def test_resume_is_exact_on_the_compiled_path(tmp_path, mode) -> None:
    options = {
        "kl_warmup": 2.0,
        "clip_norm": 1.0,
        "epochs": 4,
        "batch_size": 30,
        "validation": X[:5],
    }

    def run(out, stop_after=None, **more):
        control = replace(GRAPHS, stop_after=stop_after)
        if mode == "on":
            control = replace(control, steps_worth_inductor=0)
        make = lambda: (FactorAnalysis((6,), 2), X, options)  # noqa: E731
        return trained(make, mode, out=out, control=control, **more)

    whole, expected = run(tmp_path / "whole")
    for steps in (1, 2, 5):
        run(tmp_path / str(steps), stop_after=steps)
        resumed, parameters = run(tmp_path / str(steps), resume=True)
        assert resumed.metrics == whole.metrics
        assert all(torch.equal(a, b) for a, b in zip(parameters, expected, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("mode", [pytest.param("on", marks=pytest.mark.slow), "auto"])
def test_killed_and_resumed_is_the_same_run_on_the_compiled_path(tmp_path, mode) -> None:
    def child(folder: Path) -> None:
        torch.set_num_threads(1)
        options: dict[str, Any] = {"epochs": 400, "kl_warmup": 2.0, "out": folder}
        resume = (folder / "checkpoint.safetensors").exists()
        options["control"] = replace(GRAPHS, save_every=0.003)
        trained(lambda: (FactorAnalysis((6,), 2), X, options), mode, resume=resume)

    def run(folder: Path, kills: int) -> dict[str, Tensor]:
        for attempt in range(kills + 1):
            process = multiprocessing.get_context("fork").Process(target=child, args=(folder,))
            process.start()
            if attempt < kills:
                process.join(timeout=random.uniform(0.5, 6.0))
                process.kill()
            process.join()
        assert process.exitcode == 0
        return checkpoint.read(folder / "checkpoint.safetensors")[0]

    whole = run(tmp_path / "whole", 0)
    again = run(tmp_path / "killed", 8)
    assert all(torch.equal(again[name], value) for name, value in whole.items())


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["factor analysis", "warm-up and clipping", "batch norm"])
def test_a_cuda_graph_does_what_python_did(name) -> None:
    eager, expected = trained(CAPTURED[name], "off", device="cuda")
    compiled, parameters = trained(CAPTURED[name], "on", device="cuda")
    for one, other in zip(parameters, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert compiled.metrics[-1]["train_elbo"] == pytest.approx(
        eager.metrics[-1]["train_elbo"], rel=1e-4
    )


def test_a_side_effect_of_training_alone_is_seen() -> None:
    class Drifting(FactorAnalysis):
        drift = 0.0

        def model(self, x: Tensor) -> None:
            if self.training:
                self.drift = self.drift + 1.0
            super().model(x + 0 * self.drift)

    model = Drifting((3,), 1)
    with refused("compile") as caught:
        fit(model, torch.randn(20, 3), epochs=2, batch_size=10, compile="on", progress=False)
    assert re.search(r"every run changes .*drift", str(caught.value))
