"""From data to figures: the verbs as a person calls them."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from pyro_vae import checkpoint, log_evidence
from pyro_vae.cli.run.folder import open_run
from pyro_vae.data import load

FA = "fit --model FactorAnalysis --model.latent_dim 1 --data table.csv --batch_size 16"


@pytest.fixture
def factors(made):
    """A run whose evidence is known exactly."""
    assert made(FA, "--epochs 30 --out runs/fa").code == 0
    return Path("runs/fa")


def arrays(path: str) -> dict[str, np.ndarray]:
    """What an .npz holds, after which the file is closed."""
    with np.load(path) as archive:
        return dict(archive)


def read_table(name: str = "table.csv") -> np.ndarray:
    return np.loadtxt(name, delimiter=",", skiprows=1)


def test_fit_leaves_what_it_promises(vae):
    files = {path.name for path in vae.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "checkpoint.safetensors", "learning_curve.png"} <= files
    assert not [name for name in files if "unfinished" in name]
    metrics = [json.loads(line) for line in (vae / "metrics.jsonl").read_text().splitlines()]
    assert [m["epoch"] for m in metrics] == [1, 2]
    assert all(math.isfinite(m["validation_elbo"]) for m in metrics)
    config = yaml.safe_load((vae / "config.yaml").read_text())
    chosen = config["model"]["init_args"]["likelihood"]["class_path"]
    assert chosen == "pyro_vae.likelihoods.Bernoulli"


def test_fit_says_how_it_chose_the_likelihood_and_what_comes_next(call):
    outcome = call("fit --model VAE --data table.csv --epochs 1 --out runs/t")
    assert "likelihood: NegativeBinomial" in outcome.err
    assert " evidence runs/t\n" in outcome.err
    assert outcome.out.startswith("runs/t: 1 step in ")
    assert outcome.out.count("\n") == 1


def test_names_by_number_need_no_option_but_their_file(call, here):
    names = np.random.default_rng(0).integers(0, 7, (60, 5))
    names[names == 6] = 0
    names[17, 3] = 6  # the highest is there once, in whichever split
    np.save(here / "tokens.npy", names)
    outcome = call("fit --model TokenVAE --data tokens.npy --epochs 2 --out runs/tokens")
    assert outcome.code == 0, outcome.err
    assert "num_tokens: 7" in outcome.err
    config = yaml.safe_load(Path("runs/tokens/config.yaml").read_text())
    assert config["model"]["init_args"]["num_tokens"] == 7
    assert call("evidence runs/tokens --num_particles 5 --split train").code == 0
    assert call("sample runs/tokens --num 40 --out drawn.npz").code == 0
    drawn = arrays("drawn.npz")["x"]
    assert drawn.shape == (40, 5)
    assert {*np.unique(drawn)} <= {*range(7)}
    assert call("fit --resume runs/tokens --epochs 3").code == 0
    os.remove("tokens.npy")
    assert call("sample runs/tokens --num 4 --out more.npz").code == 0


def test_images_have_convolutions(call, here):
    photos = np.random.default_rng(0).integers(0, 256, (60, 3, 9, 10), dtype=np.uint8)
    np.save(here / "photos.npy", photos)
    outcome = call("fit --model VAE --data photos.npy --epochs 1 --out runs/photos")
    assert outcome.code == 0, outcome.err
    chosen = "likelihood: DiscretizedLogistic, encoder: ConvEncoder, decoder: ConvDecoder"
    assert chosen in outcome.err
    chosen = yaml.safe_load(Path("runs/photos/config.yaml").read_text())["model"]["init_args"]
    assert chosen["encoder"]["class_path"] == "pyro_vae.networks.ConvEncoder"
    assert chosen["decoder"]["init_args"]["channels"] == [64, 64, 32]
    assert call("evidence runs/photos --num_particles 5").code == 0
    plain = "--model.encoder MLP --epochs 1 --out runs/plain"
    assert "Conv" not in call("fit --model VAE --data photos.npy", plain).err


def test_fit_names_its_folder_itself(call):
    assert call("fit --model FactorAnalysis --data table.csv --epochs 1").code == 0
    assert Path("runs/factoranalysis-table/checkpoint.safetensors").exists()


def test_a_run_and_its_configuration_are_the_same_run(call, factors):
    config = factors / "config.yaml"
    assert call(f"fit --config {config} --out runs/again").code == 0
    for name in ("metrics.jsonl", "config.yaml"):
        assert (factors / name).read_text() == Path("runs/again", name).read_text()
    first, _ = checkpoint.read(factors / "checkpoint.safetensors")
    second, _ = checkpoint.read(Path("runs/again/checkpoint.safetensors"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_made_longer_is_the_run_that_was_long_from_the_start(call):
    rate = "--optimizer Adam --optimizer.lr 0.01"  # else a cosine over the length of the run
    assert call(FA, rate, "--epochs 9 --out runs/long").code == 0
    assert call(FA, rate, "--epochs 3 --out runs/short").code == 0
    assert call("fit --resume runs/short --epochs 9").code == 0
    for name in ("metrics.jsonl", "config.yaml"):
        assert Path("runs/long", name).read_text() == Path("runs/short", name).read_text()


def test_a_longer_run_gets_another_cosine(call):
    assert call(FA, "--epochs 3 --out runs/short").code == 0
    assert call("fit --resume runs/short --epochs 9").code == 0
    lines = Path("runs/short/metrics.jsonl").read_text().splitlines()
    rates = [json.loads(line)["learning_rate"] for line in lines]
    assert len(rates) == 9
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[8] < 0.1 * rates[0] < rates[3]


def test_a_finished_run_says_that_it_is_finished(call, vae):
    outcome = call("fit --resume runs/vae")
    assert outcome.code == 0
    assert "--epochs 4 would continue it" in outcome.err


def test_the_data_say_how_many_epochs_there_are_to_be(call):
    still = "--optimizer SGD --optimizer.lr 1e-30 --patience 2 --compile off --out runs/still"
    outcome = call("fit --model FactorAnalysis --data table.csv", still)
    assert outcome.code == 0, outcome.err
    assert "5,000 steps of 48 rows" in outcome.err
    assert outcome.out.startswith("runs/still: 3 steps in ")
    config = Path("runs/still/config.yaml")
    assert yaml.safe_load(config.read_text())["epochs"] == 5000
    finished = "--patience 4 or another --optimizer.lr would continue it"
    assert finished in call("fit --resume runs/still").err
    assert call("fit --resume runs/still --patience 3").out.startswith("runs/still: 4 steps")
    assert call("fit --resume runs/still --patience 9 --epochs 5").out.startswith("runs/still: 5 ")


def test_evidence_is_that_of_the_saved_model(call, factors):
    outcome = call("evidence runs/fa --num_particles 2000 --seed 3 --json")
    figures = json.loads(outcome.out)
    assert outcome.out.count("\n") == 1
    run = open_run(factors)
    data = run.load_data()
    model = run.load_program(data, torch.device("cpu"))
    exact = model.log_evidence(data.test.read()).mean().item()
    assert abs(figures["mean"] - exact) < 5 * figures["standard_error"]
    assert figures["num_units"] == len(data.test)
    assert figures["num_particles"] == 2000
    assert figures["sampling_error"] > figures["standard_error"]
    again = log_evidence(model, data.test, num_particles=2000, seed=3)
    assert figures["mean"] == again.mean


def test_evidence_of_the_split_that_is_named(call, factors):
    figures = json.loads(call("evidence runs/fa --split train --json").out)
    assert figures["num_units"] == len(load("table.csv").train)


def test_evidence_in_words(call, vae):
    outcome = call("evidence runs/vae --num_particles 10")
    assert "nats" in outcome.out
    assert "K = 10" in outcome.out


def test_json_stays_json_when_the_model_prints(here, call):
    source = (here / "my_model.py").read_text()
    talking = source.replace("def guide(self, x):", 'def guide(self, x):\n        print("hello")')
    (here / "talking.py").write_text('print("imported")\n' + talking)
    own = "--model talking.MyVAE"
    assert call("fit", own, "--data digits --epochs 1 --out runs/talk").code == 0
    outcome = call("evidence runs/talk --num_particles 5 --json", own)
    assert json.loads(outcome.out)["num_particles"] == 5
    assert "hello" in outcome.err


def test_samples_of_a_table_are_in_its_own_units(call, factors):
    assert call("sample runs/fa --num 4000 --out drawn.npz").code == 0
    drawn = arrays("drawn.npz")
    assert drawn["x"].shape == (4000, 2)
    run = open_run(factors)
    data = run.load_data()
    model = run.load_program(data, torch.device("cpu"))
    bias = (model.scaling.location + model.scaling.scale * model.bias).detach().numpy()  # E x
    error = drawn["x"].std(0) / math.sqrt(4000)
    assert (np.abs(drawn["x"].mean(0) - bias) < 5 * error).all()
    assert (np.abs(drawn["x_mean"].mean(0) - bias) < 5 * error).all()


def test_reconstructions_of_a_table_are_in_its_own_units(call, factors):
    assert call("reconstruct runs/fa --split train --out made.npz").code == 0
    made = arrays("made.npz")
    train = load("table.csv").train
    assert sorted(made["rows"]) == sorted(train.places)
    np.testing.assert_allclose(made["data"], read_table()[made["rows"]], rtol=1e-6)
    assert made["x_mean"].shape == made["data"].shape


def test_the_same_seed_draws_the_same(call, vae):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        call(f"sample runs/vae --num 3 --seed {seed} --out {name}.npz")
    a, b, c = (arrays(f"{name}.npz")["x"] for name in "abc")
    assert (a == b).all()
    assert (a != c).any()
    assert set(np.unique(a)) <= {0.0, 1.0}


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
@pytest.mark.parametrize("verb", ["sample", "reconstruct"])
def test_pictures(call, vae, verb, ending):
    outcome = call(f"{verb} runs/vae --num 3 --out picture.{ending}")
    assert (outcome.code, outcome.out) == (0, f"picture.{ending}\n")
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending]
    assert Path(f"picture.{ending}").read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("sample", ("pyro-vae sample runs/vae",)),
        ("sample runs/vae --out x.bmp", ("--out x.bmp", ".png, .pdf, .svg, .csv, .npz")),
        ("sample runs/vae --out nowhere/x.png", ("nowhere", "x.png")),
        ("sample runs/vae --out table.npz", ("table.npz", "--overwrite")),
        ("sample runs/vae --num 0", ("--num must be at least 1, not 0",)),
        ("reconstruct runs/vae --num -3", ("--num must be at least 1, not -3",)),
        ("evidence runs/vae --num_particles 0", ("num_particles must be at least 1, not 0",)),
        ("evidence runs/vae --num_particle 5", ("Did you mean '--num_particles'?",)),
        ("evidence runs/vae --split tests", ("--split", "Did you mean 'test'?")),
        ("evidence runs/vae --seed -1", ("--seed", "2**32 - 1, not -1")),
        ("evidence runs/vae --device cuda:77", ("'cuda:77'", "cpu")),
        ("fit --model VAE --data digits --device cuda:77", ("'cuda:77'", "cpu")),
        ("fit --model VAE --data digts", ("Did you mean 'digits'?",)),
        ("fit --model VAE --data none.csv", ("none.csv",)),
        ("fit --model VAE --data empty.csv", ("empty.csv", "empty")),
        ("fit --model FactorAnalysis --data gap.csv", ("gap.csv", "row 2", "column 'b'")),
        ("fit --model VAE --data digits --epochs 0", ("epochs must be at least 1, not 0",)),
        ("fit --model VAE --data digits --out runs/vae", ("runs/vae", "--resume", "--out")),
        ("fit --model VAE --data digits --out table.csv", ("table.csv", "a folder")),
        (
            "fit --model VAE --model.likelihood Bernoulli --data digits",
            ("--binarize stochastic", "ContinuousBernoulli"),
        ),
        (
            "fit --model VAE --model.encoder ConvEncoder --data table.csv",
            ("(channels, height, width)", "(2,)"),
        ),
        ("fit --model my_model.WithLabels --data table.csv", ("label=",)),
        ("fit --model my_model.Failing --data digits", ("model", "ValueError", "oh no")),
        ("fit --model my_model.NoProgram --data digits", ("NoProgram",)),
        ("fit --config none.yaml", ("none.yaml",)),
        ("fit --config table.csv", ("table.csv", "config.yaml")),
        ("fit --resume nowhere", ("nowhere", "`pyro-vae fit`")),
        ("fit --model VAE --data digits --optimizer.lr 1e30 --out runs/nan", ("not finite",)),
    ],
)
def test_wrong_inputs(here, call, vae, words, names):
    (here / "table.npz").write_bytes(b"")
    (here / "empty.csv").write_text("")
    (here / "gap.csv").write_text("a,b\n1,2\n3,\n4,5\n6,7\n")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    outcome = call(words)
    outcome.refuses(*names)
    assert outcome.out == ""
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_model_that_takes_labels(call):
    own = "--model my_model.WithLabels"
    assert call("fit", own, "--data digits --epochs 1 --out runs/l").code == 0
    assert call("evidence runs/l --num_particles 5", own).code == 0
    assert call("sample runs/l --num 300 --out l.npz", own).code == 0
    assert arrays("l.npz")["x"].shape == (300, 1, 8, 8)


def test_the_data_say_how_many_classes_there_are(call):
    fit = (
        "fit --model ConditionalVAE --model.encoder.hidden_dims [8] --model.decoder.hidden_dims [8]"
    )
    assert call(fit, "--data digits --binarize stochastic --epochs 1 --out runs/c").code == 0
    figures = json.loads(call("evidence runs/c --num_particles 5 --json").out)
    assert figures["num_units"] == 200
    for verb in ("sample", "reconstruct"):
        assert call(f"{verb} runs/c --num 12 --out {verb}.npz").code == 0
    assert arrays("sample.npz")["x"].shape == (12, 1, 8, 8)
    assert call("graph --model ConditionalVAE --out given.svg").code == 0
    assert "▣ y" in call("graph runs/c --text").out
    call(fit, "--data table.csv").refuses("ConditionalVAE", "table.csv", "--label")


def test_a_model_of_few_labels(call):
    fit = "fit --model SemiSupervisedVAE --data digits --binarize stochastic --epochs 1"
    outcome = call(fit, "--labelled 50 --out runs/few")
    assert outcome.code == 0
    assert " 50 " in outcome.err
    assert call("evidence runs/few --num_particles 5").code == 0
    for verb in ("sample", "reconstruct"):
        assert call(f"{verb} runs/few --num 12 --out {verb}.npz").code == 0
    drawn = arrays("sample.npz")
    assert drawn["x"].shape == (12, 1, 8, 8)
    assert set(drawn["label"]) <= set(range(10))
    assert (drawn["label_mean"] == drawn["label"]).all()  # a class has none
    outcome = call(fit, "--labelled 5000 --out runs/many")
    outcome.refuses("5,000", "1,397")
    for model in ("VAE", "ConditionalVAE"):
        outcome = call(f"fit --model {model} --data digits --labelled 50 --out runs/none")
        outcome.refuses(f" {model} ", "SemiSupervisedVAE")


LABELS = {
    "empty": ["cat", "", "dog", "cat"],
    "NA": ["cat", "NA", "dog", "cat"],
    "named": ["cat", "unknown", "dog", "cat"],
    "numbers": ["0", "", "1", "0"],
    "minus one": ["0", "-1", "1", "0"],
    "code": ["0", "99", "1", "0"],
}


@pytest.mark.parametrize("how", LABELS)
def test_labels_that_were_not_seen(here, call, how):
    lines = [f"{i % 7}.5,{i % 5}.25,{LABELS[how][i % 4]}" for i in range(120)]
    (here / "few.csv").write_text("\n".join(["a,b,kind", *lines]))
    unseen = {"named": "--unseen unknown", "code": "--unseen 99"}.get(how, "")
    fit = f"fit --data few.csv --label kind {unseen} --epochs 1 --model"
    outcome = call(f"{fit} SemiSupervisedVAE --out runs/few")
    assert outcome.code == 0, outcome.err
    assert "2 classes" in outcome.err
    assert call("evidence runs/few --num_particles 5 --split train -o each.csv").code == 0
    with open(here / "each.csv") as file:
        each = list(csv.DictReader(file))
    not_seen = "" if how in ("empty", "NA", "named") else "-1"
    for row in each:
        number = int(row["row"]) % 4
        assert row["kind"] == (not_seen if number == 1 else LABELS[how][number])
    call(f"{fit} ConditionalVAE --out runs/all").refuses("few.csv", "ConditionalVAE", "no label")


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_run_that_is_stopped_says_how_it_goes_on(here, name, code):
    fit = "-m pyro_vae fit --model FactorAnalysis --data table.csv --epochs 1000000 --out runs/long"
    process = subprocess.Popen(
        [sys.executable, *fit.split(), "--compile", "off"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=here,
        # whoever runs the tests in the background may have told them to ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        while process.poll() is None and not (here / "runs/long/metrics.jsonl").exists():
            time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == code
    assert "fit --resume runs/long" in errors
    assert "\r" not in errors  # no bar in a pipe
    assert "Traceback" not in errors
    assert checkpoint.read(here / "runs/long/checkpoint.safetensors")[1]["position"]["epoch"] > 0
