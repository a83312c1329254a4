"""What the audit runs: a name -> a function that prepares a run on the CPU, as a fit or an estimate does.

The run itself is what is repeated for each batch or tile.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import broken_on_devices
import pyro
import pyro.distributions as dist
import torch
from device_audit.fakes import call_on_device, examined_on_device, fakes, to_device
from every_objective import OBJECTIVES
from parts.parts import (
    CONSTRAINED,
    ENCODERS,
    GUIDES,
    LIKELIHOODS,
    PRIORS,
    data_for,
    small,
    table,
    with_part,
)
from shelf import SHELF
from torch import Tensor, nn
from torch.optim import Adam

from pyro_vae.guides import AutoAmortized
from pyro_vae.guides import Categorical as CategoricalGuide
from pyro_vae.inference.compiling.validation_ops import ValuesOnDevice
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.annealed_chains import ChainSums, anneal
from pyro_vae.inference.evidence.binding import bind
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.method import Workload, last
from pyro_vae.inference.evidence.proposals import refined, wider
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.inference.objectives import Objective, default_elbo
from pyro_vae.inference.objectives.adversary import Adversary
from pyro_vae.inference.svi.batch_loss import BatchLoss
from pyro_vae.inference.svi.engine import EagerEngine
from pyro_vae.inference.svi.minibatching import Minibatching
from pyro_vae.inference.svi.optimizer import make_optimizer
from pyro_vae.inference.svi.step import Step
from pyro_vae.likelihoods import Bernoulli, FixedScaleNormal, Sentences
from pyro_vae.models import VAE, FactorAnalysis
from pyro_vae.networks import ResidualDecoder
from pyro_vae.priors import Categorical
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import as_program
from pyro_vae.program.examination import examine
from pyro_vae.program.prior_guide import with_prior_as_guide
from pyro_vae.program.unconstrained import Coordinates
from pyro_vae.program.vectorization import with_fastest_chains

Run = Callable[[], object]
Case = tuple[Callable[[], Any], Callable[[], Any]]  # makes a program; makes its data

# --- a step of SVI ------------------------------------------------------------------------------------


def step(case: Case, elbo: Any = None, recorded: bool = False) -> Run:
    """Prepare two steps of a run after its first epoch, at two KL weights.

    Args:
        case: the program, and its data.
        elbo: the objective; None: that of a fit.
        recorded: whether Pyro asks for values as it does while a graph is recorded.
    """
    program, batch = made(case)
    examined = examined_on_device(examine(program, *batch))
    elbo = elbo or default_elbo(examined.structure)
    if isinstance(elbo, Objective):
        elbo = elbo.planned(examined, *batch, num_data=50)
    modules = {**program.modules, **(elbo.modules if isinstance(elbo, Objective) else {})}
    loss = BatchLoss(examined, Minibatching(len(batch[0]), len(batch[0]), shuffle=True), elbo)
    to_device(modules.values())
    parameters = {f"{n}.{k}": p for n, m in modules.items() for k, p in m.named_parameters()}
    optimizer = make_optimizer(partial(Adam, lr=1e-3), parameters)
    one_step = Step(EagerEngine(loss, parameters), optimizer, clip_norm=1.0)
    rows = fakes(batch)

    def run() -> None:
        with ValuesOnDevice() if recorded else nullcontext():
            for beta in (1.0, 0.5):
                one_step(rows, beta)

    return run


# --- a tile of an estimate ----------------------------------------------------------------------------


def weights(case: Case, method: Importance | None = None) -> Run:
    """Prepare two parts of a tile's weights, and what is told of them."""
    method, (bound_program, rows) = method or Importance(), bound(case)
    method.estimator(bound_program, Workload(7, ()))
    bound_program = call_on_device(bound_program, rows)

    def run() -> None:
        sums = WeightSums(30, bound_program.structure.num_units, bound_program.device)
        for count in (20, 10):
            sums.add(method.draw(bound_program, count, 8).log_weights)
        sums.unit_estimates()

    return run


def chains(case: Case, start: str = "guide", adapted: bool = False) -> Run:
    """Prepare chains from their start to their end, and one way back."""
    bound_program, rows = bound(case)
    method = Annealed(2, start, num_leapfrog=2)
    sampler = method.sampler(bound_program, Workload(7, ()))
    path = sampler.path
    path.bound_program = call_on_device(bound_program, rows)

    def run() -> None:
        trace = path.bound_program.guide(1) if start == "guide" else path.bound_program.model(1)
        latents = path._continuous_latents(trace)
        path.coordinates = Coordinates(
            latents, path.bound_program.structure, path.bound_program.vectorized
        )
        if getattr(path, "_fixed", None) is not None:
            path._fixed = trace
        if adapted:
            sizes = method.step_sizes(sampler)
            there = last(method.anneal(sampler, sizes, 3, lambda _: None))
            end = there.resampled_end()
            there.unit_estimates()
            last(method.anneal(sampler, sizes, 3, lambda _: None, end)).unit_estimates()
        elif path.coordinates.size:
            u = path.draw(2)
            state = sampler.state(u)
            sampler.transition(state, 0.5, torch.ones_like(u[0]))[0].log_ratio()
        else:
            sums = ChainSums(2, path.bound_program)
            sums.add(anneal(sampler, path.draw(2), (0.0, 1.0), None))

    return run


def exact(case: Case) -> Run:
    """Prepare the program's own closed form."""
    bound_program, rows = bound(case)
    bound_program = call_on_device(bound_program, rows)
    return lambda: last(iter([bound_program.program.log_evidence(*bound_program.args)]))


def made(case: Case) -> tuple[Any, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    program, data = case[0](), case[1]()
    if isinstance(program, nn.Module) and not hasattr(program, "guide"):
        program = with_prior_as_guide(program)
    return as_program(program), data if isinstance(data, tuple) else (data,)


def bound(case: Case) -> tuple[BoundProgram, tuple[Tensor, ...]]:
    """Return a call as an estimate makes it on the CPU, and the rows for the device."""
    program, batch = made(case)
    return with_fastest_chains(bind(program, None, batch, {})), fakes(batch)


# --- programs -----------------------------------------------------------------------------------------


class Regression(nn.Module):
    """y = X w + noise with one w for all rows: many chains of it run by vmap."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(3))

    def model(self, x: Tensor) -> None:
        one = torch.ones_like(self.loc)
        w = pyro.sample("w", dist.Normal(0 * one, one).to_event(1))
        with pyro.plate("rows", len(x)):
            mean = torch.zeros(3, device=x.device) @ w + x[:, 1:] @ w
            pyro.sample("y", dist.Normal(mean, one[0]), obs=x[:, 0])

    def guide(self, x: Tensor) -> None:
        pyro.sample("w", dist.Normal(self.loc, torch.ones_like(self.loc)).to_event(1))


def groups(x: Tensor) -> None:
    """A hierarchy, whose groups are the units."""
    zero, one = x.new_zeros(()), x.new_ones(())
    mean = pyro.sample("mean", dist.Normal(zero, one))
    spread = pyro.sample("spread", dist.LogNormal(zero, one))
    with pyro.plate("groups", len(x), dim=-2):
        effect = pyro.sample("effect", dist.Normal(mean, spread))
        pair = pyro.sample("pair", dist.Normal(x.new_zeros(2), one).to_event(1))
        with pyro.plate("values", 4, dim=-1):
            pyro.sample("x", dist.Normal(effect + pair[..., 0], one), obs=x)


def columns(x: Tensor) -> None:
    """Latents of the columns, which all rows share: parameters of each."""
    one = x.new_ones(())
    mean = pyro.sample("mean", dist.Normal(x.new_zeros(()), one))
    with pyro.plate("columns", 4, dim=-1):
        level = pyro.sample("level", dist.Normal(mean, one))
        with pyro.plate("rows", len(x), dim=-2):
            pyro.sample("x", dist.Normal(level, one), obs=x)


def steps(x: Tensor) -> None:
    """A series of four steps."""
    z, one = x.new_zeros(()), x.new_ones(())
    with pyro.plate("rows", len(x)):
        for t in range(4):
            z = pyro.sample(f"z_{t}", dist.Normal(z, one))
            pyro.sample(f"x_{t}", dist.Normal(z, one), obs=x[:, t])


def with_made_guide(model: Callable[..., None]) -> Case:
    data = partial(torch.randn, 9, 4)
    return (lambda: (model, AutoAmortized(model, data(), network=small))), data


def of_part(name: str) -> Case:
    return partial(with_part, name), partial(data_for, LIKELIHOODS.get(name, Bernoulli))


def of_encoder(name: str) -> Case:
    make, shape = ENCODERS[name]
    vae = partial(VAE, shape, 2, likelihood=FixedScaleNormal, encoder=make, decoder=small)
    return vae, partial(torch.randn, 9, *shape)


def binary(*shape: int) -> Tensor:
    return torch.bernoulli(torch.full(shape, 0.4))


def case_for(elbo: Any) -> Case:
    """Return a program for an objective; adversaries compare data with draws, which need gradients."""
    return GAUSSIAN if isinstance(elbo, Adversary) else PARTS["MeanFieldNormal"]


TABLE = (lambda: table()[0]), (lambda: table()[1])
GAUSSIAN = partial(FactorAnalysis, (5,), 2), partial(torch.randn, 9, 5)
REGRESSION = Regression, partial(torch.randn, 9, 4)
CLASSES = partial(VAE, (4,), 3, prior=Categorical, guide=CategoricalGuide), partial(binary, 9, 4)


def numbered(names: Sequence[str]) -> list[str]:
    """Return names with the number of the occurrence behind all but the first: A, B, A2."""
    return [
        f"{name}{count}" if (count := names[: i + 1].count(name)) > 1 else name
        for i, name in enumerate(names)
    ]


MODELS: dict[str, Case] = {
    **dict(zip(numbered([name for name, *_ in SHELF]), (case for _, *case in SHELF), strict=True)),
    **{
        f"guide made for {model.__name__}": with_made_guide(model)
        for model in (groups, columns, steps)
    },
}
PARTS: dict[str, Case] = {
    **{name: of_part(name) for name in (*LIKELIHOODS, *PRIORS, *GUIDES)},
    **{name: of_encoder(name) for name in ENCODERS},
    **{
        name: (partial(VAE, (4,), 3, prior=prior, guide=guide), partial(binary, 9, 4))
        for name, (prior, guide) in CONSTRAINED.items()
    },
    "classes": CLASSES,
    "table": TABLE,
    "ResidualDecoder": (
        partial(VAE, (1, 5, 6), 2, decoder=partial(ResidualDecoder, channels=(4, 4))),
        partial(binary, 9, 1, 5, 6),
    ),
    "Sentences": (
        partial(VAE, (4,), 2, likelihood=partial(Sentences, num_tokens=3, end=0)),
        partial(torch.ones, 9, 4),
    ),
}

ENUMERATED = [name for name in MODELS if name.startswith(("MixtureVAE", "SemiSupervised"))]
SUBJECTS: dict[str, dict[str, Callable[[], Run]]] = {
    "steps of models": {
        **{name: partial(step, case) for name, case in MODELS.items()},
        **{f"{n}, recorded": partial(step, MODELS[n], recorded=True) for n in ENUMERATED},
    },
    "steps of parts and objectives": {
        **{name: partial(step, case) for name, case in PARTS.items()},
        **{type(elbo).__name__: partial(step, case_for(elbo), elbo) for elbo in OBJECTIVES},
    },
    "weights": {
        **{name: partial(weights, case) for name, case in MODELS.items()},
        "prior's share": partial(weights, GAUSSIAN, Importance(prior_share=0.1)),
        "wider": partial(weights, (lambda: wider(VAE((4,), 2), 1.5), PARTS["MeanFieldNormal"][1])),
        "refined": partial(weights, (lambda: refined(GAUSSIAN[0](), steps=2), GAUSSIAN[1])),
        "by vmap": partial(weights, REGRESSION),
        "prior's share by vmap": partial(weights, REGRESSION, Importance(prior_share=0.1)),
    },
    "annealing": {
        **{name: partial(chains, case) for name, case in MODELS.items()},
        "from the prior": partial(chains, GAUSSIAN, "prior"),
        "DequantizedFlow from the prior": partial(chains, MODELS["DequantizedFlow"], "prior"),
        "adapted": partial(chains, GAUSSIAN, adapted=True),
        "by vmap": partial(chains, REGRESSION),
        "exact FactorAnalysis": partial(exact, GAUSSIAN),
        "exact StateSpace": partial(exact, MODELS["StateSpace"]),
    },
    "broken": {
        **{kind.__name__: partial(step, (kind, partial(torch.randn, 9, 2)))
           for kind in (broken_on_devices.ScaleOnDevice, *broken_on_devices.BROKEN)},
    },
}  # fmt: skip
