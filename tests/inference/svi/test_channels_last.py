"""Convolutions compute channels last, in Python and in a graph, whatever the tracer thinks of strides."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae import fit
from pyro_vae.models import VAE
from pyro_vae.networks import ConvDecoder, ConvEncoder

X = (torch.rand(64, 1, 12, 12, generator=torch.Generator().manual_seed(0)) > 0.6).float()
CHANNELS = (8, 16)


def trained(mode: str, **options: Any) -> tuple[VAE, tuple[str, ...]]:
    torch.manual_seed(0)
    encoder = partial(ConvEncoder, channels=CHANNELS, activation=nn.Softplus)
    decoder = partial(ConvDecoder, channels=CHANNELS[::-1], activation=nn.Softplus)
    vae = VAE((1, 12, 12), 3, encoder=encoder, decoder=decoder)
    options = {"epochs": 3, "batch_size": 32, "seed": 1, "progress": False, **options}
    result = fit(vae, X, compile=mode, **options)
    return vae, result.notes


def filters(vae: VAE) -> list[Tensor]:
    return [p for p in vae.parameters() if p.dim() == 4 and p.shape[1] > 1]


def test_a_step_is_a_graph_and_keeps_the_layout() -> None:
    compiled, notes = trained("on")
    plain, _ = trained("off")
    assert "compiled by Inductor" in notes[0]
    for ours, theirs in zip(compiled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    for vae in (compiled, plain):
        assert filters(vae)
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in filters(vae))


def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    trained("off", epochs=1, out=tmp_path / "run")
    resumed, _ = trained("off", out=tmp_path / "run", resume=True)
    whole, _ = trained("off")
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()
