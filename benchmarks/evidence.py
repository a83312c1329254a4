"""How many importance weights a second, beside the peers and the decoder's matrix products alone?

A VAE 784-200-200-50, softplus, Bernoulli, trained for a moment: on MNIST where PYRO_VAE_DATA is set,
else on random binary images. Everybody gets the same weights, images and K and takes turns with the
others, round by round; ratios are of times within a round. All estimates have to agree. A second table is
of ten times the images, with `log_evidence(compile="on")`: its time contains tracing and compiling, that
of torch.compile by hand does not. Then the peak memory of `log_evidence` at K = 500 and K = 50,000, each in
a process of its own.

    python benchmarks/evidence.py [--images 1024] [--num_particles 1000] [--rounds 7] [--threads 2]

The peers are pythae, whose row is left out where it is not installed, and Pyro.
"""

import argparse
import gc
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from by_hand import HandVAE
from pyro.infer.importance import vectorized_importance_weights
from svi_step import wait_for_gpu
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Adam

from pyro_vae import load, log_evidence
from pyro_vae.inference.compiling.onednn import product
from pyro_vae.inference.evidence.result import Evidence

Estimate = Callable[[HandVAE, Tensor, int], float]
"""The mean over images of log p(x), in nats, from K weights for each."""

FLOOR, ONEDNN = "matrix products alone", "matrix products alone, by oneDNN"
OURS, PEER = "pyro_vae, log_evidence", "pythae, get_nll"
EAGER = "pyro_vae, log_evidence, compile='off'"
COMPILED_BY_HAND, BY_HAND = "by hand, torch.compile", "by hand, plain torch"
CHUNKS = (256, 512, 1024, 2048, 4096, 8192)  # weights at a time, for those that leave it to us


def ours(
    vae: HandVAE, x: Tensor, num_particles: int, compile: Literal["auto", "on", "off"] = "auto"
) -> Evidence:
    program, rows = vae.as_program(x)
    return log_evidence(program, rows, num_particles=num_particles, compile=compile)


@torch.no_grad()
def by_hand(
    vae: HandVAE,
    x: Tensor,
    num_particles: int,
    chunk: int,
    weights: Callable[..., Tensor],
    images_at_once: int = 64,
) -> float:
    """What one would write in plain torch: encode once, decode in batches, stream the logsumexp."""
    return statistics.mean(
        _by_hand(vae, rows, num_particles, max(1, chunk // len(rows)), weights)
        for rows in x.split(images_at_once)
    )


def _by_hand(
    vae: HandVAE, x: Tensor, num_particles: int, at_once: int, weights: Callable[..., Tensor]
) -> float:
    loc, log_scale = vae.encode(x)
    total = loc.new_full((len(x),), -math.inf, dtype=torch.float64)
    for first in range(0, num_particles, at_once):
        count = min(at_once, num_particles - first)
        noise = torch.randn(count, *loc.shape, device=x.device)
        log_weights = weights(vae, x, loc, log_scale, noise)
        total = torch.logaddexp(total, log_weights.double().logsumexp(0))
    return float((total - math.log(num_particles)).mean())


def log_weights(vae: HandVAE, x: Tensor, loc: Tensor, log_scale: Tensor, noise: Tensor) -> Tensor:
    z = loc + log_scale.exp() * noise
    target = x.expand(len(z), *x.shape)
    bce = binary_cross_entropy_with_logits(vae.decode(z), target, reduction="none")
    gain = (0.5 * noise.square() - 0.5 * z.square()).sum(-1) + log_scale.sum(-1)
    return gain - bce.sum(-1)


@torch.no_grad()
def pyro_per_datum(vae: HandVAE, x: Tensor, num_particles: int) -> float:
    """Pyro weighs whole batches, so the images go one at a time."""
    (model, guide), rows = vae.as_program(x)
    evidence = 0.0
    for row in rows.split(1):
        log_weights, _, _ = vectorized_importance_weights(
            model, guide, row, num_samples=num_particles, max_plate_nesting=1, normalized=False
        )
        evidence += float(log_weights.double().logsumexp(0)) - math.log(num_particles)
    return evidence / len(x)


def pythae(vae: HandVAE, x: Tensor, num_particles: int, **options: Any) -> float:
    """`get_nll` returns the log-likelihood itself, not minus it."""
    return float(pythae_vae(vae).get_nll(x, n_samples=num_particles, **options))


def pythae_vae(vae: HandVAE) -> Any:
    """The same networks as pythae's VAE.

    :raises ImportError: pythae is not installed.
    """
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Any:
            loc, log_scale = vae.encode(x)
            return ModelOutput(embedding=loc, log_covariance=2 * log_scale)

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=vae.decode(z).sigmoid())

    config = VAEConfig(input_dim=(784,), latent_dim=50, reconstruction_loss="bce")
    return VAE(config, Encoder(), Decoder())


@torch.no_grad()
def matrix_products(vae: HandVAE, x: Tensor, num_particles: int, chunk: int) -> float:
    """The decoder's three, and nothing else; no estimate."""
    layers = [layer.weight.t() for layer in (vae.d1, vae.d2, vae.d3)]
    inputs = [torch.randn(chunk, len(weight), device=x.device) for weight in layers]
    outputs = [torch.empty(chunk, weight.shape[1], device=x.device) for weight in layers]
    for some in chunks(len(x) * num_particles, chunk):
        for rows, weight, out in zip(inputs, layers, outputs, strict=True):
            torch.mm(rows[:some], weight, out=out[:some])
    return math.nan


@torch.no_grad()
def onednn_products(vae: HandVAE, x: Tensor, num_particles: int, chunk: int) -> float:
    """The same three, as `log_evidence` has them."""
    layers = [layer.weight for layer in (vae.d1, vae.d2, vae.d3)]
    inputs = [torch.randn(chunk, weight.shape[1]) for weight in layers]
    for some in chunks(len(x) * num_particles, chunk):
        for rows, weight in zip(inputs, layers, strict=True):
            product(rows[:some], weight, None)
    return math.nan


def chunks(total: int, size: int) -> Iterator[int]:
    for first in range(0, total, size):
        yield min(size, total - first)


def contestants(vae: HandVAE, x: Tensor) -> dict[str, Estimate]:
    """By name, each as fast as it can be set."""
    torch._dynamo.config.recompile_limit = 64  # a shape for each size of chunk
    compiled = torch.compile(log_weights, dynamic=False)
    return {
        FLOOR: fastest(matrix_products, vae, x),
        ONEDNN: fastest(onednn_products, vae, x),
        OURS: lambda *args: ours(*args).mean,
        EAGER: lambda *args: ours(*args, compile="off").mean,
        BY_HAND: fastest(partial(by_hand, weights=log_weights), vae, x),
        COMPILED_BY_HAND: fastest(partial(by_hand, weights=compiled), vae, x),
    }


def peers(vae: HandVAE) -> dict[str, Estimate]:
    entries: dict[str, Estimate] = {"Pyro, one datum at a time": pyro_per_datum}
    try:
        pythae_vae(vae)
    except ImportError as error:
        print(f"pythae is missing ({error})")
    else:
        large = torch.no_grad()(partial(pythae, batch_size=1000))
        entries[PEER] = pythae
        entries["pythae, no_grad, batches of 1000"] = large
    return entries


def fastest(function: Callable[..., float], vae: HandVAE, x: Tensor) -> Estimate:
    """The function with the chunk that suits it best on this machine."""
    some = x[:128]
    takes = {
        chunk: min(seconds(partial(function, chunk=chunk), vae, some, 512)[0] for _ in range(3))
        for chunk in CHUNKS
    }
    return partial(function, chunk=min(CHUNKS, key=lambda chunk: takes[chunk]))


def seconds(estimate: Estimate, vae: HandVAE, x: Tensor, num_particles: int) -> tuple[float, float]:
    gc.collect()
    wait_for_gpu()
    started = time.perf_counter()
    value = estimate(vae, x, num_particles)
    wait_for_gpu()
    return time.perf_counter() - started, value


def check_agreement(name: str, values: list[float], truth: float, error: float) -> None:
    """Each round's estimate is within four joint standard errors; the same K has the same error."""
    for value in values:
        if not abs(value - truth) <= 4 * math.sqrt(2) * error:
            raise SystemExit(f"{name} says {value:.3f}, not {truth:.3f} ± {error:.3f}")


def compare(
    entries: dict[str, Estimate], vae: HandVAE, x: Tensor, num_particles: int, rounds: int
) -> None:
    times: dict[str, list[float]] = {name: [] for name in entries}
    values: dict[str, list[float]] = {name: [] for name in entries}
    for entry in entries.values():
        entry(vae, x, num_particles)  # whatever is done but once is not counted
    for turn in range(rounds):
        torch.manual_seed(turn)
        for name, entry in entries.items():
            taken, value = seconds(entry, vae, x, num_particles)
            times[name].append(taken)
            values[name].append(value)
    # that of units without an honest error is about as large as that of the others
    errors = ours(vae, x, num_particles, compile="off").standard_error
    error = float((errors.square().nanmean() / len(errors)).sqrt())
    truth = statistics.mean(values[OURS])
    floor, peer = times[FLOOR], times.get(PEER, ())
    print(
        f"{'':40s}{'weights per second':>26s}{'time / floor':>20s}"
        f"{'rate / pythae':>20s}{'mean log p(x)':>16s}"
    )
    for name, taken in times.items():
        rates = [len(x) * num_particles / t for t in taken]
        over_floor = [t / f for t, f in zip(taken, floor, strict=True)]
        over_peer = [p / t for t, p in zip(taken, peer, strict=False)]
        figure = "" if name in (FLOOR, ONEDNN) else f"{statistics.mean(values[name]):.2f}"
        print(
            f"{name:40s}{spread(rates, ',.0f'):>26s}{spread(over_floor, '.2f'):>20s}"
            f"{spread(over_peer, '.2f'):>20s}{figure:>16s}"
        )
    for name in times.keys() - {FLOOR, ONEDNN}:
        check_agreement(name, values[name], truth, error)
    print(f"All agree, each to four standard errors; that of one estimate is {error:.2f} nats.")


def spread(values: Sequence[float], form: str) -> str:
    """The median, and half the distance between the quartiles."""
    if len(values) < 2:
        return format(values[0], form) if values else ""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median:{form}} ± {(high - low) / 2:{form}}"


def data_and_weights(images: int) -> tuple[HandVAE, Tensor]:
    torch.manual_seed(0)
    train, test = torch.rand(12_800, 784).round(), torch.rand(images, 784).round()
    if os.environ.get("PYRO_VAE_DATA"):
        sets = load("mnist", binarize="threshold", validation=0)
        train, test = sets.train.read(torch.arange(12_800)), sets.test.read(torch.arange(images))
    vae = HandVAE(closed_form=True)
    optimizer = Adam(vae.parameters(), lr=1e-3)
    for _ in range(5):
        for batch in train.flatten(1).split(128):
            optimizer.zero_grad()
            vae.loss(batch, torch.randn(len(batch), 50)).backward()
            optimizer.step()
    return vae, test.flatten(1)


def peak_memory(num_particles: int) -> int:
    """In bytes, of a process that does nothing else: the median of three. torch's own is in it."""
    command = [sys.executable, __file__, "--peak", str(num_particles)]
    run = partial(subprocess.run, command, check=True, capture_output=True, text=True)
    return statistics.median(int(run().stdout) for _ in range(3))


def peak_of_this_process() -> int:
    """In bytes. On Linux `getrusage` would count what the parent held when it started this one."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 1024), ("num_particles", 1000), ("rounds", 7), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak:
        ours(HandVAE(closed_form=True), torch.rand(16, 784).round(), args.peak)
        print(peak_of_this_process())
        return
    vae, x = data_and_weights(args.images)
    print(
        f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}; {len(x)} images, "
        f"K = {args.num_particles}; median ± half the quartiles' distance of {args.rounds} rounds"
    )
    rows = contestants(vae, x)
    compare(rows | peers(vae), vae, x, args.num_particles, args.rounds)
    many = x.repeat(10, 1)
    print(f"The same images ten times, {len(many)}, log_evidence with compile='on':")
    compiling = rows | {OURS: lambda *args: ours(*args, compile="on").mean}
    compare(compiling, vae, many, args.num_particles, max(1, args.rounds // 2))
    few, most = peak_memory(500), peak_memory(50_000)
    print(f"Peak memory: {few / 2**20:.0f} MB at K = 500, {most / 2**20:.0f} MB at K = 50,000.")


if __name__ == "__main__":
    main()
