"""Does `fit` reach what a loop written by hand reaches, and in what time?

MNIST from PYRO_VAE_DATA, binarised anew on every pass; 784-200-200-50, softplus, Adam 1e-3, batch
128. Each is trained once from every seed, with either estimator of the KL term: from the draw
(Pyro's Trace_ELBO) and in closed form (TraceMeanField_ELBO). The test log-likelihood is by
importance sampling, of one fixed binarisation.

    python benchmarks/mnist.py [--epochs 30] [--seeds 3] [--num_particles 1000] [--images 10000]
"""

import argparse
import platform
import statistics
import time
from functools import partial

import torch
from by_hand import HandVAE
from pyro.infer import TraceMeanField_ELBO
from torch import nn
from torch.optim import Adam

from pyro_vae import fit, load, log_evidence
from pyro_vae.data import DataSet
from pyro_vae.inference.objectives import TraceELBO
from pyro_vae.models import VAE
from pyro_vae.networks import MLP

NETWORK = partial(MLP, hidden_dims=(200, 200), activation=nn.Softplus)


def ours(data: DataSet, closed_form: bool, epochs: int, seed: int) -> tuple[VAE, float]:
    torch.manual_seed(seed)
    vae = VAE(data.event_shape, 50, encoder=NETWORK, decoder=NETWORK)
    elbo = TraceMeanField_ELBO() if closed_form else TraceELBO()
    result = fit(vae, data.train, epochs=epochs, batch_size=128, elbo=elbo, seed=seed)
    return vae, result.seconds


def by_hand(data: DataSet, closed_form: bool, epochs: int, seed: int) -> tuple[HandVAE, float]:
    """The compiled loop; compiling is not counted."""
    torch.manual_seed(seed)
    vae, grey = HandVAE(closed_form), data.train.x.flatten(1).float() / 255
    optimizer = Adam(vae.parameters(), lr=1e-3, fused=True)
    loss = torch.compile(vae.loss, dynamic=False)
    for size in (128, len(grey) % 128):
        loss(grey[:size], torch.randn(size, 50)).backward()
    started = time.perf_counter()
    for _ in range(epochs):
        for index in torch.randperm(len(grey)).split(128):
            x = torch.bernoulli(grey[index])
            optimizer.zero_grad()
            loss(x, torch.randn(len(x), 50)).backward()
            optimizer.step()
    return vae, time.perf_counter() - started


def mean_and_error(values: list[float]) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):9.2f} ± {error:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("epochs", 30),
        ("seeds", 3),
        ("num_particles", 1000),
        ("images", 10_000),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    data = load("mnist", binarize="stochastic", validation=0)
    some = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))
    test = data.test.read(some[: args.images])
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}; "
        f"{args.epochs} epochs, {args.seeds} seeds, K = {args.num_particles}, {len(test)} test images"
    )
    print(f"{'':36s}{'log-likelihood (nats)':>24s}{'training (s)':>20s}")
    for closed_form in (False, True):
        for train in (ours, by_hand):
            figures, times = [], []
            for seed in range(args.seeds):
                vae, seconds = train(data, closed_form, args.epochs, seed)
                program, x = vae.as_program(test) if isinstance(vae, HandVAE) else (vae, test)
                evidence = log_evidence(program, x, num_particles=args.num_particles, seed=0)
                figures.append(evidence.mean)
                times.append(seconds)
            name = "pyro_vae" if train is ours else "by hand, torch.compile"
            kl = "closed form" if closed_form else "from the draw"
            print(
                f"{name:24s}{kl:14s}{mean_and_error(figures):>22s}{mean_and_error(times):>20s}",
                flush=True,
            )


if __name__ == "__main__":
    main()
