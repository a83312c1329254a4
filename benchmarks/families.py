"""What does another objective, prior or layer gain on MNIST, with the same networks and epochs?

784-200-200-50 with softplus, binarised anew at every pass, Adam with a cosine schedule, batch 128. Each
family is one swap against the first row. Figures are importance-sampled log p(x) of test images under
one fixed binarisation, the mean over the seeds. What is gained on the first row is taken seed by seed and
image by image, so that its error is that of the difference: seeds, images and Monte Carlo together. As
importance sampling falls short where k > 0.7, the gain is also had from annealing, of the first few images.
Published figures are of other networks, schedules and binarisations, and stand there for orientation.

    python benchmarks/families.py [--epochs 20] [--images 1000] [--num_particles 5000]
                                  [--seeds 0 1 2] [--annealed 100]
    python benchmarks/families.py --epochs 1000 --images 10000   # a GPU's night
"""

import argparse
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyro_vae import fit, load, log_evidence
from pyro_vae.data import DataSet
from pyro_vae.flows import Coupling
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.inference.objectives import IWAE, DReG, TraceELBO
from pyro_vae.models import VAE, HierarchicalVAE
from pyro_vae.networks import MLP
from pyro_vae.priors import FlowPrior, VampPrior

NETWORK = partial(MLP, hidden_dims=(200, 200), activation=nn.Softplus)
PARTS: dict[str, Any] = {"encoder": NETWORK, "decoder": NETWORK}
SHAPE, LATENT_DIM, STARTING_ROWS = (1, 28, 28), 50, 5000


@dataclass(frozen=True)
class Family:
    """``published`` is minus log p(x) on MNIST, in nats, as its source gives it."""

    name: str
    make: Callable[[], nn.Module]
    elbo: Callable[[], Any] = TraceELBO
    published: str = ""


FAMILIES = [
    Family("VAE, ELBO", partial(VAE, SHAPE, LATENT_DIM, **PARTS), published="86.76 [1], 89.78 [2]"),
    Family("IWAE, K = 5", partial(VAE, SHAPE, LATENT_DIM, **PARTS), partial(IWAE, 5), "85.54 [1]"),
    Family("DReG, K = 5", partial(VAE, SHAPE, LATENT_DIM, **PARTS), partial(DReG, 5)),
    Family(
        "VampPrior, 500 components",
        partial(VAE, SHAPE, LATENT_DIM, prior=partial(VampPrior, num_components=500), **PARTS),
        published="85.79 [2]",
    ),
    Family(
        "flow prior (4 couplings)",
        partial(VAE, SHAPE, LATENT_DIM, prior=partial(FlowPrior, flow=Coupling), **PARTS),
    ),
    Family(
        "two layers of latents",
        partial(HierarchicalVAE, SHAPE, (LATENT_DIM, 20), between=NETWORK, **PARTS),
        published="85.33 [1]",
    ),
]
SOURCES = """\
[1] Y. Burda, R. Grosse, R. Salakhutdinov, 2015, https://arxiv.org/abs/1509.00519, table 1: two
    deterministic layers of 200, k = 1 and 5; two stochastic layers, k = 1
[2] what pythae reaches with the settings of the papers, as its model cards say: K = 200 and 5,000;
    C. Chadebec, L. Vincent, S. Allassonniere, 2022, https://arxiv.org/abs/2206.08309"""


def trained(family: Family, data: DataSet, epochs: int, seed: int) -> tuple[nn.Module, float]:
    torch.manual_seed(seed)
    model = family.make()
    prior = getattr(model, "prior", None)
    if isinstance(prior, VampPrior):
        prior.start_from(data.train.read(torch.arange(STARTING_ROWS)))
    result = fit(
        model,
        data.train,
        epochs=epochs,
        elbo=family.elbo(),
        optimizer=partial(Adam, lr=1e-3),
        lr_schedule=partial(CosineAnnealingLR, T_max=epochs),
        seed=seed,
    )
    return model, result.seconds


def gained(evidences: Sequence[Evidence], base: Sequence[Evidence]) -> str:
    """Nats over another family, and the error of that; the images' spread holds that of the draws, too."""
    pairs = list(zip(evidences, base, strict=True))
    by_seed = torch.stack([e.log_evidence - b.log_evidence for e, b in pairs])
    of_images = float(by_seed.mean(0).var()) / by_seed.shape[1]
    of_seeds = float(by_seed.mean(1).var()) / len(pairs) if len(pairs) > 1 else 0.0
    error = (of_images + of_seeds) ** 0.5
    return f"{float(by_seed.mean()):+.2f} ± {error:.2f}"


def test_images(data: DataSet, count: int) -> Tensor:
    some = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))
    return data.test.read(some[:count])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    defaults = {"epochs": 20, "images": 1000, "num_particles": 5000, "annealed": 100}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=[], help="parts of the names of the families")
    args = parser.parse_args()
    data = load("mnist", binarize="stochastic", validation=0)
    x = test_images(data, args.images)
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}; "
        f"{args.epochs} epochs, seeds {args.seeds}, K = {args.num_particles}, {len(x)} test images"
    )
    print(
        f"{'':28s}{'-log p(x), nats':>22s}{'k > 0.7':>10s}{'gained':>16s}{'by annealing':>16s}"
        f"{'training, s':>13s}  published"
    )
    base: list[list[Evidence]] = []  # of the first row, by importance sampling and by annealing
    for family in FAMILIES:
        if args.only and not any(part in family.name for part in args.only):
            continue
        weighed, annealed, times = [], [], []
        for seed in args.seeds:
            model, seconds = trained(family, data, args.epochs, seed)
            weighed.append(log_evidence(model, x, num_particles=args.num_particles, seed=seed))
            annealed.append(log_evidence(model, x[: args.annealed], method="ais", seed=seed))
            times.append(seconds)
        values = torch.stack([e.log_evidence for e in weighed]).mean(0)
        bad = torch.stack([e.pareto_k > 0.7 for e in weighed]).double().mean()
        figure = f"{-float(values.mean()):.2f} ± {float(values.std()) / len(x) ** 0.5:.2f}"
        each = [weighed, annealed]
        more = [gained(*pair) for pair in zip(each, base, strict=True)] if base else ["", ""]
        base = base or each
        print(
            f"{family.name:28s}{figure:>22s}{float(bad):>10.0%}{more[0]:>16s}{more[1]:>16s}"
            f"{mean(times):>13.0f}  {family.published}",
            flush=True,
        )
    print(SOURCES)


if __name__ == "__main__":
    main()
