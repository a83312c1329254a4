"""Patience, and learning rates that change: which epochs count, and what a resumed run does."""

from functools import partial
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset

from pyro_vae import checkpoint, fit
from pyro_vae.inference.objectives import Capacity, Cyclical, Linear
from pyro_vae.inference.svi.run_storage import CHECKPOINT, read_metrics
from pyro_vae.models import FactorAnalysis

STILL = partial(SGD, lr=0.0)  # so that no epoch is better than the first


def run(epochs: int = 100, patience: int | None = 3, **options) -> list[dict]:
    torch.manual_seed(0)
    x = torch.randn(40, 3)
    options = {"optimizer": STILL, "batch_size": 10, "validation": x[:8]} | options
    model = FactorAnalysis((3,), 1)
    return fit(model, x, epochs=epochs, patience=patience, progress=False, **options).metrics


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ({}, 4),
        ({"beta": 0.5}, 4),
        ({"kl_warmup": 6}, 8),  # the sixth is the first with the whole weight
        ({"kl_warmup": 6, "beta": 2.0}, 8),
        ({"beta": Linear(0, 1, epochs=6)}, 8),
        ({"beta": Linear(4, 1, epochs=6)}, 8),
        ({"beta": Cyclical(1.0, epochs=5, rising=0.8)}, 9),  # the fourth, fifth and ninth
        ({"elbo": Capacity(capacity=Linear(0, 2, epochs=6))}, 8),
    ],
)
def test_epochs_in_which_the_weight_changes_do_not_count(options, epochs) -> None:
    assert len(run(**options)) == epochs


def test_a_warm_up_that_is_longer_than_the_run_ends_nothing() -> None:
    assert len(run(epochs=12, kl_warmup=50)) == 12


def test_a_plateau_of_the_warm_up_lowers_no_rate() -> None:
    # a rate that changes nothing either
    options = {"optimizer": partial(SGD, lr=1e-30), "patience": None}
    plateau = partial(ReduceLROnPlateau, patience=1, factor=0.5, eps=0)
    rates = [m["learning_rate"] for m in run(8, lr_schedule=plateau, **options)]
    assert rates == [1e-30] * 3 + [5e-31] * 2 + [2.5e-31] * 2 + [1.25e-31]
    rates = [m["learning_rate"] for m in run(8, lr_schedule=plateau, kl_warmup=5, **options)]
    assert rates == [1e-30] * 7 + [5e-31]


def test_another_rate_has_its_own_patience(tmp_path: Path) -> None:
    first = run(out=tmp_path)
    assert len(first) == 4
    assert len(run(out=tmp_path, resume=True)) == 4  # as it was
    assert len(run(out=tmp_path, resume=True, epochs=200)) == 4
    assert len(run(out=tmp_path, resume=True, patience=5)) == 6
    further = run(out=tmp_path, resume=True, optimizer=partial(SGD, lr=1e-30))
    assert [m["learning_rate"] for m in further] == [0.0] * 6 + [1e-30] * 3
    assert read_metrics(tmp_path / "metrics.jsonl") == further
    assert len(run(out=tmp_path, resume=True, optimizer=partial(SGD, lr=1e-30))) == 9


def test_another_rate_goes_on_from_the_optimizers_state(tmp_path: Path) -> None:
    """Two epochs at one rate and two at another are what one would have done by hand."""
    rates = []
    for folder, parts in (("a", [(2, 0.01), (4, 0.001)]), ("b", [(4, 0.01)])):
        for i, (epochs, rate) in enumerate(parts):
            metrics = run(
                epochs, None, out=tmp_path / folder, resume=i > 0, optimizer=partial(Adam, lr=rate)
            )
        rates.append([m["learning_rate"] for m in metrics])
    assert rates == [[0.01, 0.01, 0.001, 0.001], [0.01] * 4]
    a, b = (checkpoint.read(tmp_path / f / CHECKPOINT)[0] for f in "ab")
    steps = [name for name in a if name.endswith("/step")]
    assert steps
    assert all(a[name] == b[name] == 16 for name in steps)


LOADERS = {
    "in order": lambda rows: DataLoader(rows, batch_size=10),
    "shuffled": lambda rows: DataLoader(rows, batch_size=10, shuffle=True),
    "by a batch sampler": lambda rows: DataLoader(
        rows, batch_sampler=BatchSampler(SequentialSampler(rows), 10, drop_last=True)
    ),
}


@pytest.mark.parametrize("loader", LOADERS)
def test_a_loaders_batch_size_counts(loader, tmp_path: Path) -> None:
    rows = LOADERS[loader](TensorDataset(torch.randn(64, 3)))
    for batch_size, expected in ((None, 10), (16, 16)):
        folder = tmp_path / str(batch_size)
        fit(FactorAnalysis((3,), 1), rows, epochs=1, batch_size=batch_size, out=folder)
        assert checkpoint.read(folder / CHECKPOINT)[1]["rows"][1] == expected


@pytest.mark.slow
@pytest.mark.parametrize("far", [True, False])
def test_a_fit_that_ends_on_the_way_says_so(far: bool) -> None:
    """5,000 steps of 0.001 move a location by 5 at most: to 3, and not to 30."""
    x = torch.full((20,), 30.0 if far else 3.0)

    class Mean(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loc = torch.nn.Parameter(torch.tensor(0.0))

        def model(self, x: torch.Tensor) -> None:
            mean = pyro.sample("mean", dist.Normal(0.0, 100.0))
            with pyro.plate("rows", len(x)):
                pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

        def guide(self, x: torch.Tensor) -> None:
            pyro.sample("mean", dist.Normal(self.loc, 20**-0.5))

    mean = Mean()
    slowly = partial(Adam, lr=1e-3)
    result = fit(mean, x, optimizer=slowly, progress=False, device="cpu")
    assert ("the ELBO was still rising at the end" in result.verdict) == far
    assert ("the ELBO had levelled off" in result.verdict) != far
    assert (abs(mean.loc.item() - x[0].item()) > 1) == far
