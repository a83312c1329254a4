"""Which of Pyro's own example programs does `fit` compile, and why not the others?

The examples are Pyro's and not part of this repository: say where they lie. Networks and data are
small, for the question is not how fast they are.

    git clone https://github.com/pyro-ppl/pyro
    python benchmarks/pyro_examples.py pyro/examples
"""

import argparse
import importlib
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pyro
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, config_enumerate
from torch import Tensor, nn
from torch.optim import Adam

from pyro_vae import InputError, fit
from pyro_vae._torchvision import torchvision
from pyro_vae.inference import compile

ROWS, BATCH = 64, 32
Case = tuple[str, Any, Any, dict[str, Any]]


def vae(module: Callable[..., Any]) -> Iterator[Case]:
    x = torch.rand(ROWS, 784)
    yield "VAE", module("vae", "vae").VAE(z_dim=5, hidden_dim=20), x, {}


def cvae(module: Callable[..., Any]) -> Iterator[Case]:
    y = torch.rand(ROWS, 28, 28)
    x = y.clone()
    x[:, :14] = -1.0  # the half to be filled in
    baseline = nn.Sequential(nn.Flatten(), nn.Linear(784, 784), nn.Sigmoid()).requires_grad_(False)
    yield "conditional VAE", module("cvae", "cvae").CVAE(5, 20, 20, baseline), (x, y), {}


def ss_vae(module: Callable[..., Any]) -> Iterator[Case]:
    x, y = torch.rand(ROWS, 784), nn.functional.one_hot(torch.arange(ROWS) % 10).float()
    make = partial(module("vae", "ss_vae_M2").SSVAE, z_dim=5, hidden_layers=[20])
    elbo = partial(TraceEnum_ELBO, max_plate_nesting=1)
    for kind in ("parallel", "sequential"):
        story = make(config_enum=kind)
        pair = (story.model, config_enumerate(story.guide, kind, expand=True))
        yield f"semi-supervised, unlabelled, {kind}", pair, x, {"elbo": elbo()}
    yield "semi-supervised, labelled", make(), (x, y), {"elbo": elbo()}
    story = make(aux_loss_multiplier=46)
    pair = (story.model_classify, story.guide_classify)
    yield "semi-supervised, classifier", pair, (x, y), {}


def dmm(module: Callable[..., Any]) -> Iterator[Case]:
    """The example packs its sequences for the recurrent network; here each step does."""
    steps, poly = 6, module("", "dmm").poly
    story = module("", "dmm").DMM(z_dim=5, emission_dim=8, transition_dim=8, rnn_dim=8)
    x = (torch.rand(ROWS, steps, 88) > 0.8).float()

    def packed(x: Tensor, lengths: Tensor) -> tuple[Any, ...]:
        lengths, index = lengths.sort(descending=True)
        backwards = poly.reverse_sequences(x[index], lengths)
        pack = nn.utils.rnn.pack_padded_sequence(backwards, lengths, batch_first=True)
        return x[index], pack, poly.get_mini_batch_mask(x, lengths), lengths

    def ragged(part: Callable[..., Any]) -> Callable[[Tensor, Tensor], None]:
        return lambda x, lengths: part(*packed(x, lengths))

    lengths = torch.arange(ROWS) % 3 + steps - 2
    yield "deep Markov model", (ragged(story.model), ragged(story.guide)), (x, lengths), {}

    def of_one_length(part: Callable[..., Any]) -> Callable[[Tensor], None]:
        return lambda x: part(*packed(x, torch.full((len(x),), steps)))

    pair = (of_one_length(story.model), of_one_length(story.guide))
    yield "deep Markov model, one length", pair, x, {}


def air(module: Callable[..., Any]) -> Iterator[Case]:
    make = partial(
        module("air", "air").AIR, num_steps=2, x_size=12, window_size=6, z_what_size=3,
        rnn_hidden_size=8, encoder_net=[8], decoder_net=[8], predict_net=[8], bl_predict_net=[8],
    )  # fmt: skip
    x = torch.rand(ROWS, 12, 12)
    for name, elbo in (("baselines", TraceGraph_ELBO()), ("no baselines", Trace_ELBO())):
        story = make(use_baselines=isinstance(elbo, TraceGraph_ELBO))
        if isinstance(elbo, Trace_ELBO):
            for unused in (story.bl_rnn, story.bl_predict, story.bl_embed):
                unused.requires_grad_(False)
        pair = tuple(partial(whole_batch, part) for part in (story.model, story.guide))
        yield f"attend, infer, repeat, {name}", pair, x, {"elbo": elbo}


def whole_batch(part: Callable[..., Any], x: Tensor) -> None:
    part(x, batch_size=None)


def importer(examples: Path) -> Callable[[str, str], types.ModuleType]:
    """Imports an example; what draws its plots and loads its data need not be installed."""
    for name in ("visdom", "utils.mnist_cached", "utils.vae_plots"):
        sys.modules[name] = MagicMock()

    def module(folder: str, name: str) -> types.ModuleType:
        sys.path.insert(0, str(examples / folder))
        try:
            return importlib.import_module(name)
        finally:
            del sys.path[0]

    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("examples", type=Path, help="the folder `examples` of Pyro's repository")
    module = importer(parser.parse_args().examples)
    warnings.simplefilter("ignore")
    torchvision()  # Pyro's examples import it
    compile.WORTH_A_GRAPH = compile.WORTH_INDUCTOR = 0  # however short the run
    for example in (vae, cvae, ss_vae, dmm, air):
        torch.manual_seed(0)
        for name, program, data, options in example(module):
            pyro.clear_param_store()
            try:
                result = fit(
                    program, data, epochs=1, batch_size=BATCH, device="cpu", progress=False,
                    optimizer=partial(Adam, lr=1e-4), compile="auto", **options,
                )  # fmt: skip
                said = result.notes[0]
            except InputError as error:
                said = str(error)
            print(f"{name:40s} {said}", flush=True)


if __name__ == "__main__":
    main()
