"""latents, interpolate, traverse and disentanglement from the command line."""

import csv
import json

import numpy as np
import pytest
import torch

from pyro_vae import interpolate, latents, open_run
from pyro_vae.inference import Spherical


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A small run on a table with names, classes and words, and one on its factors."""
    from pyro_vae.cli import main

    folder = tmp_path_factory.mktemp("people")
    lines = [f"p{i},{20 + i % 40},{'clerk' if i % 3 else 'cook'},{'ab'[i % 2]}" for i in range(90)]
    (folder / "t.csv").write_text("\n".join(["name,age,job,kind", *lines]))
    words = f"fit --model VAE --model.latent_dim 2 --data {folder}/t.csv --label kind --id name"
    assert main([*words.split(), "--epochs", "3", "--out", str(folder / "run")]) == 0
    return folder


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_latents_have_a_line_for_each_row_of_the_file(people, call) -> None:
    run = people / "run"
    outcome = call(f"latents {run} --num_particles 30 --num_draws 2")
    assert (outcome.code, outcome.out) == (0, "latents.csv\n"), outcome.err
    rows = rows_of("latents.csv")
    assert [int(row["row"]) for row in rows] == list(range(90))
    assert [row["name"] for row in rows] == [f"p{i}" for i in range(90)]
    assert list(rows[0])[2:6] == ["z[0] mean", "z[0] sd", "z[1] mean", "z[1] sd"]
    assert "z[1] draw 1" in rows[0]
    assert {row["kind"] for row in rows} == {"a", "b"}
    program, data = open_run(run)
    found = latents(program, data.train, num_particles=30, num_draws=2)
    first = rows[int(found.rows[0])]
    assert float(first["z[0] mean"]) == pytest.approx(float(found.mean["z"][0, 0]), rel=1e-5)
    outcome = call(f"latents {run} --num_particles 30 --num_draws 2 --split test --out l.npz")
    assert outcome.code == 0, outcome.err
    with np.load("l.npz", allow_pickle=False) as arrays:
        assert arrays["z_draws"].shape == (9, 2, 2)
        assert arrays["z_mean"].shape == arrays["z_sd"].shape == (9, 2)
        assert sorted(arrays["rows"].tolist()) == arrays["rows"].tolist()
        assert len(arrays["ids"]) == len(arrays["labels"]) == 9


QUICK = "--num_steps 3 --num_draws 2 --num_particles 20"


def test_interpolate_names_rows_by_the_file(people, call, here) -> None:
    run = people / "run"
    program, data = open_run(run)
    train, test = data.train.places[:2].tolist(), int(data.test.places[0])
    words = f"interpolate {run} --from {train[0]} --to {train[1]} --along spherical {QUICK}"
    outcome = call(f"{words} --out path.csv")
    assert outcome.code == 0, outcome.err
    assert f"from row {train[0]} to row {train[1]} along Spherical()" in outcome.out
    rows = rows_of("path.csv")
    assert list(rows[0]) == ["step", "log p(x')", "±", "log p(z)", "age", "job"]
    expected = interpolate(
        program, data.train, along=Spherical(), num_steps=3, num_draws=2, num_particles=20
    )
    assert float(rows[1]["age"]) == pytest.approx(float(expected.means["x"][1, 0]), rel=1e-5)
    assert {row["job"] for row in rows} <= {"clerk", "cook"}
    outcome = call(f"interpolate {run} --from {train[0]} --to {test} {QUICK} --out two.npz")
    assert outcome.code == 0, outcome.err
    with np.load("two.npz", allow_pickle=False) as arrays:
        assert arrays["rows"].tolist() == [train[0], test]
        ends = [data.train.subset(torch.tensor([0])), data.test.subset(torch.tensor([0]))]
        means = torch.cat([program.recognition(end.read()).mean for end in ends])
        np.testing.assert_allclose(arrays["z"][[0, -1]], means.detach().numpy(), atol=1e-6)
    outcome = call(f"interpolate {run} --from {train[0]} --to {test} {QUICK} --evidence false")
    assert outcome.code == 0, outcome.err
    assert "log p" not in outcome.out
    assert (here / "interpolation.png").stat().st_size > 1000


def test_traverse_writes_a_table_and_a_picture(people, vae, call, here) -> None:
    outcome = call(f"traverse {people / 'run'} --num_steps 3 --out moves.csv --attributes a")
    assert outcome.code == 0, outcome.err
    rows = rows_of("moves.csv")
    assert len(rows) == 9
    assert {row["move"] for row in rows} == {"z[0]", "z[1]", "towards a"}
    assert list(rows[0])[-2:] == ["age", "job"]
    outcome = call("traverse runs/vae --num_steps 3")
    assert outcome.code == 0, outcome.err
    assert (here / "traverse.png").stat().st_size > 1000


def test_disentanglement_of_a_file_of_factors(people, call, here) -> None:
    lines = [f"{i % 40},{'xyz'[i % 3]}" for i in range(90)]
    (here / "factors.csv").write_text("\n".join(["age,job", *lines]))
    words = f"disentanglement {people / 'run'} --split train --factors factors.csv --num_splits 2"
    outcome = call(words)
    assert outcome.code == 0, outcome.err
    assert "72 rows, 2 latents, factors age, job" in outcome.out
    outcome = call(f"{words} --json")
    assert set(json.loads(outcome.out)) == {"MIG", "DCI", "SAP", "FactorVAE", "MCC"}
    call(f"disentanglement {people / 'run'}").refuses("--factors", "t.csv")
    (here / "few.csv").write_text("\n".join(["age,job", *lines[:20]]))
    call(f"disentanglement {people / 'run'} --factors few.csv").refuses("few.csv", "20 rows")


def test_what_does_not_fit_is_refused(people, call, here) -> None:
    run = people / "run"
    call(f"interpolate {run} --from 0 --to 900").refuses("--to", "900", "between 0 and 89")
    call(f"interpolate {run} --to 3").refuses("--from")
    call(f"interpolate {run} --from 0 --to 1 --along circle").refuses("circle", "spherical")
    call(f"interpolate {run} --from 0 --to 1 --num_steps 1").refuses("num_steps")
    call(f"interpolate {run} --from 0 --to 1 --out path.txt").refuses("--out", ".png")
    call(f"traverse {run} --row 90").refuses("--row", "90")
    call(f"traverse {run} --sites w").refuses("'w'", "z")
    call(f"traverse {run} --attributes c").refuses("'c'", "a, b")
    call(f"latents {run} --out l.png").refuses("--out", ".csv")
    call(f"latents {run} --method exact").refuses("'exact'")


def test_an_autoencoder_is_asked_for_its_evidence(call, here) -> None:
    words = "fit --model Autoencoder --data table.csv --epochs 1 --out runs/ae"
    assert call(words).code == 0
    call("interpolate runs/ae --from 0 --to 5").refuses("flat", "evidence")
    outcome = call("interpolate runs/ae --from 0 --to 5 --evidence false")
    assert outcome.code == 0, outcome.err
