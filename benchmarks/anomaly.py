"""Anomaly detection: how well scores of programs find anomalies, beside published figures.

    python benchmarks/anomaly.py FOLDER [--tables wine glass] [--draws 3] [--vae] [--peers]
    python benchmarks/anomaly.py --mnist [--epochs 20] [--images 500]      # one digit a class
    python benchmarks/anomaly.py --fashion [--epochs 20] [--images 500]    # Fashion-MNIST -> MNIST

FOLDER holds tables `NAME.npz` with `X` (rows, columns) and `y` (1 = anomaly), and perhaps
`published_auroc.json`; by default it is `$PYRO_VAE_DATA/Anomaly`. Each table is a row, with the AUROC in
percent. The first half of the normal rows, in the file's order, trains; the rest and all anomalies test:
the "plain" split.

The published figures (Livernoche et al., "On diffusion modeling for anomaly detection", 2023) are of
another split where a table has less than 1,000 rows: 1,000 rows were drawn from it with replacement, and
*then* split, so most normal test rows have copies among the training rows, and anomalies have none. k
nearest neighbours show that: on this split they give the published figures. The columns "as published" are
of that split, the mean over several draws.

One setting holds for all tables. Of more than 5,000 training rows, normal test rows or anomalies, 5,000 are
taken at random.

recipe: ExemplarDensity on all training rows, scored by its evidence. default: AnomalyDetector().
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomaly_images import digits, fashion
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from pyro_vae import fit, score
from pyro_vae.likelihoods import Normal
from pyro_vae.models import VAE, ExemplarDensity
from pyro_vae.sklearn import EXEMPLAR_FIT, AnomalyDetector

Array = NDArray[Any]
Detector = Callable[[Array, Array], Array]  # training rows, test rows -> scores, larger is stranger
MOST, DRAWN, SEED = 5_000, 1_000, 0


def recipe(train: Array, test: Array) -> Array:
    """The evidence of exemplars: all training rows, with a width fitted by leave-one-out."""
    x = torch.as_tensor(train, dtype=torch.float32)
    torch.manual_seed(SEED)
    model = ExemplarDensity(x.shape[1:], num_exemplars=len(x))
    fit(model, x, progress=False, seed=SEED, **EXEMPLAR_FIT)
    return surprise(model, test)


def default(train: Array, test: Array) -> Array:
    """What one gets who chooses nothing."""
    return -AnomalyDetector().fit(train).score_samples(test)


def plain_vae(train: Array, test: Array) -> Array:
    """A VAE with the defaults of its class and of fit, but for a Normal likelihood and 2,000 steps."""
    x = torch.as_tensor(train, dtype=torch.float32)
    torch.manual_seed(SEED)
    model = VAE(x.shape[1:], min(16, max(1, x.shape[1] // 2)), likelihood=Normal)
    fit(model, x, steps=2000, progress=False, seed=SEED)
    return surprise(model, test, num_particles=50)


def surprise(program: Any, test: Array, **options: Any) -> Array:
    rows = torch.as_tensor(test, dtype=torch.float32)
    scores: Array = score(program, rows, shares=False, progress=False, **options).scores.numpy()
    return scores


def neighbours(train: Array, test: Array) -> Array:
    """The distance to the fifth neighbour, each column standardised: a check of the split."""
    location, scale = train.mean(0), train.std(0)
    scale[scale == 0] = 1
    found = NearestNeighbors(n_neighbors=5).fit((train - location) / scale)
    distances: Array = found.kneighbors((test - location) / scale)[0][:, -1]
    return distances


def peers() -> dict[str, Detector]:
    """PyOD's detectors, where it is installed."""
    # numba asks for the package `coverage`, and would find the benchmark of that name beside this file
    sys.path = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).parent]
    from pyod.models.ecod import ECOD
    from pyod.models.iforest import IForest
    from pyod.models.knn import KNN
    from pyod.models.vae import VAE as PyodVAE

    def by(make: Callable[[], Any]) -> Detector:
        def detect(train: Array, test: Array) -> Array:
            location, scale = train.mean(0), train.std(0)
            scale[scale == 0] = 1
            model = make().fit((train - location) / scale)
            scores: Array = model.decision_function((test - location) / scale)
            return scores

        return detect

    vae = partial(PyodVAE, random_state=SEED, verbose=0)
    forest = partial(IForest, random_state=SEED)
    return {"PyOD VAE": by(vae), "PyOD IForest": by(forest), "PyOD kNN": by(KNN), "ECOD": by(ECOD)}


# --- tables ----------------------------------------------------------------------------------

Split = tuple[Array, Array, Array]  # training rows, test rows, whether these are anomalies


def one_class(X: Array, y: Array, generator: np.random.Generator) -> Split:
    """Return the one-class split of a table: the first half of its normal rows trains."""

    def some(rows: Array) -> Array:
        if len(rows) <= MOST:
            return rows
        return rows[np.sort(generator.choice(len(rows), MOST, replace=False))]

    normal, strange = X[y == 0], some(X[y == 1])
    half = len(normal) // 2
    train, rest = some(normal[:half]), some(normal[half:])
    is_strange = np.r_[np.zeros(len(rest)), np.ones(len(strange))]
    return train, np.r_[rest, strange], is_strange


def splits(X: Array, y: Array, draws: int) -> Iterator[tuple[str, Split]]:
    """Yield the plain split, and those that the published figures are of."""
    yield "plain", one_class(X, y, np.random.default_rng(SEED))
    if len(X) >= DRAWN:
        return
    for seed in range(draws):
        generator = np.random.default_rng(seed)
        number = generator.choice(len(X), DRAWN)
        yield "as published", one_class(X[number], y[number], generator)


def on_tables(folder: Path, names: list[str], detectors: dict[str, Detector], draws: int) -> None:
    published = folder / "published_auroc.json"
    known = json.loads(published.read_text())["one_class"] if published.exists() else {}
    files = sorted(path for path in folder.glob("*.npz") if not names or path.stem in names)
    heads = ["table", "rows", *(f"{n} {k}" for k in ("plain", "published") for n in detectors)]
    print("  ".join([f"{heads[0]:14}", f"{heads[1]:>7}", *(f"{h:>17}" for h in heads[2:])]))
    means: dict[tuple[str, str], list[float]] = {}
    ranks, seconds = [], dict.fromkeys(detectors, 0.0)
    for path in files:
        with np.load(path) as arrays:
            X, y = arrays["X"].astype(float), arrays["y"].astype(int)
        found: dict[tuple[str, str], list[float]] = {}
        for kind, (train, test, is_strange) in splits(X, y, draws):
            for name, detector in detectors.items():
                began = time.process_time()
                found_scores = detector(train, test).astype(float)
                scores = np.nan_to_num(found_scores, nan=1e300, posinf=1e300)
                seconds[name] += time.process_time() - began
                found.setdefault((kind, name), []).append(100 * roc_auc_score(is_strange, scores))
        for name in detectors:
            found.setdefault(("as published", name), found["plain", name])
        row = {key: float(np.mean(values)) for key, values in found.items()}
        for key, value in row.items():
            means.setdefault(key, []).append(value)
        order = [(kind, name) for kind in ("plain", "as published") for name in detectors]
        cells = [f"{row[key]:17.2f}" for key in order]
        rank = ""
        if path.stem in known:
            others = list(known[path.stem].values())
            ranks.append(1 + sum(other > row["as published", "recipe"] for other in others))
            rank = f"  kNN {known[path.stem]['KNN']:.2f}, rank {ranks[-1]} of {len(others) + 1}"
        print("  ".join([f"{path.stem:14}", f"{len(X):7,}", *cells]) + rank, flush=True)
    print_means(means, detectors, known, [path.stem for path in files])
    if ranks:
        print(f"mean rank of the recipe among the published detectors: {np.mean(ranks):.1f}")
    print("CPU seconds: " + ", ".join(f"{n} {s:.0f}" for n, s in seconds.items()))
    for name in ("recipe", "default"):
        plain, as_published = (np.mean(means[k, name]) for k in ("plain", "as published"))
        print(f"mean AUROC {name}: {as_published:.2f} (plain split: {plain:.2f})")


def print_means(
    means: dict[tuple[str, str], list[float]],
    detectors: dict[str, Detector],
    known: dict[str, dict[str, float]],
    names: list[str],
) -> None:
    for kind in ("plain", "as published"):
        figures = ", ".join(f"{name} {np.mean(means[kind, name]):.2f}" for name in detectors)
        print(f"means over {len(names)} tables, {kind} split: {figures}")
    if known and all(name in known for name in names):
        others = {n: float(np.mean([known[t][n] for t in names])) for n in known[names[0]]}
        best = sorted(others.items(), key=lambda item: -item[1])[:6]
        print("published: " + ", ".join(f"{name} {mean:.2f}" for name, mean in best))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default_folder = Path(os.environ.get("PYRO_VAE_DATA", "."), "Anomaly")
    parser.add_argument("folder", type=Path, nargs="?", default=default_folder)
    parser.add_argument("--tables", nargs="+", default=[])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--vae", action="store_true", help="a plain VAE, too")
    parser.add_argument("--peers", action="store_true", help="PyOD's detectors, too")
    parser.add_argument("--mnist", action="store_true", help="one digit of MNIST a class")
    parser.add_argument("--fashion", action="store_true", help="Fashion-MNIST against MNIST")
    parser.add_argument("--epochs", type=int, default=20, help="of the fits to images")
    parser.add_argument("--images", type=int, default=500, help="of each kind that are scored")
    options = parser.parse_args()
    if options.mnist:
        digits(options.epochs, options.images)
    if options.fashion:
        fashion(options.epochs, options.images)
    if options.mnist or options.fashion:
        return
    detectors: dict[str, Detector] = {
        "recipe": recipe,
        "default": default,
        "kNN": neighbours,
        **({"VAE": plain_vae} if options.vae else {}),
        **(peers() if options.peers else {}),
    }
    on_tables(options.folder, options.tables, detectors, options.draws)


if __name__ == "__main__":
    main()
