"""Compare an autoencoder with a VAE: it reconstructs better, but has no evidence."""

import argparse

import torch

from pyro_vae import InputError, fit, load, log_evidence, posterior
from pyro_vae.inference import Guide
from pyro_vae.models import VAE, Autoencoder

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="run for a second or two only")
smoke = parser.parse_args().smoke

digits = load("digits", binarize="threshold")
test = digits.splits["test"]
x = test.read(torch.arange(len(test)))
for kind in (Autoencoder, VAE):
    torch.manual_seed(0)
    model = kind((1, 8, 8), 8)
    fit(model, digits, epochs=2 if smoke else 15, progress=False)
    codes = posterior(model, x, method=Guide(), num_draws=1, seed=0)
    reconstructed = codes.reconstructions()["x"]
    error = (reconstructed - x).abs().mean()
    print(f"{kind.__name__}: mean absolute error {error:.3f} a pixel", end="; ")
    try:
        evidence = log_evidence(model, test, num_particles=10 if smoke else 50, seed=0)
        print(f"log p(x) = {evidence.mean:.2f} nats a digit")
    except InputError as refusal:
        print(f"log p(x): {refusal}")
