"""An objective is chosen as any part is, and a run keeps it."""

import json
from pathlib import Path

import pytest
import yaml

FIT = "fit --model VAE --model.latent_dim 2 --data table.csv --batch_size 16 --epochs 2"
PLACE = "pyro_vae.inference.objectives"


def last(folder: str) -> dict[str, float]:
    return json.loads(Path(folder, "metrics.jsonl").read_text().splitlines()[-1])


@pytest.mark.parametrize(
    ("words", "chosen", "figures"),
    [
        ("IWAE --elbo.num_particles 3", {"num_particles": 3}, ("train_bound", "validation_bound")),
        ("TCVAE --elbo.beta 4", {"beta": 4.0}, ("train_objective", "validation_elbo")),
        (
            "FactorVAE --elbo.gamma 4 --elbo.discriminator.hidden_dims [8]",
            {"gamma": 4.0},
            ("train_objective", "validation_elbo"),
        ),
        (
            "InfoVAE --elbo.kernel Gaussian --elbo.kernel.bandwidth 2",
            {"alpha": 0.0},
            ("train_objective", "validation_elbo"),
        ),
        ("ReweightedWakeSleep", {"num_particles": 2}, ("train_objective", "validation_elbo")),
    ],
)
def test_an_objective_with_its_options(call, words, chosen, figures):
    outcome = call(FIT, f"--validation 20 --out runs/a --elbo {words}")
    assert (outcome.code, outcome.err.count("rror")) == (0, 0)
    options = yaml.safe_load(Path("runs/a/config.yaml").read_text())["elbo"]["init_args"]
    assert chosen.items() <= options.items()
    assert set(figures) <= last("runs/a").keys()
    assert figures[-1].replace("_", " ").replace("elbo", "ELBO").partition(" ")[2] in outcome.out


@pytest.mark.slow
def test_schedules_go_on_where_a_run_was_left(call):
    capacity = (
        "--elbo Capacity --elbo.capacity Linear --elbo.capacity.end 8 --elbo.capacity.epochs 4"
    )
    for options, name, values in (
        (capacity, "capacity", (4.0, 6.0)),
        ("--beta Cyclical --beta.epochs 4", "beta", (1.0, 1.0)),
        ("--beta Linear --beta.end 3 --beta.epochs 3", "beta", (2.0, 3.0)),
    ):
        folder = f"runs/{name}{values[0]}"
        assert call(FIT, options, f"--out {folder}").code == 0
        assert last(folder)[name] == pytest.approx(values[0])
        assert call(f"fit --resume {folder} --epochs 3").code == 0
        assert last(folder)[name] == pytest.approx(values[1])
        assert call(f"evidence {folder} --num_particles 10").code == 0


def test_what_an_objective_learns_goes_on_and_is_no_part_of_the_model(call):
    assert call(FIT, "--elbo FactorVAE --validation 20 --out runs/a").code == 0
    assert call("fit --resume runs/a --epochs 3").code == 0
    assert last("runs/a")["epoch"] == 3
    assert call(FIT, "--epochs 3 --elbo FactorVAE --validation 20 --out runs/b").code == 0
    assert last("runs/a") == last("runs/b")
    for verb in ("evidence runs/a --num_particles 10", "sample runs/a", "graph runs/a"):
        assert call(verb).code == 0


def test_a_class_in_a_schedules_place_is_not_run_unnamed(call, here):
    (here / "strange.py").write_text("raise SystemExit('was run')")
    assert call(FIT, "--beta Linear --out runs/a").code == 0
    path = Path("runs/a/config.yaml")
    config = yaml.safe_load(path.read_text())
    assert config["beta"]["class_path"] == f"{PLACE}.Linear"
    path.write_text(
        yaml.safe_dump({**config, "beta": {"class_path": "strange.Linear", "init_args": {}}})
    )
    outcome = call("evidence runs/a")
    outcome.refuses("strange.Linear", "--beta")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("--elbo IWEA", ("--elbo", "Did you mean 'IWAE'?")),
        ("--elbo Trace_EBLO", ("--elbo", "Did you mean 'Trace_ELBO'?")),
        ("--elbo IWAE --elbo.num_particle 3", ("Did you mean '--elbo.num_particles'?",)),
        ("--elbo IWAE --elbo.num_particles 0", ("num_particles must be at least 1, not 0",)),
        ("--elbo IWAE --elbo.num_particles many", ("--elbo.num_particles", "not 'many'")),
        ("--elbo Renyi --elbo.alpha 1", ("TraceELBO",)),
        ("--elbo Capacity --beta 2", ("Capacity", "KL")),
        ("--beta Cyclical --beta.rising 2", ("(0, 1]",)),
        ("--beta much", ("--beta", "'much'")),
    ],
)
def test_what_is_refused(call, options, names):
    outcome = call(FIT, options, "--out runs/a")
    outcome.refuses(*names)
