"""Model digits given their class, and write all ten digits in the handwriting of one."""

import argparse
from pathlib import Path

import pyro
import torch

from pyro_vae import fit, load, log_evidence, plots
from pyro_vae.models import VAE, ConditionalVAE

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="run for a second or two only")
parser.add_argument(
    "--out", help="a picture to write: one row per handwriting, one column per class"
)
options = parser.parse_args()

digits = load("digits", binarize="stochastic")
epochs, particles = (1, 2) if options.smoke else (120, 500)
pyro.set_rng_seed(0)
model = ConditionalVAE((1, 8, 8), 8, num_classes=digits.num_classes)
fit(model, digits, epochs=epochs, batch_size=64, progress=False)  # takes x and the labels
unconditional = VAE((1, 8, 8), 8)
fit(unconditional, digits, epochs=epochs, batch_size=64, progress=False)

conditional = log_evidence(model, digits.test, num_particles=particles, seed=0)
marginal = log_evidence(unconditional, digits.test, num_particles=particles, seed=0)
print(f"log p(x | y) {conditional.mean:8.3f} ± {conditional.sampling_error:.3f} nats a digit")
print(f"log p(x)     {marginal.mean:8.3f} ± {marginal.sampling_error:.3f} nats a digit")

# classify a digit by Bayes' rule with a uniform p(y): the y with the largest p(x | y)
x, y = digits.test.read(), digits.test.labels
scores = torch.stack(
    [
        log_evidence(model, (x, torch.full_like(y, label)), num_particles=particles).log_evidence
        for label in range(10)
    ]
)
print(f"p(x | y) classifies {(scores.argmax(0) == y).double().mean():.1%} of {len(y)} test digits")

if options.out:
    with torch.no_grad():
        z = model.recognition(
            torch.cat([model.features(x), model.encode_condition(x, y)], -1)
        ).mean[:10]
        classes = torch.arange(10).expand(10, 10)  # handwriting, class
        means = model.decode(z.unsqueeze(1).expand(10, 10, -1), classes).mean
    plots.save(
        plots.samples(means.flatten(0, 1), caption="one handwriting per row, one class per column"),
        Path(options.out),
    )
