"""Do clinics differ? Compare regressions with and without an effect of the clinic by their evidence."""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyro_vae import fit, load, log_evidence, render_model

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="run for a second or two only")
parser.add_argument("--out", help="a picture to write: the model and its guide")
options = parser.parse_args()


class Visits(nn.Module):
    """Model counts: visits ~ Poisson(exp(a_group + x w)), a, w ~ Normal(0, I); one group shares a."""

    def __init__(self, num_columns: int, num_groups: int) -> None:
        super().__init__()
        self.num_groups, size = num_groups, num_groups + num_columns
        self.loc, self.factor = nn.Parameter(torch.zeros(size)), nn.Parameter(torch.eye(size) / 10)

    def model(self, x: Tensor, group: Tensor, y: Tensor) -> None:
        effects = pyro.sample("effects", dist.Normal(torch.zeros(len(self.loc)), 1.0).to_event(1))
        a, w = effects[: self.num_groups], effects[self.num_groups :]
        with pyro.plate("people", len(x)):
            log_rate = a[group % self.num_groups] + x @ w
            pyro.sample("visits", dist.Poisson(log_rate.exp()), obs=y)

    def guide(self, x: Tensor, group: Tensor, y: Tensor) -> None:
        factor = self.factor.tril()
        covariance = factor @ factor.T + 1e-6 * torch.eye(len(factor))
        pyro.sample("effects", dist.MultivariateNormal(self.loc, covariance))


rng, clinic = np.random.default_rng(0), np.arange(300) % 3
table = pd.DataFrame(rng.normal(size=(300, 2)), columns=["age", "income"])
rate = np.exp(np.array([0.0, 0.4, -0.2])[clinic] + 0.5 * table["age"] - 0.3 * table["income"])
table["clinic"], table["visits"] = np.array(["north", "south", "west"])[clinic], rng.poisson(rate)
with tempfile.TemporaryDirectory() as folder:
    table.to_csv(f"{folder}/people.csv", index=False)
    columns = {"x": ["age", "income"], "group": "clinic", "y": "visits"}
    people = load(f"{folder}/people.csv", arguments=columns, validation=0)
print(people.describe().splitlines()[-1].strip())

adam = partial(torch.optim.Adam, lr=0.01)
epochs, particles = (5, 100) if options.smoke else (1500, 2000)
for name, num_groups in (("with an effect of the clinic", 3), ("without", 1)):
    model = Visits(2, num_groups)
    lr_schedule = partial(CosineAnnealingLR, T_max=epochs)
    fit(model, people, epochs=epochs, optimizer=adam, lr_schedule=lr_schedule, progress=False)
    evidence = log_evidence(model, people.train, num_particles=particles, seed=0)
    error = evidence.mean_standard_error
    print(f"log p(visits | the rest) {name:<30}{evidence.mean:9.2f} ± {error:.2f}")
    if options.out and num_groups > 1:
        rows = tuple(rows[:8] for rows, _ in people.train.inputs())
        render_model(model, rows, filename=Path(options.out))
