"""How many units one tile of an evidence holds."""

import pytest
import torch
from stories import Conjugate, GlobalMean

from pyro_vae import log_evidence
from pyro_vae.inference.evidence.tiles import fitting_units, open_tiles
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.models import VAE

PIXELS = torch.zeros(600, 784)


@pytest.mark.parametrize(
    ("program", "data", "num_particles", "units"),
    [
        (Conjugate, torch.zeros(600), 16, 512),
        (Conjugate, torch.zeros(600), 10**6, 512),  # no more than 512 particles come together
        (VAE((784,), 2), PIXELS, 1, 512),
        (VAE((784,), 2), PIXELS, 512, 64),
    ],
)
def test_small_tensors_make_large_tiles(program, data, num_particles, units) -> None:
    with open_tiles(program, data, seed=0, device="cpu") as tiles:
        assert fitting_units(tiles.example, num_particles) == units


@pytest.mark.parametrize(
    ("data", "sizes"), [(torch.zeros(5), [12500]), (torch.zeros(10**6), [500])]
)
def test_particles_of_little_data_are_drawn_together(data, sizes, monkeypatch) -> None:
    counts, add = [], WeightSums.add
    monkeypatch.setattr(WeightSums, "add", lambda s, w: (counts.append(len(w)), add(s, w))[1])
    num_particles = 25_000 if len(data) == 5 else 1000
    log_evidence(GlobalMean, data, num_particles=num_particles, seed=0)
    assert counts == 2 * sizes


def test_between_them_it_is_a_power_of_two() -> None:
    with open_tiles(VAE((784,), 2), PIXELS, seed=0, device="cpu") as tiles:
        sizes = [fitting_units(tiles.example, 2**k) for k in range(8)]
    assert sizes == sorted(sizes, reverse=True)
    assert {64, 128, 256, 512} == set(sizes)
