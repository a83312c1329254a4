"""Compare normalising flows as models of images; their nats compare with any VAE's."""

import argparse
from functools import partial
from pathlib import Path

import torch

from pyro_vae import fit, load, log_evidence, plots, prior_samples
from pyro_vae.flows import Autoregressive, Coupling, Glow
from pyro_vae.models import DequantizedFlow

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="run for a second or two only")
parser.add_argument("--out", help="a picture to write: draws from each flow")
options = parser.parse_args()

digits = load("digits")  # 8x8 pixels of 17 grey levels
flows = {
    "RealNVP": Coupling,
    "MAF": Autoregressive,
    "Glow": partial(Glow, image_shape=(1, 8, 8)),
}
samples = []
for name, flow in flows.items():
    torch.manual_seed(0)
    model = DequantizedFlow((1, 8, 8), flow=flow, levels=17)
    fit(model, digits, epochs=1 if options.smoke else 12, progress=False)
    particles = 2 if options.smoke else 20
    evidence = log_evidence(model, digits.splits["test"], num_particles=particles, seed=0)
    print(
        f"{name:<8} {evidence.mean:8.2f} ± {evidence.sampling_error:.2f} nats a digit, "
        f"{evidence.bits_per_dimension:.3f} bits a pixel"
    )
    samples.append(
        prior_samples(model, torch.zeros(16, 1, 8, 8), num_draws=1, seed=0).predictive["x"][0]
    )
if options.out:
    caption = f"16 draws each of {', '.join(flows)}"
    plots.save(plots.samples(torch.cat(samples), caption=caption), Path(options.out))
