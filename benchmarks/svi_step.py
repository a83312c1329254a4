"""What one step of SVI costs, beside Pyro, NumPyro and loops written by hand.

Two networks (784-200-200-50 with softplus; three strided convolutions), Bernoulli likelihood, Adam, the
KL term from the draw, three batch sizes. All run in turns, so that a busy machine slows all alike; a
figure is the median over rounds of the median step of a round, with the quartiles of its ratio to
NumPyro's step of the same round. Peers that are not installed are named.

    pip install numpyro
    OMP_NUM_THREADS=2 python benchmarks/svi_step.py [--rounds 15] [--seconds 0.3] [--batch 32 128 1000]
"""

import argparse
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyro
import torch
from pyro.infer import SVI, JitTrace_ELBO, Trace_ELBO
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Adam

from pyro_vae.allocations import raise_malloc_thresholds
from pyro_vae.inference.compiling.fx_capture import capture
from pyro_vae.inference.compiling.onednn import use_onednn
from pyro_vae.inference.objectives import TraceELBO
from pyro_vae.inference.svi.batch_loss import BatchLoss
from pyro_vae.inference.svi.compiled_engine import CompiledEngine
from pyro_vae.inference.svi.engine import EagerEngine
from pyro_vae.inference.svi.minibatching import Minibatching
from pyro_vae.inference.svi.optimizer import make_optimizer
from pyro_vae.inference.svi.step import Step
from pyro_vae.inference.svi.step_graph import StepCapture
from pyro_vae.models import VAE
from pyro_vae.networks import MLP, ConvDecoder, ConvEncoder, Network, Shape
from pyro_vae.program.contract import as_program
from pyro_vae.program.examination import examine
from pyro_vae.program.generators import torch_rng_state
from pyro_vae.program.parameters import named_parameters

SHAPE, LATENT_DIM = (1, 28, 28), 50
DENSE = partial(MLP, hidden_dims=(200, 200), activation=nn.Softplus)
NETWORKS: dict[str, tuple[Callable[[Shape, Shape], Network], Callable[[Shape, Shape], Network]]] = {
    "784-200-200-50": (DENSE, DENSE),
    "convolutional": (
        partial(ConvEncoder, activation=nn.Softplus),
        partial(ConvDecoder, activation=nn.Softplus),
    ),
}
PYRO = "Pyro, SVI.step"
Take = Callable[[], Any]  # one step, waited for


class ByHand(nn.Module):
    """The same networks and estimator in plain torch."""

    def __init__(self, network: str) -> None:
        super().__init__()
        encoder, decoder = NETWORKS[network]
        self.encoder, self.decoder = encoder(SHAPE, (2, LATENT_DIM)), decoder((LATENT_DIM,), SHAPE)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Minus the ELBO per image, in nats."""
        loc, log_scale = self.encoder(x).unbind(1)
        z = loc + log_scale.exp() * noise
        distortion = binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        return (distortion + (0.5 * z.square() - 0.5 * noise.square() - log_scale).sum()) / len(x)


def by_hand(network: str, x: Tensor, compiled: bool) -> Take:
    vae = ByHand(network).to(x.device)
    optimizer = Adam(vae.parameters(), lr=1e-3, fused=True)
    loss = torch.compile(vae, dynamic=False) if compiled else vae

    def step() -> None:
        optimizer.zero_grad()
        loss(x, torch.randn(len(x), LATENT_DIM, device=x.device)).backward()
        optimizer.step()

    return step


def story(network: str) -> VAE:
    encoder, decoder = NETWORKS[network]
    return VAE(SHAPE, LATENT_DIM, encoder=encoder, decoder=decoder)


def our_step(network: str, x: Tensor, compiled: bool) -> Step:
    """For batches of that shape, in memory that is kept from step to step, as `fit` keeps it."""
    raise_malloc_thresholds()
    program = as_program(story(network).to(x.device))
    parameters = named_parameters(program)
    minibatching = Minibatching(len(x), len(x), shuffle=True)
    loss = BatchLoss(examine(program, x), minibatching, TraceELBO())
    engine = EagerEngine(loss, parameters)
    optimizer = make_optimizer(partial(Adam, lr=1e-3), parameters)
    if not compiled:
        return Step(engine, optimizer, None)
    capture = StepCapture(loss, parameters, is_tempered=False)
    return Step(CompiledEngine(engine, capture, "on"), optimizer, None)


def ours(network: str, x: Tensor, compiled: bool, by_optimizer: bool = False) -> Take:
    step = our_step(network, x, compiled)
    if by_optimizer:  # and not by torch's kernel directly
        step.update = step.optimizer.step

    def take() -> None:  # as the loop of `fit` does: it looks at each loss on a CPU alone
        step((x,), before=torch_rng_state() if x.is_cpu else None)

    return take


def pyros(network: str, x: Tensor, elbo: Callable[[], Any]) -> Take:
    pyro.clear_param_store()
    vae = story(network).to(x.device)

    def registered(name: str) -> Callable[[Tensor], None]:
        def part(x: Tensor) -> None:
            pyro.module("vae", vae)
            getattr(vae, name)(x)

        return part

    optimizer = pyro.optim.Adam({"lr": 1e-3})
    svi = SVI(registered("model"), registered("guide"), optimizer, elbo())
    return partial(svi.step, x)


def numpyros(network: str, x: Tensor) -> Take:
    import jax
    import numpyro_vae

    step, state = numpyro_vae.jitted_step(network, x.numpy())
    held = [state]

    def take() -> None:
        held[0], loss = step(held[0])
        jax.block_until_ready(loss)

    return take


def products(network: str, x: Tensor) -> Take:
    """Matrix products and convolutions of a step, forward and backward, and nothing else."""
    vae = ByHand(network).to(x.device)
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []
    layers = [m for m in vae.modules() if not list(m.children()) and list(m.parameters())]
    hooks = [
        layer.register_forward_hook(
            lambda layer, inputs, out: calls.append(
                (layer, inputs[0].detach(), torch.rand_like(out))
            )
        )
        for layer in layers
    ]
    with torch.no_grad():
        vae(x, torch.randn(len(x), LATENT_DIM, device=x.device))
    for hook in hooks:
        hook.remove()

    def all_products(*tensors: Tensor) -> tuple[Tensor, ...]:
        results: list[Tensor] = []
        for (layer, _, _), given, gradient in zip(calls, tensors[::2], tensors[1::2], strict=True):
            wanted = list(layer.parameters())
            if results:  # nobody asks for the gradient of the data
                given = given.detach().requires_grad_()
                wanted.append(given)
            out = layer(given)
            # returned, too: a gradient does not need it, and the graph would leave it out
            results += [out.detach(), *torch.autograd.grad(out, wanted, gradient)]
        return tuple(results)

    tensors = [tensor for _, given, gradient in calls for tensor in (given, gradient)]
    graph = capture(all_products, *tensors)
    use_onednn(graph.module)

    def step() -> None:
        with torch.no_grad():
            graph.module(*graph.tensors, *tensors)

    return step


CONTESTANTS: dict[str, Callable[[str, Tensor], Take]] = {
    "NumPyro, jitted update": numpyros,
    "fit, compiled": partial(ours, compiled=True),
    "fit, optimizer.step()": partial(ours, compiled=True, by_optimizer=True),
    "fit, step by step": partial(ours, compiled=False),
    "torch by hand, compiled": partial(by_hand, compiled=True),
    "torch by hand": partial(by_hand, compiled=False),
    PYRO: partial(pyros, elbo=Trace_ELBO),
    f"{PYRO}, validating": partial(pyros, elbo=Trace_ELBO),
    "Pyro, JitTrace_ELBO": partial(pyros, elbo=partial(JitTrace_ELBO, ignore_jit_warnings=True)),
    "matrix products alone": products,
}


def contestants(network: str, x: Tensor) -> Iterator[tuple[str, Take]]:
    for name, make in CONTESTANTS.items():
        torch.manual_seed(0)
        try:
            step = make(network, x)
            with pyro.validation_enabled(validates(name)):
                step()
        except ImportError as error:
            print(f"  {name}: {error.name} is not installed")
            continue
        yield name, step


def validates(name: str) -> bool:
    """Pyro checks values unless it is told not to; `fit` does so for an epoch."""
    return name.endswith("validating")


def median_step(step: Take, seconds: float, steps: int = 1) -> float:
    """Of so many steps in a row, after which the host waits for a GPU: `fit` waits once an epoch."""
    step()
    until, times = time.perf_counter() + seconds, []
    while time.perf_counter() < until or len(times) < 3:
        wait_for_gpu()
        started = time.perf_counter()
        for _ in range(steps):
            step()
        wait_for_gpu()
        times.append((time.perf_counter() - started) / steps)
    return statistics.median(times)


def wait_for_gpu() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:6.2f} ({low:.2f} to {high:.2f})"


def compare(network: str, batch_size: int, rounds: int, seconds: float) -> None:
    x = (torch.rand(batch_size, *SHAPE) > 0.8).float()
    print(f"\n{network}, batches of {batch_size}")
    steps = dict(contestants(network, x))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            with pyro.validation_enabled(validates(name)):
                times[name].append(median_step(step, seconds))
    base = next(iter(steps))
    print(f"  {'':26s}{'ms':>8s}   {'times ' + base:30s}{PYRO} is so many times it")
    for name, taken in times.items():
        to_base = [a / b for a, b in zip(taken, times[base], strict=True)]
        to_pyro = [b / a for a, b in zip(taken, times[PYRO], strict=True)]
        middle = 1e3 * statistics.median(taken)
        print(f"  {name:26s}{middle:8.3f}   {spread(to_base):30s}{spread(to_pyro)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.3, help="for each, in each round")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128, 1000])
    parser.add_argument("--network", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"Pyro {pyro.__version__}; medians of {args.rounds} rounds, quartiles in brackets"
    )
    for network in args.network:
        for batch_size in args.batch:
            compare(network, batch_size, args.rounds, args.seconds)


if __name__ == "__main__":
    main()
