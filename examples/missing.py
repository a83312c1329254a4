"""Fill in images where half of the pixels are missing, with an interval for every pixel."""

import argparse
from functools import partial
from pathlib import Path

import torch

from pyro_vae import fit, load, plots, posterior
from pyro_vae.likelihoods import Missing, Normal
from pyro_vae.models import VAE
from pyro_vae.networks import MaskedInput

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--smoke", action="store_true", help="run for a second or two only")
parser.add_argument("--out", help="a picture to write: the observed pixels, and the filled images")
options = parser.parse_args()

torch.manual_seed(0)
digits = load("digits")
train, test = (digits.splits[name] for name in ("train", "test"))
x, truth = (split.read(torch.arange(len(split))) for split in (train, test))
x, observed = (torch.where(torch.rand(rows.shape) < 0.5, torch.nan, rows) for rows in (x, truth))

vae = VAE((1, 8, 8), 8, likelihood=partial(Missing, likelihood=Normal), encoder=MaskedInput)
adam = partial(torch.optim.Adam, lr=3e-3)
fit(vae, x, epochs=3 if options.smoke else 80, optimizer=adam, progress=False)
found = posterior(vae, observed, num_draws=20 if options.smoke else 300, seed=0)
imputed = found.impute(seed=0)

missing = observed.isnan()
mean_of_pixel = torch.where(missing, x.nanmean(0), observed)
for name, filled in {"mean of the pixel": mean_of_pixel, "VAE": imputed.mean}.items():
    error = (filled - truth)[missing].square().mean().sqrt()
    print(f"{name:<18} root mean square error {error:.3f}")
low, _, high = imputed.quantiles
covered = ((low <= truth) & (truth <= high))[missing].float().mean()
print(f"{covered:.0%} of the missing pixels lie in their 90% intervals")
if options.out:
    picture = plots.reconstructions(observed[:10].nan_to_num(0.5), imputed.mean[:10])
    plots.save(picture, Path(options.out))
