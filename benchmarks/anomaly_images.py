"""Anomaly detection on images: one digit of MNIST a class, and Fashion-MNIST against MNIST.

`python benchmarks/anomaly.py --mnist` and `--fashion` call it.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score
from torch import Tensor

from pyro_vae import fit, load, score
from pyro_vae.inference import (
    DoSE,
    InputComplexity,
    Reconstruction,
    Regret,
    Score,
    Surprise,
    Typicality,
)
from pyro_vae.likelihoods import FixedScaleNormal
from pyro_vae.models import VAE
from pyro_vae.networks import MLP

SEED, SHAPE = 0, (1, 28, 28)
ADAM = partial(torch.optim.Adam, lr=2e-3)
HIDDEN = partial(MLP, hidden_dims=(256, 128))
DECODER = partial(MLP, hidden_dims=(128, 256))


def vae(latent_dim: int) -> VAE:
    """A VAE of grey images: their pixels are Normal about the decoder's, with scale 0.2."""
    torch.manual_seed(SEED)
    likelihood = partial(FixedScaleNormal, scale=0.2)
    return VAE(SHAPE, latent_dim, likelihood=likelihood, encoder=HIDDEN, decoder=DECODER)


def images(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    data = load(name)
    assert data.train.labels is not None
    assert data.test.labels is not None
    return data.train.read(), data.train.labels, data.test.read(), data.test.labels


def smooth(x: Tensor) -> Tensor:
    """Return images blurred by a Gaussian of 0.7 pixels, so that a stroke may be a little off."""
    return torch.as_tensor(gaussian_filter(x.numpy(), (0, 0, 0.7, 0.7)))


def auroc(normal: Tensor, strange: Tensor) -> float:
    labels = torch.cat([torch.zeros(len(normal)), torch.ones(len(strange))])
    return float(roc_auc_score(labels, torch.cat([normal, strange])))


def some(x: Tensor, count: int) -> Tensor:
    """Return some rows, at random: data sets are sorted."""
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(SEED))[:count]]


def digits(epochs: int, count: int, classes: Sequence[int] = range(10)) -> None:
    """Fit one digit, and tell the others from it; all images are smoothed."""
    x, labels, new, new_labels = images("mnist")
    x, new = smooth(x), smooth(new)
    means: dict[str, list[float]] = {}
    for digit in classes:
        began = time.process_time()
        model, train = vae(latent_dim=16), x[labels == digit]
        fit(model, train, epochs=epochs, progress=False, seed=SEED, optimizer=ADAM)
        normal = some(new[new_labels == digit], count)
        strange = some(new[new_labels != digit], count)
        row = []
        for by in (Surprise(), Reconstruction()):
            run: Any = partial(score, model, by=by, num_particles=64, shares=False, progress=False)
            row.append(auroc(run(normal).scores, run(strange).scores))
            means.setdefault(type(by).__name__, []).append(row[-1])
        cells = "  ".join(f"{value:.4f}" for value in row)
        print(f"digit {digit}  {cells}  {time.process_time() - began:.0f} CPU s", flush=True)
    print(f"up to {count:,} images of the digit and of the others; published: VAE 0.970")
    for name, values in means.items():
        print(f"mean AUROC {name}: {sum(values) / len(values):.4f}")


def fashion(epochs: int, count: int) -> None:
    """Fit Fashion-MNIST, and tell MNIST from it by each score; no score has seen MNIST before."""
    x, _, held_out, _ = images("fashion-mnist")
    _, _, digits, _ = images("mnist")
    model = vae(latent_dim=16)
    fit(model, x, epochs=epochs, progress=False, seed=SEED, optimizer=ADAM)
    held_out = some(held_out, 2 * count)
    normal, reference, strange = held_out[:count], held_out[count:], some(digits, count)
    scores: list[Score] = [Surprise(), Typicality(), DoSE(), InputComplexity(), Reconstruction()]
    for by in [*scores, Regret(steps=50)]:
        began = time.process_time()
        known = reference if by.learns else None
        run: Any = partial(score, model, by=by, reference=known, num_particles=64, shares=False)
        value = auroc(run(normal).scores, run(strange).scores)
        seconds = time.process_time() - began
        print(f"{type(by).__name__:16} {value:.4f}  {seconds:.0f} CPU s", flush=True)
    print(f"{count:,} images of each; published: regret 0.99, likelihood 0.09 to 0.87")
