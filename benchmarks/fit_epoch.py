"""What an epoch of `fit` costs, beside the sum of its steps and the epochs of peers.

The networks of `svi_step.py`, random binary images held in memory, batches of 128 in a new random
order every epoch. All run in turns, some epochs each, of which the first is not counted; a figure is
the median over rounds of the median epoch, with the quartiles of its ratio to the compiled `fit`.
Start-up is reported apart. Peers that are not installed are named.

    pip install numpyro pythae
    OMP_NUM_THREADS=2 python benchmarks/fit_epoch.py [--batches 100] [--rounds 7]
"""

import argparse
import logging
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pyro
import torch
from svi_step import (
    LATENT_DIM,
    NETWORKS,
    SHAPE,
    ByHand,
    our_step,
    spread,
    story,
    wait_for_gpu,
)
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pyro_vae import fit
from pyro_vae.program.generators import torch_rng_state

BATCH, EPOCHS = 128, 4
Epochs = Callable[[], list[float]]  # runs some epochs; seconds of each but the first


class Clock(LambdaLR):
    """A schedule that changes nothing and notes the time, once an epoch."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.marks: list[float] = []
        super().__init__(optimizer, lambda _: 1.0)

    def step(self, *_: Any) -> None:
        self.marks.append(time.perf_counter())
        super().step()

    def seconds(self) -> list[float]:
        """Of each epoch but the first."""
        marks = self.marks[1:]  # torch takes a step of its own when a schedule is made
        return [b - a for a, b in pairwise(marks)]


def ours(network: str, x: Tensor, compile: str) -> Epochs:
    def epochs() -> list[float]:
        clocks: list[Clock] = []

        def schedule(optimizer: Optimizer) -> Clock:
            clocks.append(Clock(optimizer))
            return clocks[0]

        started = time.perf_counter()
        result = fit(
            story(network), x, epochs=EPOCHS, batch_size=BATCH, optimizer=partial(Adam, lr=1e-3),
            lr_schedule=schedule, compile=compile, device=x.device, progress=False,
        )  # fmt: skip
        seconds = clocks[0].seconds()
        if result.notes:
            start = time.perf_counter() - started - sum(seconds) - statistics.median(seconds)
            print(f"  start-up of fit: {start:.1f} s; {'; '.join(result.notes)}")
        return seconds

    return epochs


def sum_of_steps(network: str, x: Tensor, same_batch: bool) -> Epochs:
    """Without order, gathering, sums and all else that an epoch is; on batches as they lie in memory, or
    on one alone, which stays in the caches."""
    step = our_step(network, x[:BATCH], compiled=True)
    batches = [x[:BATCH] if same_batch else batch for batch in x.split(BATCH)]

    def epoch() -> None:
        for batch in batches:
            step((batch,), before=torch_rng_state() if batch.is_cpu else None)

    def epochs() -> list[float]:
        with pyro.validation_enabled(False):
            return timed(epoch)

    return epochs


def by_hand(network: str, x: Tensor) -> Epochs:
    vae = ByHand(network).to(x.device)
    optimizer = Adam(vae.parameters(), lr=1e-3, fused=True)
    loss = torch.compile(vae, dynamic=False)

    def epoch() -> None:
        for index in torch.randperm(len(x), device=x.device).split(BATCH):
            optimizer.zero_grad()
            loss(x[index], torch.randn(len(index), LATENT_DIM, device=x.device)).backward()
            optimizer.step()

    return partial(timed, epoch)


def numpyros(network: str, x: Tensor) -> Epochs:
    import jax
    import numpyro_vae

    epoch, start = numpyro_vae.scanned_epoch(network, x.numpy(), BATCH)
    state, key = [start], jax.random.PRNGKey(1)

    def one() -> None:
        state[0], losses = epoch(state[0], key)
        jax.block_until_ready(losses)

    return partial(timed, one)


def pythaes(network: str, x: Tensor) -> Epochs:
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    make_encoder, make_decoder = NETWORKS[network]

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net: nn.Module = make_encoder(SHAPE, (2, LATENT_DIM))

        def forward(self, x: Tensor) -> Any:
            loc, log_scale = self.net(x).unbind(1)
            return ModelOutput(embedding=loc, log_covariance=2 * log_scale)

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net: nn.Module = make_decoder((LATENT_DIM,), SHAPE)

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.net(z).sigmoid())

    logging.disable(logging.WARNING)
    config = VAEConfig(input_dim=SHAPE, latent_dim=LATENT_DIM, reconstruction_loss="bce")
    training = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=BATCH, learning_rate=1e-3
    )
    trainer = BaseTrainer(
        VAE(config, Encoder(), Decoder()), BaseDataset(x, torch.zeros(len(x))), None, training
    )
    trainer.prepare_training()
    trainer.callback_handler.callbacks = []  # no bars
    return partial(timed, partial(trainer.train_step, 1))


def timed(epoch: Callable[[], Any]) -> list[float]:
    seconds = []
    for _ in range(EPOCHS):
        wait_for_gpu()
        started = time.perf_counter()
        epoch()
        wait_for_gpu()
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


CONTESTANTS: dict[str, Callable[[str, Tensor], Epochs]] = {
    "fit, compiled": partial(ours, compile="on"),
    "its steps alone": partial(sum_of_steps, same_batch=False),
    "its steps, on one batch": partial(sum_of_steps, same_batch=True),
    "fit, step by step": partial(ours, compile="off"),
    "NumPyro, scanned epoch": numpyros,
    "torch by hand, compiled": by_hand,
    "pythae, trainer": pythaes,
}


def compare(network: str, num_batches: int, rounds: int) -> None:
    print(f"\n{network}, {num_batches} batches of {BATCH}")
    x = (torch.rand(num_batches * BATCH, *SHAPE) > 0.8).float()
    runs: dict[str, Epochs] = {}
    for name, make in CONTESTANTS.items():
        torch.manual_seed(0)
        try:
            runs[name] = make(network, x)
        except ImportError as error:
            print(f"  {name}: {error.name} is not installed")
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, epochs in runs.items():
            times[name].append(statistics.median(epochs()))
    base = next(iter(runs))
    print(f"  {'':26s}{'s an epoch':>12s}   times {base}")
    for name, taken in times.items():
        ratios = [a / b for a, b in zip(taken, times[base], strict=True)]
        print(f"  {name:26s}{statistics.median(taken):12.4f}   {spread(ratios)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--network", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"Pyro {pyro.__version__}; medians of {args.rounds} rounds, quartiles in brackets"
    )
    for network in args.network:
        compare(network, args.batches, args.rounds)


if __name__ == "__main__":
    main()
