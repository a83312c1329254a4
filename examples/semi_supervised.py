"""Classify digits from 30 labels: from these alone, and with 1,367 digits without a label."""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from pyro_vae import fit, load, log_evidence, plots
from pyro_vae.likelihoods import FixedScaleNormal
from pyro_vae.models import SemiSupervisedVAE
from pyro_vae.networks import MLP

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="run for a second or two only")
parser.add_argument("--out", help="a picture to write: draws from each class")
options = parser.parse_args()
epochs, steps, draws, particles = (1, 5, 1, 2) if options.smoke else (40, 300, 3, 100)

small = partial(MLP, hidden_dims=(100,))
parts = {"encoder": small, "decoder": small, "head": small}
likelihood = partial(
    FixedScaleNormal, scale=0.4
)  # coarse, because the shape matters, not each grey value
for seed in range(draws):
    digits = load("digits").with_labels_of(30, seed=seed)  # the others are -1
    x, y = digits.test.read(), digits.test.labels
    torch.manual_seed(seed)
    has_label = digits.train.labels >= 0
    supervised = MLP((1, 8, 8), (10,))
    adam = torch.optim.Adam(supervised.parameters(), lr=1e-3)
    for _ in range(steps):
        adam.zero_grad()
        logits = supervised(digits.train.read()[has_label])
        cross_entropy(logits, digits.train.labels[has_label]).backward()
        adam.step()
    model = SemiSupervisedVAE((1, 8, 8), 4, num_classes=10, likelihood=likelihood, **parts)
    fit(model, digits, epochs=epochs, batch_size=64, progress=False)
    from_labels, from_all = (
        (scores.argmax(-1) == y).double().mean() for scores in (supervised(x), model.classify(x))
    )
    print(f"accuracy: {from_labels:.1%} from the labels alone, {from_all:.1%} with the others")

for name, labels in (("log p(x, y)", y), ("log p(x)", torch.full_like(y, -1))):
    evidence = log_evidence(model, (x, labels), num_particles=particles, seed=0)
    print(f"{name:<12} {evidence.mean:8.2f} ± {evidence.sampling_error:.2f} nats a digit")
if options.out:
    with torch.no_grad():
        means = model.decode(torch.randn(100, 4), torch.arange(10).repeat_interleave(10)).mean
    plots.save(plots.samples(means, caption="draws of each class"), Path(options.out))
