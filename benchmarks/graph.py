"""How long a diagram takes, from the program to SVG, after the import and in a process of its own.

python benchmarks/graph.py
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from gallery import GALLERY, VAE

from pyro_vae.graph import ModelGraph, render_model
from pyro_vae.networks import MLP

LENGTHS = (20, 50, 100, 200, 500)


def chain(length: int) -> Callable[[], None]:
    """A state-space model as a Python loop."""

    def model() -> None:
        z = torch.zeros(())
        for t in range(length):
            z = pyro.sample(f"z_{t}", dist.Normal(z, 1.0))
            pyro.sample(f"x_{t}", dist.Normal(z, 0.1), obs=torch.zeros(()))

    return model


def chain_with_networks(length: int) -> Callable[[], None]:
    """The same, with one network for all transitions and one for all emissions."""
    transition, emission = nn.Linear(1, 1), nn.Linear(1, 1)

    def model() -> None:
        z = torch.zeros(1)
        for t in range(length):
            z = pyro.sample(f"z_{t}", dist.Normal(transition(z), 1.0).to_event(1))
            emitted = dist.Normal(emission(z), 0.1).to_event(1)
            pyro.sample(f"x_{t}", emitted, obs=torch.zeros(1))

    return model


def deterministic_chain(length: int) -> Callable[[], None]:
    def model() -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        for t in range(length):
            z = pyro.deterministic(f"h_{t}", z.tanh())

    return model


def groups(number: int) -> Callable[[], None]:
    """A hierarchy whose groups are a Python loop, each with a plate of its own."""

    def model() -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        for g in range(number):
            own = pyro.sample(f"mean_{g}", dist.Normal(mean, 1.0))
            with pyro.plate(f"data_{g}", 5):
                pyro.sample(f"y_{g}", dist.Normal(own, 1.0), obs=torch.zeros(5))

    return model


def dense(sites: int, width: int = 20) -> Callable[[], None]:
    """Layers of sites, each of which depends on all sites of the layer above."""

    def layer(number: int, above: Tensor) -> Tensor:
        mean = above.sum()
        names = [f"h_{number}_{i}" for i in range(width)]
        return torch.stack([pyro.sample(name, dist.Normal(mean, 1.0)) for name in names])

    def model() -> None:
        h = torch.zeros(1)
        for number in range(sites // width):
            h = layer(number, h)

    return model


def measure(name: str, draw: Callable[[], ModelGraph]) -> None:
    print(f"{name:50s}{seconds(draw):8.3f} s")


def seconds(draw: Callable[[], ModelGraph]) -> float:
    pyro.clear_param_store()
    started = time.perf_counter()
    draw().render("svg")
    return time.perf_counter() - started


def table(fold: bool | None, words: str) -> None:
    """Print the seconds of each program at each length."""
    print(f"\n{words:34s}" + "".join(f"{length:8d}" for length in LENGTHS))
    for program in (chain, chain_with_networks, deterministic_chain, groups):
        times = [seconds(partial(render_model, program(n), fold=fold)) for n in LENGTHS]
        print(f"{program.__name__:34s}" + "".join(f"{t:8.2f}" for t in times))


def main() -> None:
    with torch.device("meta"):  # 200 million weights, without their memory
        wide = partial(MLP, hidden_dims=(512,))
        large = VAE((3, 256, 256), 64, encoder=wide, decoder=wide)
    x = torch.zeros(()).expand(1024, 3, 256, 256)
    measure("VAE", GALLERY["vae"])
    measure("VAE of 200 million weights on 1024x3x256x256", lambda: render_model(large, (x,)))
    measure("40 sites", GALLERY["forty_sites"])
    measure("200 sites in 10 dense layers", lambda: render_model(dense(200)))
    measure("200 sites in 10 dense layers, all drawn", lambda: render_model(dense(200), fold=False))
    table(None, "seconds: a few steps drawn")
    table(False, "seconds: every step drawn")


if __name__ == "__main__":
    main()
