"""``pyro-vae families``: VAE, VAE-GAN, GAN, flow and autoencoder on the same digits, compared."""

import io
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import numpy as np
import torch
from jsonargparse import Namespace
from torch import Tensor

from pyro_vae import plots
from pyro_vae.cli import compare
from pyro_vae.cli.fit import resume_run, train
from pyro_vae.cli.options.parser import new_parser, parse
from pyro_vae.cli.output.console import note
from pyro_vae.cli.reconstruct import reconstruct
from pyro_vae.cli.run.config import FitConfig
from pyro_vae.cli.run.folder import CONFIG, open_run
from pyro_vae.cli.run.trained import TrainedModel
from pyro_vae.cli.sample import draw
from pyro_vae.data import load
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.inference.svi.run_storage import CHECKPOINT
from pyro_vae.plots.families import Family, families
from pyro_vae.storage import atomic_write

DESCRIPTION = """\
Train a VAE, a VAE-GAN, a GAN, a flow and an autoencoder, with networks of like
size, on the 1,797 digits that scikit-learn ships, and compare them on digits
that none has seen: the evidence, the metrics of samples and reconstructions,
and one page of pictures. It takes a minute or two on two cores.

Each grey value has uniform noise within its level, so that all models are
densities of the same values. The autoencoder has no evidence and no samples;
GAN and flow have no reconstructions. --seeds fits each family from N seeds.
The same command goes on where it was interrupted."""
EXAMPLES = (
    "pyro-vae families --out runs/families",
    "pyro-vae families --epochs 300 --seeds 5 --out runs/families",
)
LEVELS = 17
VALIDATION = 210  # digits: 1408 are left for training, eleven whole batches
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
# Annealing moves many chains of some rows: with few, a row's weights say nothing of their own error.
COMPARISON = (
    "--method ais --start prior --num_rows 50 --num_particles 20 --num_temperatures 500 --num_leapfrog 3 "
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
    folder = Path(options.out)
    _check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_digits(folder / DIGITS)
    own = [f"--{name}={options[name]}" for name in ("epochs", "seed", "device")]
    own += [f"--data={folder / DIGITS}", f"--validation={VALIDATION}"]
    note(f"fitting the {', '.join(FAMILIES)} ...")
    with _processes() as pool:
        fits = {
            pool.submit(_fit, _folder(folder, name), [*given.split(), *own]): name
            for name, given in FAMILIES.items()
        }
        for fit in as_completed(fits):
            note(f"{fits[fit]}: {fit.result()}")
    trained = {name: _trained(folder, name, options) for name in FAMILIES}
    data = _some(trained["VAE"])
    shown = [_pictured(name, model) for name, model in trained.items()]
    plots.save(families(data, shown), folder / PICTURE)
    runs = [str(_folder(folder, name)) for name in FAMILIES]
    how = [*COMPARISON.split(), f"--seed={options.seed}", f"--out={folder / TABLE}", "--overwrite"]
    how += [] if options.seeds is None else [f"--seeds={options.seeds}"]
    note("comparing them ...")
    torch.set_num_threads(1)  # as for the fits: threads would wait for each other
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


@contextmanager
def _processes() -> Iterator[Executor]:
    """Yield as many processes as torch has threads: a fit's steps are too small for a second thread."""
    pool = ProcessPoolExecutor(
        min(torch.get_num_threads(), len(FAMILIES)),
        multiprocessing.get_context("spawn"),
        torch.set_num_threads,
        (1,),
    )
    try:
        yield pool
    finally:  # after an error the fits that have not begun never do
        pool.shutdown(cancel_futures=True)


def _fit(folder: Path, words: Sequence[str]) -> str:
    """Fit a family, or go on where its fit was interrupted, and return the verdict."""
    config = FitConfig.read(words)
    data = config.load_data()
    config, _ = config.completed(data)
    if (folder / CONFIG).exists() and (folder / CONFIG).read_text() != config.to_yaml():
        raise _holds_others(folder.parent)
    with redirect_stderr(io.StringIO()):  # the bars of several fits would share a line
        if (folder / CHECKPOINT).exists():
            return resume_run(folder, ["--epochs", str(config.options.epochs)])[2].verdict
        return train(folder, config, data)[1].verdict


def _trained(folder: Path, name: str, options: Namespace) -> TrainedModel:
    """Return the model of a family, with the held-out digits."""
    run, device = open_run(_folder(folder, name)), resolve(options.device)
    data = run.load_data()
    return TrainedModel(run.load_program(data, device), data, data.test, device, options.seed)


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


def _some(trained: TrainedModel) -> Tensor:
    """Return some held-out digits."""
    return trained.split.read(trained.random_rows(NUM_SAMPLES))
