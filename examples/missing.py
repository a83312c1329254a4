"""Images of which half of the pixels were never seen: filled in, with an error bar on every pixel."""

import argparse
from functools import partial
from pathlib import Path

import torch

from pyro_vae import fit, impute, load, plots
from pyro_vae.likelihoods import Missing, Normal
from pyro_vae.models import VAE
from pyro_vae.networks import MaskedInput

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="a second or two, to see that it runs")
parser.add_argument(
    "--out", help="a picture to write, of what was there and what is made of the rest"
)
options = parser.parse_args()

torch.manual_seed(0)
digits = load("digits")
train, test = (digits.splits[name] for name in ("train", "test"))
x, truth = (split.read(torch.arange(len(split))) for split in (train, test))
x, seen = (torch.where(torch.rand(rows.shape) < 0.5, torch.nan, rows) for rows in (x, truth))

vae = VAE((1, 8, 8), 8, likelihood=partial(Missing, likelihood=Normal), encoder=MaskedInput)
adam = partial(torch.optim.Adam, lr=3e-3)
fit(vae, x, epochs=3 if options.smoke else 80, optimizer=adam, progress=False)
found = impute(vae, seen, num_particles=20 if options.smoke else 300, seed=0)

missing = seen.isnan()
average = torch.where(missing, x.nanmean(0), seen)
for name, filled in {"each pixel's mean": average, "VAE": found.mean}.items():
    error = (filled - truth)[missing].square().mean().sqrt()
    print(f"{name:<18} root mean square error {error:.3f}")
low, _, high = found.quantiles
covered = ((low <= truth) & (truth <= high))[missing].float().mean()
print(f"{covered:.0%} of the missing pixels lie in their 90% intervals")
if options.out:
    plots.save(plots.reconstructions(seen[:10].nan_to_num(0.5), found.mean[:10]), Path(options.out))
