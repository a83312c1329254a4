"""``pyro-vae families``: VAE, VAE-GAN, GAN, flow and autoencoder on the same digits, compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae import plots
from pyro_vae.cli import compare
from pyro_vae.cli.fit import resume_run, train
from pyro_vae.cli.options.parser import new_parser, parse
from pyro_vae.cli.output.console import note
from pyro_vae.cli.reconstruct import reconstruct
from pyro_vae.cli.run.config import FitConfig
from pyro_vae.cli.run.folder import CONFIG
from pyro_vae.cli.run.trained import TrainedModel
from pyro_vae.cli.sample import draw
from pyro_vae.data import DataSet, load
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.inference.svi.fit_result import FitResult
from pyro_vae.inference.svi.run_storage import CHECKPOINT
from pyro_vae.plots.families import Family, families
from pyro_vae.storage import atomic_write

DESCRIPTION = """\
Train a VAE, a VAE-GAN, a GAN, a flow and an autoencoder, with networks of like
size, on the 1,797 digits that scikit-learn ships, and compare them on digits
that none has seen: the evidence, the metrics of samples and reconstructions,
and one page of pictures. It takes two minutes.

Each grey value has uniform noise within its level, so that all models are
densities of the same values. The autoencoder has no evidence and no samples;
GAN and flow have no reconstructions. --seeds fits each family from N seeds.
The same command goes on where it was interrupted."""
EXAMPLES = (
    "pyro-vae families --out runs/families",
    "pyro-vae families --epochs 300 --seeds 5 --out runs/families",
)
LEVELS = 17
NETWORK = "MLP --model.{0}.hidden_dims [128,128]"
OF_NORMAL = (
    "--model.latent_dim 10 --model.likelihood FixedScaleNormal --model.likelihood.scale 0.15"
)
CODED = (
    f"{OF_NORMAL} --model.encoder {NETWORK.format('encoder')} "
    f"--model.decoder {NETWORK.format('decoder')}"
)
GAME = (
    "--elbo.discriminator MLP --elbo.discriminator.hidden_dims [128,128] "
    "--elbo.discriminator.activation torch.nn.LeakyReLU --elbo.penalty R1R2 --elbo.penalty.weight 0.1 "
    "--elbo.loss Relativistic --optimizer Adam --optimizer.lr 1e-3 --optimizer.betas [0.0,0.9] "
    "--averaging 0.1"
)
FAMILIES = {  # the words of a fit
    "VAE": f"--model VAE {CODED} --optimizer.lr 2e-3",
    "VAE-GAN": f"--model VAE {CODED} --elbo VAEGAN {GAME}",
    "GAN": f"--model GAN --model.latent_dim 10 --model.generator {NETWORK.format('generator')} "
    f"--model.scale 0.15 --elbo Adversarial --elbo.with_noise false {GAME}",
    "flow": "--model FlowDensity --model.flow Autoregressive --model.flow.hidden_dims [64,64] "
    "--optimizer.lr 1e-3 --patience 10",
    "autoencoder": f"--model Autoencoder {CODED} --optimizer.lr 2e-3",
}
COMPARISON = (
    "--method ais --start prior --num_particles 4 --num_temperatures 60 "
    "--columns frechet_distance,precision_recall,mse,elbo,active_units,parameters,epoch_seconds"
)
DIGITS, PICTURE, TABLE = "digits.npy", "families.png", "families.csv"
NUM_SAMPLES, NUM_PAIRS = 36, 6  # of the page


def main(words: Sequence[str]) -> int:
    """Fit, compare and draw."""
    parser = new_parser("families", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("-o", "--out", type=str, default="runs/families", help="the folder of all runs")
    add("--epochs", type=int, default=150, help="passes over the digits")
    add("--seeds", type=int | None, metavar="N", help="fits of each family, for the spread")
    add("--seed", type=int, default=0, help="seed of all draws")
    add("--device", type=str, default="auto", help="cpu, cuda, cuda:1, ...")
    options = parse(parser, words)
    torch.set_num_threads(1)  # the steps are too small for a second thread
    folder = Path(options.out)
    _check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_digits(folder / DIGITS)
    own = [f"--{name}={options[name]}" for name in ("epochs", "seed", "device")]
    own.append(f"--data={folder / DIGITS}")
    shown, device = list[Family](), resolve(options.device)
    for name, given in FAMILIES.items():
        note(f"fitting the {name} ...")
        config = FitConfig.read([*given.split(), *own])
        data = config.load_data()
        config, _ = config.completed(data)
        program, result = _fitted(_folder(folder, name), config, data)
        note(result.verdict)
        shown.append(_pictured(name, TrainedModel(program, data, data.test, device, options.seed)))
    plots.save(families(_some(data, options.seed), shown), folder / PICTURE)
    runs = [str(_folder(folder, name)) for name in FAMILIES]
    how = [*COMPARISON.split(), f"--seed={options.seed}", f"--out={folder / TABLE}", "--overwrite"]
    how += [] if options.seeds is None else [f"--seeds={options.seeds}"]
    note("comparing them ...")
    compare.main([*runs, *how])
    print(
        f"\n{folder / PICTURE} has their samples and reconstructions, {folder / TABLE} the table."
    )
    return 0


def _folder(folder: Path, name: str) -> Path:
    return folder / name.lower()


def _check_free(folder: Path) -> None:
    """Check that no runs but those of families lie in the folder: these have its digits beside them."""
    if not (folder / DIGITS).exists():
        for name in FAMILIES:
            if (_folder(folder, name) / CONFIG).exists():
                raise _holds_others(folder)


def _holds_others(folder: Path) -> InputError:
    return InputError(
        f"{folder} holds other runs already",
        subject="--out",
        remedy="choose another folder with --out",
    )


def _fitted(folder: Path, config: FitConfig, data: DataSet) -> tuple[Any, FitResult]:
    """Return a family's program and its fit, which goes on where it was interrupted."""
    if (folder / CONFIG).exists() and (folder / CONFIG).read_text() != config.to_yaml():
        raise _holds_others(folder.parent)
    if not (folder / CHECKPOINT).exists():
        return train(folder, config, data)
    result = resume_run(folder, ["--epochs", str(config.options.epochs)])[2]
    return result.program, result


def _write_digits(path: Path) -> None:
    """Write the digits with uniform noise within each level, the same whoever writes them."""
    splits = load("digits").splits.values()
    grey = torch.cat([split.read(torch.arange(len(split))) for split in splits])
    noise = torch.rand(grey.shape, generator=torch.Generator().manual_seed(0))
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:  # whatever its ending
        np.save(file, ((grey * (LEVELS - 1)).round() + noise).div(LEVELS).numpy())


def _pictured(name: str, trained: TrainedModel) -> Family:
    """Return what a page shows of a family: samples, and reconstructions of some digits."""
    try:
        samples = trained.of_data(draw(trained, NUM_SAMPLES)[0]).mean
    except InputError:
        samples = None
    try:
        _, data, made = reconstruct(trained, NUM_PAIRS)
        pairs = (data, trained.of_data(made).mean)
    except InputError:
        pairs = None
    return Family(name, samples, pairs)


def _some(data: DataSet, seed: int) -> Tensor:
    """Return some held-out digits."""
    generator = torch.Generator().manual_seed(seed)
    return data.test.read(torch.randperm(len(data.test), generator=generator)[:NUM_SAMPLES])
