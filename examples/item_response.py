"""Estimate traits from a questionnaire where a third of the answers are missing."""

import argparse
from functools import partial

import torch

from pyro_vae import fit, log_evidence, plots, posterior
from pyro_vae.item_models import OneParameter, TwoParameter
from pyro_vae.models import ItemResponse

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="run for a second or two only")
smoke = parser.parse_args().smoke

torch.manual_seed(0)
trait = torch.randn(1000, 1)  # of 1,000 people
threshold, discrimination = torch.linspace(-2, 2, 24), 0.3 + 2 * torch.rand(24)
x = torch.bernoulli(torch.sigmoid(trait * discrimination - threshold))
x[torch.rand(x.shape) < 1 / 3] = torch.nan

adam = partial(torch.optim.Adam, lr=5e-3)
for name, items in {"1PL": OneParameter, "2PL": TwoParameter}.items():
    model = ItemResponse((24,), item=items)
    fit(model, x, epochs=2 if smoke else 60, optimizer=adam, progress=False)
    evidence = log_evidence(model, x, num_particles=10 if smoke else 200, seed=0)
    means = posterior(model, x, num_draws=10 if smoke else 200, seed=0).means["z"]
    correlation = torch.corrcoef(torch.stack([means[:, 0], trait[:, 0]]))[0, 1]
    print(
        f"{name}: log p(x) {evidence.mean:.3f} ± {evidence.sampling_error:.3f} nats a person; "
        f"correlation with the true traits {correlation:.3f}"
    )
correlation = torch.corrcoef(torch.stack([model.item.threshold, threshold]))[0, 1]
print(f"2PL: correlation with the true thresholds {correlation:.3f}")
z = torch.linspace(-3, 3, 61)
information = model.item.information(z)
print(f"the test tells most of people with a trait of {z[information.sum(-1).argmax()]:.1f}")
if not smoke:
    plots.save(plots.item_information(z, information), "information.png")
