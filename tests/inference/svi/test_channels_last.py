"""Convolutions compute channels last, in Python and in a graph, whatever the tracer thinks of strides."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from controls import GRAPHS
from torch import nn

from pyro_vae import fit
from pyro_vae.models import VAE
from pyro_vae.networks import ConvDecoder, ConvEncoder, ResidualEncoder

X = (torch.rand(64, 1, 12, 12, generator=torch.Generator().manual_seed(0)) > 0.6).float()
CHANNELS = (8, 16)


def story() -> VAE:
    encoder = partial(ConvEncoder, channels=CHANNELS, activation=nn.Softplus)
    decoder = partial(ConvDecoder, channels=CHANNELS[::-1], activation=nn.Softplus)
    return VAE((1, 12, 12), 3, encoder=encoder, decoder=decoder)


OPTIONS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 32,
    "seed": 1,
    "progress": False,
    "control": GRAPHS,  # a graph at once where it is not by Inductor
}


def trained(mode: str) -> tuple[VAE, tuple[str, ...]]:
    torch.manual_seed(0)
    vae = story()
    result = fit(vae, X, compile=mode, **OPTIONS)
    return vae, result.notes


# "on": by Inductor, which compiles for 50 s of a processor on a machine that has compiled nothing yet
MODES = ["auto", pytest.param("on", marks=pytest.mark.slow)]


@pytest.mark.parametrize("mode", MODES)
def test_a_step_is_a_graph_and_keeps_the_layout(mode: str) -> None:
    compiled, notes = trained(mode)
    plain, _ = trained("off")
    assert ("compiled by Inductor" if mode == "on" else "as a graph") in notes[0]
    for ours, theirs in zip(compiled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("encoder", [ConvEncoder, ResidualEncoder])
def test_images_lie_pixel_by_pixel_from_the_first_layer_on(encoder) -> None:
    network, seen = encoder((1, 12, 12), (3,), channels=CHANNELS), []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, inputs, out: seen.append(out))
    network(X)
    assert len(seen) >= len(CHANNELS)
    assert all(image.is_contiguous(memory_format=torch.channels_last) for image in seen)


@pytest.mark.parametrize("mode", ["off", *MODES])
def test_weights_may_lie_channels_last_too(mode: str) -> None:
    torch.manual_seed(0)
    vae = story().to(memory_format=torch.channels_last)
    fit(vae, X, compile=mode, **OPTIONS)
    for ours, theirs in zip(vae.parameters(), trained("off")[0].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_resumed_run_with_weights_channels_last(tmp_path: Path) -> None:
    options = {"batch_size": 32, "seed": 1, "progress": False, "compile": "off"}
    runs = []
    for steps in (
        [{"epochs": 3}],
        [{"epochs": 1, "out": tmp_path}, {"epochs": 3, "out": tmp_path, "resume": True}],
    ):
        for step in steps:
            torch.manual_seed(0)
            vae = story().to(memory_format=torch.channels_last)
            fit(vae, X, **options, **step)
        runs.append(vae)
    for ours, theirs in zip(runs[0].parameters(), runs[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()
