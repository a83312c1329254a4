"""``pyro-vae demo``: from data to figures and pictures in under a minute."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import torch

from pyro_vae import plots
from pyro_vae.cli.fit import CURVE, train
from pyro_vae.cli.options.parser import new_parser, parse
from pyro_vae.cli.output.console import command, note, table
from pyro_vae.cli.reconstruct import picture as reconstructions_picture
from pyro_vae.cli.reconstruct import reconstruct
from pyro_vae.cli.run.config import FitConfig
from pyro_vae.cli.run.fit_record import RECORD
from pyro_vae.cli.run.folder import CONFIG, check_free, read_config
from pyro_vae.cli.run.trained import TrainedModel
from pyro_vae.cli.sample import draw
from pyro_vae.cli.sample import picture as samples_picture
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.estimate import log_evidence
from pyro_vae.inference.evidence.report import WIDTH, plus_minus, warning_messages
from pyro_vae.inference.posterior.diagnostics import evaluate
from pyro_vae.inference.posterior.posterior import posterior
from pyro_vae.inference.svi.run_storage import CHECKPOINT, METRICS

DESCRIPTION = """\
Train a VAE on the 1,797 handwritten digits that scikit-learn ships (8x8 grey
values, binarised by new draws in every epoch), and report on digits that it has
not seen. Nothing is downloaded. An earlier demo in the folder is replaced."""
EXAMPLES = ("pyro-vae demo", "pyro-vae demo --epochs 20 --seed 1 --out runs/short")
FIT_WORDS = ("--model", "VAE", "--data", "digits", "--binarize", "stochastic",
         "--model.latent_dim", "10", "--model.encoder", "MLP", "--model.decoder", "MLP",
         "--optimizer.lr", "2e-3")  # fmt: skip
FILES = {
    CONFIG: "every option; `pyro-vae fit --config` reads it",
    METRICS: "the ELBO of every epoch, as JSON lines",
    CHECKPOINT: "the parameters, and the state to continue the fit exactly",
    RECORD: "what the fit said: its verdict, notes and versions",
    CURVE: "the ELBO over the epochs",
    "graph.svg": "the model and its guide as a plate diagram",
    "graph.png": "the same, as an image",
    "reconstructions.png": "held-out digits and their reconstructions",
    "samples.png": "new digits, drawn from the model",
    "latent_space.png": "the posterior means of z for all digits",
}
NUM_PARTICLES, NUM_DRAWS = 1000, 200


def main(words: Sequence[str]) -> int:
    """Fit, report and draw."""
    parser = new_parser("demo", DESCRIPTION, EXAMPLES)
    parser.add_argument("-o", "--out", type=str, default="runs/demo", help="the folder of the run")
    parser.add_argument("--epochs", type=int, default=500, help="passes over the digits")
    parser.add_argument("--seed", type=int, default=0, help="seed of all draws")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda, cuda:1, ...")
    options = parse(parser, words)
    torch.set_num_threads(1)  # the steps are too small for a second thread
    folder = Path(options.out)
    own = [f"--{name}={options[name]}" for name in ("epochs", "seed", "device")]
    config = FitConfig.read([*FIT_WORDS, *own])
    remove_earlier_demo(folder, config)
    data = config.load_data()
    note(data.describe())
    config, _ = config.completed(data)
    program, _ = train(folder, config, data)
    trained = TrainedModel(program, data, data.test, resolve(options.device), options.seed)
    note("estimating log p(x) of the held-out digits ...")
    print(summary(trained))
    draw_pictures(folder, trained)
    print(f"\n{folder} holds\n{table([(f'  {name}', text) for name, text in FILES.items()])}")
    print(f"\nnext, for instance\n{suggestions(folder)}")
    return 0


def remove_earlier_demo(folder: Path, config: FitConfig) -> None:
    """Remove the files of an earlier demo; other files stay.

    Raises:
        InputError: the folder holds another run, or a longer demo.
    """
    if (folder / CONFIG).is_file():
        before, now = read_config(folder / CONFIG), config.to_dict()
        identifying = now.keys() - {"epochs", "seed", "device", "model"}
        if all(before.get(key) == now[key] for key in identifying):
            if before.get("epochs", 0) > now["epochs"]:  # it cost more than the new one
                raise InputError(
                    f"{folder} holds a longer demo ({before['epochs']} epochs)",
                    subject="--out",
                    remedy="choose another folder with --out",
                )
            note(f"replacing the demo in {folder}")
            for name in FILES:
                (folder / name).unlink(missing_ok=True)
    check_free(folder)


def summary(trained: TrainedModel) -> str:
    """Return the figures of the held-out digits, a line each."""
    program, digits, seed, device = trained.program, trained.split, trained.seed, trained.device
    evaluation = evaluate(program, digits, num_particles=100, seed=seed, device=device)
    evidence = log_evidence(program, digits, num_particles=NUM_PARTICLES, seed=seed, device=device)
    active, dims = evaluation.active_units["z"]
    log_p = f"{evidence.mean:.3f} {plus_minus(evidence.mean_standard_error, 3)}"
    draws = f"importance sampling, {NUM_PARTICLES:,} draws; ± its Monte Carlo error"
    rows = [
        ("ELBO", f"{evaluation.elbo.mean():.3f}", "the objective of the fit, at most log p(x)"),
        ("log p(x)", log_p, draws),
        (
            "certified",
            f"{evidence.certificate():.3f}",
            "lower bound of log p(x) at 95 % confidence",
        ),
        ("rate", f"{evaluation.rate.mean():.3f}", "E KL(q(z | x), p(z)): how much z tells about x"),
        (
            "distortion",
            f"{evaluation.distortion.mean():.3f}",
            "-E log p(x | z): reconstruction error",
        ),
        ("active units", f"{active} of {dims}", "dimensions of z that vary with x"),
    ]
    lines = table([(f"  {name}", figure, text) for name, figure, text in rows])
    sampling = f"(sampling error of log p(x), from so few digits: ± {evidence.sampling_error:.2f})"
    remarks = [textwrap.fill(text, WIDTH - 2) for text in (sampling, *warning_messages(evidence))]
    below = textwrap.indent("\n".join(remarks), "  ")
    return f"\n{evidence.num_units} held-out digits, nats per image:\n{lines}\n{below}"


def draw_pictures(folder: Path, trained: TrainedModel) -> None:
    """Draw reconstructions, samples and the latent space into the run's folder."""
    _, data, predictions = reconstruct(trained)
    picture = reconstructions_picture(trained, data, predictions)
    plots.save(picture, folder / "reconstructions.png")
    plots.save(samples_picture(trained, draw(trained)[0]), folder / "samples.png")
    digits = trained.data.train
    found = posterior(
        trained.program,
        digits,
        num_draws=NUM_DRAWS,
        seed=trained.seed,
        device=trained.device,
        progress=False,
    )
    picture = plots.latent_space(found.means["z"], digits.labels, digits.class_names)
    plots.save(picture, folder / "latent_space.png")


def suggestions(folder: Path) -> str:
    """Return commands that may come next."""
    lines = (
        f"evidence {folder} --num_particles 5000",
        f"sample {folder} --num 100 --seed 1 --out more_samples.png",
        "fit --model VAE --model.latent_dim 2 --data digits --binarize stochastic --out runs/flat",
        "fit --model VAE --help",
    )
    return "\n".join(f"  {command()} {line}" for line in lines)
