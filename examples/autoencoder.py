"""The baseline without probability: it reconstructs better than a VAE, and that is all it does."""

import argparse

import torch

from pyro_vae import InputError, fit, load, log_evidence, reconstructions
from pyro_vae.models import VAE, Autoencoder

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="a second or two, to see that it runs")
smoke = parser.parse_args().smoke

digits = load("digits", binarize="threshold")
test = digits.splits["test"]
x = test.read(torch.arange(len(test)))
for kind in (Autoencoder, VAE):
    torch.manual_seed(0)
    model = kind((1, 8, 8), 8)
    fit(model, digits, epochs=2 if smoke else 15, progress=False)
    made = reconstructions(model, x, seed=0)["x"].mean
    print(f"{kind.__name__}: {(made - x).abs().mean():.3f} off a pixel", end="; ")
    try:
        evidence = log_evidence(model, test, num_particles=10 if smoke else 50, seed=0)
        print(f"log p(x) = {evidence.mean:.2f} nats a digit")
    except InputError as refusal:
        print(f"log p(x): {refusal}")
