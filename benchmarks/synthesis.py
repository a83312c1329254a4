"""Made-up rows of tables, beside TVAE and CTGAN: marginals, utility, copies; and digits with few labels.

    python benchmarks/synthesis.py [--sets adult breast_cancer wine mnist digits] [--rows 30000]

Each table is fitted by what `pyro-vae fit --data TABLE` takes by default, and rows are drawn. A line has
 the largest total variation of a categorical column, the farthest ratio of the share of a category above
1 %, F1 and accuracy on held-out rows after made-up and after real rows (gradient boosting; logistic
regression), the AUROC of membership, and seconds of one core. `adult` and `mnist` need PYRO_VAE_DATA. TVAE
and CTGAN run beside it where the package `ctgan` is installed (BUSL-1.1; `--peer_seconds` ends their
training). `digits`: accuracy of logistic regression with few labels a class, with augmentation of several
kinds, less that without, over seeds, as paired 95 % intervals.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyro_vae import fit, load, open_run, synthesis_report, synthesize
from pyro_vae.cli import main as command
from pyro_vae.data import DataSet
from pyro_vae.inference import SynthesisReport
from pyro_vae.models import Table

BARS = {
    "adult": "TV <= 0.02; ratio within 0.8 to 1.2; F1 >= 0.626 (published TVAE), ratio >= 0.95",
    "mnist": "accuracy >= 0.794 (published TVAE)",
}
HEAD = (
    f"{'table':<14}{'rows by':<9}{'TV':>6}{'ratio':>7}{'F1 boosting':>19}{'F1 logistic':>19}"
    f"{'membership':>15}{'s':>7}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = ["adult", "breast_cancer", "wine", "mnist", "digits"]
    parser.add_argument("--sets", nargs="+", choices=every, default=every)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--peer_seconds", type=float, default=300.0)
    parser.add_argument("--few", type=int, nargs="+", default=[10, 20, 50], help="labels a class")
    parser.add_argument("--repeats", type=int, default=10, help="seeds of the digits")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(HEAD, flush=True)
    for name in options.sets:
        if name == "mnist":
            print(f"mnist as a table: {mnist()}", flush=True)
        elif name == "digits":
            print(digits(options.repeats, options.few), flush=True)
        else:
            tables(name, options.rows, options.peer_seconds)
        if name in BARS:
            print(f"{'':<14}bars: {BARS[name]}", flush=True)


# --- tables -----------------------------------------------------------------------------------


def tables(name: str, rows: int, peer_seconds: float) -> None:
    """Print a line for each maker of rows."""
    data, rows = load(name), rows if name == "adult" else 2_000
    for maker, make in makers(name, data, peer_seconds):
        start = time.process_time()
        made = make(rows)
        seconds = time.process_time() - start
        print(line(name, maker, synthesis_report(made, data), seconds), flush=True)


def makers(
    name: str, data: DataSet, seconds: float
) -> Iterator[tuple[str, Callable[[int], Tensor]]]:
    yield "Table", lambda rows: ours(name, rows)
    try:
        import ctgan
    except ImportError:
        return
    for peer in (ctgan.TVAE, ctgan.CTGAN):
        yield peer.__name__, lambda rows, peer=peer: of_peer(peer, data, rows, seconds)


def ours(name: str, rows: int) -> Tensor:
    """Return rows of the command line's default."""
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        if command(["fit", "--data", name, "--out", run]):
            raise SystemExit(f"the fit of {name} failed")
        program, data = open_run(run)
        return synthesize(program, data, rows, seed=0).x


def of_peer(peer: Any, data: DataSet, rows: int, seconds: float) -> Tensor:
    """Return rows of a peer, whose training of 300 epochs ends after so many seconds of one core."""
    import pandas as pd

    columns = data.train.columns or ()
    x = data.train.x.double().numpy()
    frame = pd.DataFrame({c.name: x[:, j] for j, c in enumerate(columns)})
    discrete = [c.name for c in columns if c.categories]
    for name in discrete:  # a gap is a category of its own
        frame[name] = frame[name].fillna(-1).astype(int)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    times = [_seconds(lambda n=n: peer(epochs=n).fit(frame, discrete)) for n in (1, 6)]
    each = max(1e-3, (times[1] - times[0]) / 5)  # without the preparation
    stop = min(300, max(2, int(seconds / each)))
    if stop < 300:
        print(f"{'':<14}{peer.__name__}: {stop} of 300 epochs, {each:.2f} s each", flush=True)
    model = peer(epochs=stop)
    model.fit(frame, discrete)
    made = model.sample(rows)[list(frame)].astype(float)
    made[discrete] = made[discrete].where(made[discrete] >= 0)
    return torch.from_numpy(made.to_numpy().copy())


def _seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def line(name: str, maker: str, report: SynthesisReport, seconds: float) -> str:
    of_categories = [d for d in report.distances if d.measure == "TV"]
    variation = max(d.distance for d in of_categories)
    ratios = [d.worst_ratio for d in of_categories if d.worst_ratio is not None]
    farthest = max(ratios, key=lambda r: abs(r - 1))
    cells = "".join(f"{u.made:>7.3f}/{u.real:.3f}={u.ratio:.3f}" for u in report.utilities)
    c = report.copies
    member = f"{c.membership:.3f}±{c.membership_error:.3f}"
    return (
        f"{name:<14}{maker:<9}{variation:>6.3f}{farthest:>7.2f}{cells}{member:>15}{seconds:>7.0f}"
    )


# --- images -----------------------------------------------------------------------------------


def mnist(rows: int = 10_000) -> str:
    """Return the accuracy on MNIST's test images, binarised, after as many made-up as real rows.

    The table has 144 columns of 0 and 1, the images at 12 x 12 as in the paper of CTGAN (MNIST12), and
    the digit as its first column.
    """
    from sklearn.linear_model import LogisticRegression

    data = load("mnist")
    sets = [_as_table(split, rows) for split in (data.train, data.test)]
    table = Table((145,), [10] + [2] * 144)
    start = time.process_time()
    rate = partial(CosineAnnealingLR, T_max=10)
    fit(
        table,
        sets[0],
        epochs=10,
        optimizer=partial(Adam, lr=3e-3),
        lr_schedule=rate,
        progress=False,
    )
    with torch.no_grad():
        made = table.eval().data_distribution(rows).sample()
    accuracies = []
    for train in (made, sets[0]):
        model = LogisticRegression(max_iter=300).fit(train[:, 1:], train[:, 0])
        accuracies.append(model.score(sets[1][:, 1:], sets[1][:, 0]))
    return (
        f"accuracy {accuracies[0]:.3f} after {rows:,} made-up rows, {accuracies[1]:.3f} after real ones; "
        f"{time.process_time() - start:.0f} s"
    )


def _as_table(split: Any, rows: int) -> Tensor:
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:rows]
    small = torch.nn.functional.adaptive_avg_pool2d(split.read(order), 12).flatten(1)
    return torch.cat([split.labels[order, None].float(), (small > 0.4).float()], 1)


def digits(repeats: int, few: list[int]) -> str:
    """Return what augmentation gains in accuracy over none, with few labels a class."""
    data = load("digits")
    test, truth = data.test.read().flatten(1).numpy(), np.asarray(data.test.labels)
    lines = [
        f"digits: gain in accuracy over no augmentation, {repeats} seeds, paired 95 % intervals"
    ]
    for count in few:
        found = [_gains(data, count, seed, test, truth) for seed in range(repeats)]
        base = np.mean([each.pop("none") for each in found])
        cells = []
        for name in found[0]:
            gains = np.array([each[name] for each in found])
            half = _t(repeats) * gains.std(ddof=1) / repeats**0.5
            said = "gains nothing" if abs(gains.mean()) <= half else ""
            cells.append(f"{name} {gains.mean():+.3f} ± {half:.3f} {said}".rstrip())
        lines.append(f"{count:>4} a class, none {base:.3f}: " + "; ".join(cells))
    return "\n".join(lines)


def _t(repeats: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.975, repeats - 1))


def _gains(data: DataSet, count: int, seed: int, test: Any, truth: Any) -> dict[str, float]:
    """Return the accuracy without augmentation, and what each kind adds; ten times the rows are made."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    labels = np.asarray(data.train.labels)
    index = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == k))[:count] for k in range(10)]
    )
    x, y = data.train.read(torch.from_numpy(index)).flatten(1).numpy(), labels[index]

    def accuracy(more: tuple[Any, Any] | None) -> float:
        if more is None:
            return float(LogisticRegression(max_iter=500).fit(x, y).score(test, truth))
        both = np.concatenate([x, more[0]]), np.concatenate([y, more[1]])
        return float(LogisticRegression(max_iter=500).fit(*both).score(test, truth))

    none = accuracy(None)
    of_model = {
        "Table": _by_table(x, y, seed),
        "noise": _noise(x, y, rng),
        "SMOTE": _smote(x, y, rng),
    }
    return {"none": none} | {name: accuracy(more) - none for name, more in of_model.items()}


def _by_table(x: Any, y: Any, seed: int) -> tuple[Any, Any]:
    """Return draws of a Table of 64 pixels that was fitted to the few rows alone."""
    rows = torch.tensor(np.concatenate([y[:, None], x * 16], 1)).float()
    table = Table((65,), [10] + [0] * 64, dropout=0.2)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    held_out = len(rows) // 5
    fit(
        table, rows[order[held_out:]], validation=rows[order[:held_out]],
        epochs=80, patience=15, batch_size=32, seed=seed, progress=False, compile="off",
    )  # fmt: skip
    torch.manual_seed(seed)
    with torch.no_grad():
        made = table.eval().data_distribution(10 * len(rows)).sample().numpy()
    return made[:, 1:].clip(0, 16) / 16, made[:, 0].astype(int)


def _noise(x: Any, y: Any, rng: Any) -> tuple[Any, Any]:
    more = np.repeat(x, 10, 0)
    return (more + 0.1 * rng.normal(size=more.shape)).clip(0, 1), np.repeat(y, 10)


def _smote(x: Any, y: Any, rng: Any) -> tuple[Any, Any]:
    """Return rows between a row and one of its five nearest of the class (N. V. Chawla et al., 2002)."""
    from sklearn.neighbors import NearestNeighbors

    parts = []
    for k in range(10):
        own = x[y == k]
        near = (
            NearestNeighbors(n_neighbors=6).fit(own).kneighbors(own, return_distance=False)[:, 1:]
        )
        first = np.repeat(np.arange(len(own)), 10)
        second = near[first, rng.integers(0, 5, len(first))]
        parts.append(own[first] + rng.random((len(first), 1)) * (own[second] - own[first]))
    return np.concatenate(parts), np.repeat(np.arange(10), [10 * (y == k).sum() for k in range(10)])


if __name__ == "__main__":
    main()
