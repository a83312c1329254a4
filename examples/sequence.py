"""Compare a linear and a deep state space model of a chaotic series, observed with noise."""

import argparse
from functools import partial

import torch

from pyro_vae import fit, log_evidence
from pyro_vae.likelihoods import Normal
from pyro_vae.models import DeepMarkov, StateSpace

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="run for a second or two only")
smoke = parser.parse_args().smoke

torch.manual_seed(0)
count, steps = (40, 5) if smoke else (400, 8)
state = torch.rand(count)
series = []
for _ in range(steps + 20):  # the first 20 are dropped
    state = 1 - 1.8 * state.square() + 0.05 * torch.randn(count)  # a logistic map
    state = state.clamp(-1.5, 1.5)
    series.append(state)
x = torch.stack(series[20:], 1) + 0.1 * torch.randn(count, steps)
lengths = torch.randint(steps // 2, steps + 1, (count,))  # sequences of different lengths

adam = partial(torch.optim.Adam, lr=1e-2)
linear = StateSpace((steps,), 2)
deep = DeepMarkov((steps,), 2, likelihood=partial(Normal, initial_scale=0.3), hidden_dim=32)
for model, method, epochs in ((linear, "exact", 20), (deep, "importance", 60)):
    fit(model, (x, lengths), epochs=1 if smoke else epochs, optimizer=adam, progress=False)
    particles = 10 if smoke else 200
    evidence = log_evidence(model, (x, lengths), method=method, num_particles=particles, seed=0)
    print(f"{type(model).__name__:<10} {evidence.mean:7.3f} nats a sequence, {evidence.method}")
