"""Model digits by eight codes each: a VQ-VAE with a learned prior, and its evidence."""

import argparse
from functools import partial
from pathlib import Path

import torch

from pyro_vae import fit, load, log_evidence, plots, prior_samples
from pyro_vae.models import VQVAE

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="run for a second or two only")
parser.add_argument("--out", help="a picture to write: draws")
options = parser.parse_args()

torch.manual_seed(0)
digits = load("digits", binarize="threshold")
model = VQVAE((1, 8, 8), num_positions=8, num_codes=32)
epochs = 1 if options.smoke else 25
adam = partial(torch.optim.Adam, lr=2e-3)
fit(model, digits, epochs=epochs, kl_warmup=epochs / 2, optimizer=adam, progress=False)

test = digits.splits["test"]
codes = model.quantise(test.read(torch.arange(len(test)))).sample().argmax(-1)
print(f"{len(codes.unique())} of 32 codes are in use")
evidence = log_evidence(model, test, num_particles=10 if options.smoke else 50, seed=0)
print(f"log p(x) = {evidence.mean:.2f} ± {evidence.sampling_error:.2f} nats a digit")
if options.out:
    draws = prior_samples(model, torch.zeros(64, 1, 8, 8), num_draws=1, seed=0).means["x"][0]
    plots.save(plots.samples(draws, caption="64 draws of codes"), Path(options.out))
