"""``pyro-vae families``: five kinds of model on the same digits, a table and a page of pictures."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pyro_vae.cli.families import FAMILIES


@pytest.mark.slow
def test_families_are_fitted_and_compared(call) -> None:
    outcome = call("families --epochs 2 --out runs/families")
    assert outcome.code == 0, outcome.err
    table = pd.read_csv("runs/families/families.csv", index_col="model")
    assert set(table.index) == {name.lower() for name in FAMILIES}
    density = [name for name in table.index if name != "autoencoder"]
    assert table["log_evidence"][density].notna().all()
    assert np.isnan(table["log_evidence"]["autoencoder"])
    assert table["frechet_distance"][density].notna().all()
    coded = ["vae", "vae-gan", "autoencoder"]
    assert list(table.index[table["mse"].notna()].sort_values()) == sorted(coded)
    sizes = table["parameters"]
    assert sizes.max() < 3 * sizes.min()
    assert table["epoch_seconds"].notna().all()
    assert Path("runs/families/families.png").read_bytes().startswith(b"\x89PNG")
    digits = np.load("runs/families/digits.npy")
    assert digits.shape == (1797, 1, 8, 8)
    assert 0 <= digits.min() < digits.max() < 1
    call("families --epochs 3 --out runs/families").refuses("--out", "runs/families")
    shutil.rmtree("runs/families/flow")
    outcome = call("families --epochs 2 --out runs/families")  # as after an interruption
    assert outcome.code == 0, outcome.err
    again = pd.read_csv("runs/families/families.csv", index_col="model")
    assert again["log_evidence"].equals(table["log_evidence"])


def test_other_runs_are_not_overwritten(call) -> None:
    Path("runs/families/gan").mkdir(parents=True)
    Path("runs/families/gan/config.yaml").write_text("data: digits\n")
    call("families --epochs 1").refuses("--out", "runs/families")
    assert not Path("runs/families/digits.npy").exists()
