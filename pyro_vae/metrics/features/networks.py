"""Networks whose last layer gives features: random, or trained on the data's own labels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae import argument_checks as checks
from pyro_vae.device import resolve
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.metrics.features.module import ModuleFeatures
from pyro_vae.progress import progress_bar

BATCH, RATE = 100, 2e-3


def random_network(
    event_shape: Sequence[int],
    num_features: int = 64,
    *,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> ModuleFeatures:
    """Return the features of a network with random weights, which needs no other data.

    It tells distributions apart, as any fixed map does, but not as people would.

    Args:
        event_shape: of a row: (channels, height, width) of images, or any other.
        num_features: of the output.
        seed: of the weights.
        device: where to compute.

    Raises:
        InputError: an argument does not fit.

    >>> features = random_network((1, 8, 8), 16)
    >>> features(torch.rand(5, 1, 8, 8)).shape
    (5, 16)
    """
    network = _network(event_shape, at_least_1("num_features", num_features), seed)
    return ModuleFeatures(network, f"random network of seed {seed}", device=device)


def classifier(
    rows: Any,
    labels: Any,
    num_features: int = 64,
    *,
    epochs: int = 10,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: bool | None = None,
) -> ModuleFeatures:
    """Train a small network to tell the data's own classes, and return the layer before the last.

    Its features see what tells the classes apart. The hash of its weights is in the name of each metric:
    figures of two classifiers do not compare, and none is an "FID".

    Args:
        rows: of the training data, (N, ...).
        labels: of these, (N,), classes.
        num_features: of the layer.
        epochs: passes through the data.
        seed: of weights and order.
        device: where to train and compute.
        progress: whether to draw a bar.

    Raises:
        InputError: rows and labels do not fit, or there is one class.

    >>> rows = torch.randn(100, 3)
    >>> features = classifier(rows, rows[:, 0] > 0, 8, epochs=2)
    >>> features(rows).shape
    (100, 8)
    """
    x = torch.as_tensor(rows).to(torch.get_default_dtype())
    classes, y = torch.as_tensor(labels).unique(return_inverse=True)
    if y.shape != x.shape[:1]:
        raise InputError(
            f"there are {len(x):,} rows and labels of shape {tuple(y.shape)}",
            subject="labels",
            expected="a class for each row",
        )
    if len(classes) < 2:
        raise InputError(
            "all rows have the same label", subject="labels", expected="two classes or more"
        )
    if not x.isfinite().all():
        raise InputError("a value is missing or infinite", subject="rows")
    network = _network(x.shape[1:], at_least_1("num_features", num_features), seed, len(classes))
    where = resolve(device)
    _train(network.to(where), x, y, at_least_1("epochs", epochs), seed, progress)
    return ModuleFeatures(network[:-1], f"classifier of {len(classes)} classes", device=where)


def _network(
    event_shape: Sequence[int], num_features: int, seed: int, num_classes: int = 0
) -> nn.Sequential:
    """Return layers to the features, and with classes one layer more."""
    checks.seed("seed", seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = _convolutions(*event_shape) if len(event_shape) == 3 else [nn.Flatten()]
        width = nn.Sequential(*layers)(torch.zeros(1, *event_shape)).shape[1]
        layers += [nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, num_features)]
        if num_classes:
            layers.append(nn.Sequential(nn.ReLU(), nn.Linear(num_features, num_classes)))
        return nn.Sequential(*layers)


def _convolutions(channels: int, _: int, __: int) -> list[nn.Module]:
    """Return two that halve the sides of an image."""
    first = nn.Conv2d(channels, 16, 3, stride=2, padding=1)
    second = nn.Conv2d(16, 32, 3, stride=2, padding=1)
    return [first, nn.ReLU(), second, nn.ReLU(), nn.Flatten()]


def _train(
    network: nn.Sequential, x: Tensor, y: Tensor, epochs: int, seed: int, progress: bool | None
) -> None:
    where = next(network.parameters()).device
    noise = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    with progress_bar(epochs, progress, "epoch", delay=2) as bar:
        for _ in range(epochs):
            for rows in torch.randperm(len(x), generator=noise).split(BATCH):
                optimizer.zero_grad()
                logits = network(x[rows].to(where))
                nn.functional.cross_entropy(logits, y[rows].to(where)).backward()
                optimizer.step()
            bar.update()
