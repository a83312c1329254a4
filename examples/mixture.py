"""Cluster digits without labels, and compare the clusters with the classes."""

import argparse
from pathlib import Path

import torch
from sklearn.metrics import normalized_mutual_info_score

from pyro_vae import fit, load, log_evidence, plots
from pyro_vae.models import VAE, MixtureVAE

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="run for a second or two only")
parser.add_argument("--out", help="a picture to write: draws from each cluster")
options = parser.parse_args()

torch.manual_seed(0)
digits = load("digits", binarize="stochastic")
epochs, particles = (1, 2) if options.smoke else (120, 500)
for name, model in (
    ("standard normal", VAE((1, 8, 8), 8)),
    ("mixture of 20", MixtureVAE((1, 8, 8), 8, 20)),
):
    fit(model, digits, epochs=epochs, batch_size=64, progress=False)
    evidence = log_evidence(model, digits.test, num_particles=particles, seed=0)
    print(f"{name:<16} {evidence.mean:8.2f} ± {evidence.sampling_error:.2f} nats a digit")

x, y = digits.test.read(), digits.test.labels
cluster = model.clusters(x).argmax(-1)
counts = torch.zeros(20, 10).index_put((cluster, y), torch.ones(len(y)), accumulate=True)
print(f"{int((counts.sum(1) > 0).sum())} clusters are used")
print(f"{counts.amax(1).sum() / len(y):.1%} of the digits have their cluster's commonest class")
print(f"normalised mutual information {normalized_mutual_info_score(y, cluster):.2f}")
if options.out:
    with torch.no_grad():
        k = model.logits.argsort(descending=True)[:10].repeat_interleave(10)
        means = model.likelihood(model.component(k).sample()).mean
    caption = "draws from the ten largest clusters, one per row"
    plots.save(plots.samples(means, caption=caption), Path(options.out))
