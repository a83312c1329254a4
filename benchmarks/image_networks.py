"""What do convolutions gain on images, and what do they cost? The command line chooses between the two.

A VAE with 16 latents and a discretised logistic, its networks MLPs or convolutions, at Adam's usual rate;
kept is the epoch that is best on held-out rows. Of test rows: bits per value (importance sampling with 50
draws), the squared error of reconstructions, and the seconds of an epoch on one thread. Crops are cut from
the two photographs that scikit-learn ships; MNIST is taken if PYRO_VAE_DATA has it.

    python benchmarks/image_networks.py [--epochs 100] [--rows 2000] [--seeds 0 1] [--data digits crops]
"""

import argparse
import math
import platform
from functools import partial
from statistics import mean
from typing import Any

import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

from pyro_vae import InputError, fit, load, log_evidence, posterior
from pyro_vae.inference import Guide
from pyro_vae.likelihoods import DiscretizedLogistic
from pyro_vae.models import VAE
from pyro_vae.networks import MLP, ConvDecoder, ConvEncoder

NETWORKS: dict[str, dict[str, Any]] = {
    "MLP": {"encoder": MLP, "decoder": MLP},
    "convolutions": {"encoder": ConvEncoder, "decoder": ConvDecoder},
}
HELD_OUT, SIDE = 200, 32


def crops(rows: int) -> Tensor:
    """Squares of the photographs, rows | 3, SIDE, SIDE, in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    photographs = [torch.tensor(image).movedim(-1, 0) for image in load_sample_images().images]
    cut = []
    for number in range(rows):
        image = photographs[number % 2]
        top, left = (
            int(torch.randint(size - SIDE, (), generator=generator)) for size in image.shape[1:]
        )
        cut.append(image[:, top : top + SIDE, left : left + SIDE])
    return torch.stack(cut) / 255


def images(name: str, rows: int) -> tuple[Tensor, Tensor, Tensor, int]:
    """Rows to train on, to validate on and to test on, and how many levels they have."""
    if name == "crops":
        x = crops(rows + 2 * HELD_OUT)
        return x[:rows], x[rows:-HELD_OUT], x[-HELD_OUT:], 256
    data = load(name)
    held_out = data.test if data.validation is None else data.validation
    first = (split.read(torch.arange(min(n, len(split)))) for split, n in
             ((data.train, rows), (held_out, HELD_OUT), (data.test, HELD_OUT)))  # fmt: skip
    return (*first, data.values.levels or 256)  # type: ignore[return-value]


def figures(name: str, network: str, options: argparse.Namespace, seed: int) -> list[float]:
    """Bits per value, squared error, seconds an epoch."""
    train, validation, test, levels = images(name, options.rows)
    torch.manual_seed(seed)
    likelihood = partial(DiscretizedLogistic, levels=levels)
    vae = VAE(tuple(train.shape[1:]), 16, likelihood=likelihood, **NETWORKS[network])
    result = fit(vae, train, validation=validation, epochs=options.epochs, seed=seed, device="cpu")
    found = log_evidence(vae, test, num_particles=50, seed=0)
    bits = -float(found.log_evidence.mean()) / math.log(2) / test[0].numel()
    drawn = posterior(vae, test, method=Guide(), num_draws=1, seed=0)
    made = drawn.reconstructions()["x"]
    return [bits, float((made - test).square().mean()), result.seconds / options.epochs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--rows", type=int, default=2000, help="to train on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--data", nargs="+", default=["digits", "crops", "mnist"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {platform.machine()}, {options.epochs} epochs of up to "
          f"{options.rows:,} rows, seeds {options.seeds}")  # fmt: skip
    print(
        "| data | networks | bits a value | squared error | seconds an epoch |\n|---|---|---|---|---|"
    )
    for name in options.data:
        for network in NETWORKS:
            try:
                each = [figures(name, network, options, seed) for seed in options.seeds]
            except InputError as error:
                print(f"| {name} | left out: {error} |")
                break
            bits, error_, seconds = zip(*each, strict=True)
            spread = max(bits) - min(bits)
            print(f"| {name} | {network} | {mean(bits):.3f} (spread {spread:.3f}) | {mean(error_):.4f} | "
                  f"{mean(seconds):.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
