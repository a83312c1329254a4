"""Compare one and two layers of latents by their evidence on test digits."""

import argparse
from functools import partial
from pathlib import Path

import pyro
import torch

from pyro_vae import fit, load, log_evidence, plots, prior_samples
from pyro_vae.guides import Ladder
from pyro_vae.models import VAE, HierarchicalVAE
from pyro_vae.networks import MLP

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="run for a second or two only")
parser.add_argument("--out", help="a picture to write: draws from each model")
options = parser.parse_args()

digits = load("digits", binarize="stochastic")
epochs = 1 if options.smoke else 120
between = partial(MLP, hidden_dims=(100,))
models = {
    "one layer": partial(VAE, (1, 8, 8), 16),
    "two layers, bottom-up guide": partial(HierarchicalVAE, (1, 8, 8), (16, 8), between=between),
    "two layers, ladder guide": partial(
        HierarchicalVAE, (1, 8, 8), (16, 8), guide=Ladder, between=between
    ),
}
samples = []
for name, make in models.items():
    pyro.set_rng_seed(0)
    model = make()
    fit(model, digits, epochs=epochs, kl_warmup=epochs / 3, batch_size=64, progress=False)
    particles = 2 if options.smoke else 500
    evidence = log_evidence(model, digits.test, num_particles=particles, seed=0)
    print(f"{name:<28} {evidence.mean:8.3f} ± {evidence.sampling_error:.3f} nats a digit")
    samples.append(
        prior_samples(model, torch.zeros(16, 1, 8, 8), num_draws=1, seed=0).means["x"][0]
    )
if options.out:
    caption = f"16 means each of p(x | z): {'; '.join(models)}"
    plots.save(plots.samples(torch.cat(samples), caption=caption), Path(options.out))
