"""What a GAN is worth in nats: VAEs and GANs of the same decoder on continuous MNIST, weighed by annealing.

Grey levels get uniform noise within a level, so that x has a density on [0, 1]^784. Each decoder has a
Normal at its output, whose width is the best of a few on validation images, by annealing from the prior. 50
test images are then weighed with more and more temperatures, until the gap of bidirectional Monte Carlo, on
as many images that the model draws, is at most 10 nats.

    PYRO_VAE_DATA=... python benchmarks/gan_evidence.py [--epochs 15] [--images 50] [--models VAE-50 GAN-50]
"""

import argparse
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyro_vae import fit, load, log_evidence
from pyro_vae.inference import Annealed, Bidirectional
from pyro_vae.inference.objectives import R1R2, Adversarial, Relativistic
from pyro_vae.likelihoods import FixedScaleNormal
from pyro_vae.models import GAN, VAE
from pyro_vae.networks import MLP

PUBLISHED = {  # Wu et al. 2017: mean and standard error, gap, kernel estimate, in nats
    "VAE-50": ("991.4 ± 6.5", 1.54, 351),
    "GAN-50": ("627.3 ± 8.8", 10.0, 300),
    "VAE-10": ("705.4 ± 7.4", 0.83, 409),
    "GAN-10": ("328.8 ± 5.5", 0.93, 260),
}
WIDTHS = (0.05, 0.08, 0.12, 0.18, 0.27)
PILOT = 100  # temperatures, for the width


@dataclass(frozen=True)
class Data:
    train: Tensor
    validation: Tensor
    test: Tensor


def continuous_mnist(num_images: int) -> Data:
    torch.manual_seed(0)
    data = load("mnist", validation=0)
    levels = [
        255 * split.read(torch.arange(len(split))).flatten(1) for split in (data.train, data.test)
    ]
    grey = [(x.round() + torch.rand(x.shape)) / 256 for x in levels]
    some = torch.randperm(len(grey[1]))[:num_images]
    return Data(grey[0][:50_000], grey[0][50_000:][:20], grey[1][some])


def networks(width: int) -> dict[str, Any]:
    """The decoder of all models, and an encoder or discriminator of its size."""
    return {
        "decoder": partial(MLP, hidden_dims=(width, 2 * width), activation=nn.ReLU),
        "other": partial(
            MLP, hidden_dims=(2 * width, width), activation=partial(nn.LeakyReLU, 0.2)
        ),
    }


def trained(name: str, data: Data, epochs: int, width: int) -> Any:
    """Return a model that has been fitted; its likelihood's scale is not yet the one to weigh it with."""
    kind, dim = name.split("-")
    torch.manual_seed(0)
    parts = networks(width)
    options: dict[str, Any] = {"epochs": epochs, "batch_size": 128, "device": "cpu", "seed": 0}
    options["lr_schedule"] = partial(CosineAnnealingLR, T_max=epochs)
    if kind == "VAE":
        likelihood = partial(FixedScaleNormal, scale=0.12)
        made = {"likelihood": likelihood, "decoder": parts["decoder"], "encoder": parts["other"]}
        model: Any = VAE((784,), int(dim), **made)
        fit(model, data.train, optimizer=partial(Adam, lr=1e-3), **options)
        return model
    model = GAN((784,), int(dim), generator=parts["decoder"])
    elbo = Adversarial(Relativistic(), R1R2(1.0), parts["other"], with_noise=False)
    adam = partial(Adam, lr=5e-4, betas=(0.0, 0.9))
    result = fit(model, data.train, elbo=elbo, optimizer=adam, averaging=0.1, **options)
    print(f"{name}: {result.verdict}", flush=True)
    return model


def weigh(model: Any, x: Tensor, temperatures: int, chains: int, two_sided: bool) -> Any:
    annealed = Annealed(num_temperatures=temperatures, start="prior")
    method = Bidirectional(annealed) if two_sided else annealed
    options = {"num_particles": chains, "seed": 0, "device": "cpu"}
    return log_evidence(model.model, x, method=method, **options)


def set_width(model: Any, x: Tensor, chains: int) -> float:
    """Give the likelihood the width under which the images have the greatest evidence."""
    found: dict[float, float] = {}
    for width in WIDTHS:
        model.likelihood.scale.fill_(width)
        found[width] = float(weigh(model, x, PILOT, chains, two_sided=False).mean)
    best = max(found, key=lambda width: found[width])
    model.likelihood.scale.fill_(best)
    return best


def row(name: str, model: Any, data: Data, args: argparse.Namespace) -> Mapping[str, float]:
    width = set_width(model, data.validation, args.chains)
    temperatures, gap, evidence = args.temperatures, math.inf, None
    started = time.monotonic()
    while True:
        gap = float(weigh(model, data.test, temperatures, args.chains, two_sided=True).mean_gap)
        if gap <= args.gap or time.monotonic() - started > 60 * args.minutes:
            break
        temperatures *= 2
    evidence = weigh(model, data.test, temperatures, args.chains, two_sided=False).log_evidence
    error = float(evidence.std()) / math.sqrt(len(evidence))
    found = {"mean": float(evidence.mean()), "error": error, "gap": gap}
    there, their_gap, kernel = PUBLISHED[name]
    print(
        f"{name:8s}{found['mean']:10.1f} ± {error:4.1f}{gap:8.2f}{width:8.2f}{temperatures:8,}"
        f"{there:>16s}{their_gap:8.2f}{kernel:8}",
        flush=True,
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--width", type=int, default=128, help="of the smaller hidden layer")
    parser.add_argument("--chains", type=int, default=4, help="of each image")
    parser.add_argument("--temperatures", type=int, default=200, help="to begin with")
    parser.add_argument("--gap", type=float, default=10.0, help="nats")
    parser.add_argument("--minutes", type=float, default=2.0, help="after which no more are added")
    parser.add_argument("--models", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED))
    args = parser.parse_args()
    data, started = continuous_mnist(args.images), time.monotonic()
    models = {name: trained(name, data, args.epochs, args.width) for name in args.models}
    print(f"trained in {(time.monotonic() - started) / 60:.1f} minutes; log p(x), nats per image")
    ours = f"{'ours':>10s}{'':7s}{'gap':>8s}{'width':>8s}{'steps':>8s}"
    print(f"{'':8s}{ours}{'Wu et al.':>16s}{'gap':>8s}{'KDE':>8s}")
    rows = {name: row(name, model, data, args) for name, model in models.items()}
    if {"VAE-50", "GAN-50"} <= rows.keys():
        lead = rows["VAE-50"]["mean"] - rows["GAN-50"]["mean"]
        print(f"at 50 dimensions the VAE is ahead by {lead:.0f} nats (Wu et al.: 364)")
    print(f"{(time.monotonic() - started) / 60:.1f} minutes in all")


if __name__ == "__main__":
    main()
