"""What made-up rows are like, what they are worth, and whom they give away."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from refused import refused
from stories import RNG

from pyro_vae import load, synthesis_report
from pyro_vae.data import Column
from pyro_vae.data.columns.column import Kind
from pyro_vae.inference.synthesis.copies import find_copies
from pyro_vae.inference.synthesis.similarity import associations, column_distance
from pyro_vae.inference.synthesis.utility import utilities

COLOUR = Column("colour", Kind.CATEGORY, ("red", "green", "blue"))
SIZE, WEIGHT = Column("size"), Column("weight")


def people(rows: int) -> np.ndarray:
    """A category, and two numbers of which one depends on it."""
    colour = RNG.integers(0, 3, rows)
    return np.stack([colour, RNG.normal(size=rows), colour + 0.3 * RNG.normal(size=rows)], 1)


COLUMNS = (COLOUR, SIZE, WEIGHT)


def test_distances_in_closed_form():
    found = column_distance(COLOUR, np.array([0, 0, 1, 2.0]), np.array([0, 1, 1, np.nan]))
    assert found.distance == pytest.approx((abs(1 / 2 - 1 / 3) + abs(1 / 4 - 2 / 3) + 1 / 4) / 2)
    assert found.worst_ratio == pytest.approx(8 / 3)
    assert column_distance(SIZE, np.zeros(5), np.ones(5)).distance == 1


@pytest.mark.parametrize("column", [COLOUR, SIZE])
def test_the_noise_is_that_of_two_samples(column):
    def sample():
        return RNG.integers(0, 3, 400) if column is COLOUR else RNG.normal(size=400)

    found = [
        column_distance(column, sample().astype(float), sample().astype(float)) for _ in range(200)
    ]
    distances, noise = [f.distance for f in found], np.mean([f.noise for f in found])
    error = np.std(distances) / math.sqrt(200)
    assert abs(np.mean(distances) - noise) < 4 * error + 0.06 * noise


def test_associations_of_copies_and_of_strangers():
    x = people(4000)
    table = associations(COLUMNS, x, x)
    assert table[0, 2] > 0.7
    assert table[0, 1] < 0.05
    spiked = np.stack([x[:, 0], np.where(x[:, 0] == 2, x[:, 1] ** 2, 0)], 1)
    assert associations((COLOUR, SIZE), spiked, spiked)[0, 1] > 0.6
    twice = np.stack([x[:, 0], x[:, 0]], 1)
    assert associations((COLOUR, COLOUR), twice, twice)[0, 1] == pytest.approx(1, abs=1e-3)


def test_the_same_rows_are_worth_the_same():
    x, test = people(300), people(300)
    for found in utilities(COLUMNS, "colour", x, x, test):
        assert found.ratio == 1
        assert found.real > 0.8


def test_rows_without_the_association_are_worth_less():
    x, test = people(300), people(300)
    shuffled = x.copy()
    shuffled[:, 2] = RNG.permutation(shuffled[:, 2])
    for found in utilities(COLUMNS, "colour", x, shuffled, test):
        assert found.made < found.real - 0.2


def test_copies_give_members_away_and_new_draws_do_not():
    real, test = people(400), people(400)
    copied = find_copies(COLUMNS, real, real.copy(), test)
    assert copied.exact == 1
    assert copied.membership > 0.95
    fresh = find_copies(COLUMNS, real, people(400), test)
    assert fresh.exact == fresh.exact_held_out == 0
    assert abs(fresh.membership - 0.5) < 4 * fresh.membership_error


def test_a_target_without_classes_is_refused():
    x = people(50)
    with refused("target", expected="colour"):
        utilities(COLUMNS, "size", x, x, x)
    fewer = np.where(np.arange(3) == 0, 1.0, x)
    assert (
        utilities(COLUMNS, "colour", people(90), fewer, x)[0].made < 0.3
    )  # one class, guessed always
    one = np.where(np.arange(3) == 0, 1.0, x)
    with refused("target", remedy="another column"):
        utilities(COLUMNS, "colour", one, one, x)


def test_a_report_of_a_file(tmp_path: Path):
    wine = load("wine")
    report = synthesis_report(wine.test, wine)
    assert report.target == "cultivar"
    assert "F1" in report.summary()
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "alcohol" in page
    assert "http" not in page  # it loads nothing
    report.save(tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes()[:4] == b"\x89PNG"


def test_other_rows_and_other_data_are_refused():
    wine = load("wine")
    with refused("made", expected=""):
        synthesis_report(torch.zeros(5, 3), wine)
    with refused("report", remedy="pictures"):
        synthesis_report(torch.zeros(5, 64), load("digits"))


@pytest.mark.parametrize(
    ("made", "subject"),
    [
        (torch.zeros(5, 3), "made"),
        (torch.zeros(0, 14), "made"),
        (torch.full((5, 14), torch.inf), "made"),
        (torch.full((5, 14), 7.0), "made"),  # there are three cultivars
        ([[0.0] * 14], "made"),
        (torch.full((5, 14), torch.nan), "target"),
    ],
)
def test_rows_that_the_table_cannot_have_are_refused(made, subject):
    with refused(subject):
        synthesis_report(made, load("wine"))
    with refused("data", remedy="load"):
        synthesis_report(torch.zeros(5, 14), load("wine").train)
