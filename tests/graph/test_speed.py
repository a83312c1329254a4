"""Sizes do not matter, as nothing of real size is computed (benchmarks/graph.py shows the times)."""

from functools import partial

import torch

from pyro_vae.graph import render_model
from pyro_vae.models import VAE
from pyro_vae.networks import MLP


def test_a_network_larger_than_memory_is_drawn() -> None:
    with torch.device("meta"):
        wide = partial(MLP, hidden_dims=(4096,))
        vae = VAE((3, 2048, 2048), 64, encoder=wide, decoder=wide)  # 10^11 weights
    x = torch.zeros(()).expand(10**6, 3, 2048, 2048)
    edges = render_model(vae, (x,)).to_dict()["model"]["edges"]
    assert ["z", "x"] in edges
