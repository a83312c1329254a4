"""Bar 4: this library's own models, with their own guides and with made ones."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import nan
from statistics import mean, stdev
from typing import Any

import pyro
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyro_vae import fit, log_evidence
from pyro_vae.guides import AutoAmortized
from pyro_vae.models import (
    VAE,
    DeepMarkov,
    FactorAnalysis,
    HierarchicalVAE,
    ItemResponse,
    MixtureVAE,
    StateSpace,
)

BATCH = 128
HEAD = ("model", "seeds", "own guide, ELBO", "made guide, ELBO", "difference", "error", "bar met")


@dataclass(frozen=True)
class OnShelf:
    """Hold a model of the shelf and the data it is fitted to; ``exact`` guides can reach the evidence."""

    name: str
    make: Callable[[], Any]
    data: Callable[[], Tensor]
    exact: bool = False
    lr: float = 1e-3


def digits() -> Tensor:
    pixels = torch.from_numpy(load_digits().images).float() / 16
    return torch.bernoulli(pixels).unsqueeze(1)


def factors() -> Tensor:
    return torch.randn(1_500, 3) @ torch.randn(3, 10) + 0.5 * torch.randn(1_500, 10)


def walks() -> Tensor:
    level = torch.randn(1_500, 12, 2).cumsum(1) / 2
    return level @ torch.randn(2, 3) + 0.5 * torch.randn(1_500, 12, 3)


def answers() -> Tensor:
    logits = torch.randn(1_500, 1) * 1.5 + torch.randn(12)
    given = torch.bernoulli(logits.sigmoid())
    return given.masked_fill(torch.rand_like(given) < 0.1, torch.nan)


SHELF = (
    OnShelf("FactorAnalysis", partial(FactorAnalysis, (10,), 3), factors, exact=True, lr=3e-3),
    OnShelf("StateSpace", partial(StateSpace, (12, 3), 2), walks, exact=True, lr=3e-3),
    OnShelf("ItemResponse", partial(ItemResponse, (12,), 1), answers),
    OnShelf("VAE", partial(VAE, (1, 8, 8), 8), digits),
    OnShelf("HierarchicalVAE", partial(HierarchicalVAE, (1, 8, 8), (8, 4)), digits),
    OnShelf("MixtureVAE", partial(MixtureVAE, (1, 8, 8), 8), digits),
    OnShelf("DeepMarkov", partial(DeepMarkov, (1, 8, 8), 4), digits),
)


def rows(steps: int, seeds: int) -> Iterator[list[str]]:
    """Yield a row for each model."""
    for entry in SHELF:
        started = time.monotonic()
        try:
            pairs = [elbos(entry, steps, seed) for seed in range(seeds)]
        except Exception as error:
            said = str(error).strip().split("\n")[0]
            yield [entry.name, *[""] * 5, f"{type(error).__name__}: {said}"]
            continue
        differences = [made - own for own, made in pairs]
        error_ = stdev(differences) / len(pairs) ** 0.5 if len(pairs) > 1 else nan
        least = -0.02 if entry.exact else -2 * error_
        yield [
            entry.name,
            str(seeds),
            f"{mean(own for own, _ in pairs):.3f}",
            f"{mean(made for _, made in pairs):.3f}",
            f"{mean(differences):+.3f}",
            f"{error_:.3f}",
            ("yes" if mean(differences) >= least else "no")
            + f" ({time.monotonic() - started:.0f} s)",
        ]


def elbos(entry: OnShelf, steps: int, seed: int) -> tuple[float, float]:
    """Return the ELBO per held-out unit with the model's own guide, and with a made one."""
    pyro.set_rng_seed(seed)
    data = entry.data()
    train, test = data[:-300], data[-300:]
    found = []
    for is_made in (False, True):
        pyro.set_rng_seed(seed)
        model = entry.make()
        program: Any = (model.model, AutoAmortized(model, train[:1000])) if is_made else model
        epochs = max(1, round(steps * BATCH / len(train)))
        fit(
            program,
            train,
            epochs=epochs,
            batch_size=BATCH,
            optimizer=partial(Adam, lr=entry.lr),
            lr_schedule=partial(CosineAnnealingLR, T_max=epochs),
            seed=seed,
            progress=False,
            device="cpu",
        )
        weighed = log_evidence(program, test, num_particles=200, seed=0, progress=False)
        found.append(float(weighed.bounds[1].mean()))
    return found[0], found[1]
