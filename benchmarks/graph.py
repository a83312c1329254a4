"""How long a diagram takes, from the program to SVG, after the import and in a process of its own.

python benchmarks/graph.py
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from gallery import GALLERY, VAE

from pyro_vae.graph import ModelGraph, render_model
from pyro_vae.networks import MLP


def measure(name: str, draw: Callable[[], ModelGraph]) -> None:
    started = time.perf_counter()
    draw().render("svg")
    print(f"{name:50s}{time.perf_counter() - started:8.3f} s")


def main() -> None:
    with torch.device("meta"):  # 200 million weights, without their memory
        wide = partial(MLP, hidden_dims=(512,))
        large = VAE((3, 256, 256), 64, encoder=wide, decoder=wide)
    x = torch.zeros(()).expand(1024, 3, 256, 256)
    measure("VAE", GALLERY["vae"])
    measure("VAE of 200 million weights on 1024x3x256x256", lambda: render_model(large, (x,)))
    measure("40 sites", GALLERY["forty_sites"])


if __name__ == "__main__":
    main()
