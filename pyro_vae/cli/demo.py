"""``pyro-vae demo``: the main job, from data to figures and pictures, in under a minute."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import torch

from pyro_vae import plots
from pyro_vae.cli.arguments import new_parser, read
from pyro_vae.cli.console import command, note, table
from pyro_vae.cli.experiment import Experiment
from pyro_vae.cli.fit import CURVE, train
from pyro_vae.cli.reconstruct import picture as reconstructions_picture
from pyro_vae.cli.reconstruct import reconstruct
from pyro_vae.cli.run_folder import CONFIG, check_free, read_config
from pyro_vae.cli.run_verb import Trained
from pyro_vae.cli.sample import draw
from pyro_vae.cli.sample import picture as samples_picture
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.estimate import log_evidence
from pyro_vae.inference.evidence.report import WIDTH, plus_minus, warning_messages
from pyro_vae.inference.posterior.diagnostics import evaluate
from pyro_vae.inference.svi.run_state import CHECKPOINT, METRICS
from pyro_vae.program.predict import latent_means

DESCRIPTION = """\
Trains a VAE on the 1,797 handwritten digits that scikit-learn ships (8x8 grey values, binarised anew
at every pass), and reports on digits that it has not seen. Nothing is downloaded. A demo that is in
the folder already is made again."""
EXAMPLES = ("pyro-vae demo", "pyro-vae demo --epochs 20 --seed 1 --out runs/short")
ASKED = ("--model", "VAE", "--data", "digits", "--binarize", "stochastic",
         "--model.latent_dim", "10", "--model.encoder", "MLP", "--model.decoder", "MLP",
         "--optimizer.lr", "2e-3")  # fmt: skip
FILES = {
    CONFIG: "every option; `pyro-vae fit --config` reads it",
    METRICS: "the ELBO after every epoch, as JSON lines",
    CHECKPOINT: "the parameters, and all that it takes to go on exactly",
    CURVE: "the ELBO over the epochs",
    "graph.svg": "the model and its guide as a plate diagram",
    "graph.png": "the same",
    "reconstructions.png": "held-out digits beside their reconstructions",
    "samples.png": "digits that the model made up",
    "latent_space.png": "where the guide puts the digits",
}
NUM_PARTICLES = 1000


def main(words: Sequence[str]) -> int:
    parser = new_parser("demo", DESCRIPTION, EXAMPLES)
    parser.add_argument("-o", "--out", type=str, default="runs/demo", help="the folder to fill")
    parser.add_argument("--epochs", type=int, default=500, help="passes over the digits")
    parser.add_argument("--seed", type=int, default=0, help="of all draws")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda, cuda:1, ...")
    options = read(parser, words)
    torch.set_num_threads(1)  # a second has nothing to do here, and on a busy machine it hinders
    folder = Path(options.out)
    asked = [f"--{name}={options[name]}" for name in ("epochs", "seed", "device")]
    experiment = Experiment.read([*ASKED, *asked])
    make_way(folder, experiment)
    data = experiment.load_data()
    note(data.describe())
    experiment, _ = experiment.suited_to(data)
    program, _ = train(folder, experiment, data)
    trained = Trained(program, data, data.test, resolve(options.device), options.seed)
    note("estimating log p(x) of the held-out digits ...")
    print(figures(trained))
    draw_pictures(folder, trained)
    print(f"\n{folder} holds\n{table([(f'  {name}', what) for name, what in FILES.items()])}")
    print(f"\nnext, for instance\n{suggestions(folder)}")
    return 0


def make_way(folder: Path, experiment: Experiment) -> None:
    """Removes an earlier demo; whatever else is in the folder stays, and another run is an error."""
    if (folder / CONFIG).is_file():
        before, now = read_config(folder / CONFIG), experiment.to_dict()
        telling = now.keys() - {"epochs", "seed", "device", "model"}
        if all(before.get(key) == now[key] for key in telling):
            if before.get("epochs", 0) > now["epochs"]:  # more work than the new one makes
                raise InputError(
                    f"{folder} holds a longer demo ({before['epochs']} epochs): choose another "
                    "folder with --out"
                )
            note(f"the demo that was in {folder} is made again")
            for name in FILES:
                (folder / name).unlink(missing_ok=True)
    check_free(folder)


def figures(trained: Trained) -> str:
    """What there is to know of the held-out digits, a line each."""
    program, digits, seed, device = trained.program, trained.split, trained.seed, trained.device
    evaluation = evaluate(program, digits, num_particles=100, seed=seed, device=device)
    evidence = log_evidence(program, digits, num_particles=NUM_PARTICLES, seed=seed, device=device)
    active, dims = evaluation.active_units["z"]
    log_p = f"{evidence.mean:.3f} {plus_minus(evidence.mean_standard_error, 3)}"
    rows = [
        ("ELBO", f"{evaluation.elbo.mean():.3f}", "what was maximised: at most log p(x)"),
        (
            "log p(x)",
            log_p,
            f"importance sampling, {NUM_PARTICLES:,} draws; ± its Monte-Carlo error",
        ),
        (
            "certified",
            f"{evidence.certificate():.3f}",
            "log p(x) is at least that, 95 times in 100",
        ),
        ("rate", f"{evaluation.rate.mean():.3f}", "E KL(q(z | x), p(z)): what z tells of x"),
        (
            "distortion",
            f"{evaluation.distortion.mean():.3f}",
            "-E log p(x | z): what z leaves open",
        ),
        ("active units", f"{active} of {dims}", "dimensions of z that vary with x"),
    ]
    lines = table([(f"  {name}", figure, words) for name, figure, words in rows])
    at_large = (
        f"(log p(x) of the digits at large: ± {evidence.sampling_error:.2f}, from so few of them)"
    )
    said = [textwrap.fill(text, WIDTH - 2) for text in (at_large, *warning_messages(evidence))]
    below = textwrap.indent("\n".join(said), "  ")
    return f"\n{evidence.units} held-out digits, nats per image:\n{lines}\n{below}"


def draw_pictures(folder: Path, trained: Trained) -> None:
    _, data, made = reconstruct(trained)
    plots.save(reconstructions_picture(trained, data, made), folder / "reconstructions.png")
    plots.save(samples_picture(trained, draw(trained)[0]), folder / "samples.png")
    digits = trained.data.train
    (x,) = Trained(trained.program, trained.data, digits, trained.device, trained.seed).rows(
        torch.arange(len(digits))
    )
    latents = latent_means(trained.program, x, seed=trained.seed)["z"]
    plots.save(
        plots.latent_space(latents, digits.labels, digits.class_names),
        folder / "latent_space.png",
    )


def suggestions(folder: Path) -> str:
    lines = (
        f"evidence {folder} --num_particles 5000",
        f"sample {folder} --num 100 --seed 1 --out more_samples.png",
        "fit --model VAE --model.latent_dim 2 --data digits --binarize stochastic --out runs/flat",
        "fit --model VAE --help",
    )
    return "\n".join(f"  {command()} {line}" for line in lines)
