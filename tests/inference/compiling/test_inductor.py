"""Code by Inductor, and its cache."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import torch
from torch._dynamo.utils import counters
from pyro_vae.inference.compiling.fx_capture import capture
from pyro_vae.inference.compiling.inductor import by_inductor

x = torch.arange(3.0)
graph = capture(lambda x: ((x.exp() + 1).log(),), x)
torch.testing.assert_close(by_inductor(graph, x)(x)[0], (x.exp() + 1).log())
print(counters["inductor"]["fxgraph_cache_hit"])
"""


def cache_hits(cache: Path) -> str:
    """How often Inductor found code in its cache, in a process of its own."""
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache)}
    child = subprocess.run(
        [sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    return child.stdout.strip()


@pytest.mark.slow
def test_code_is_found_again_and_a_killed_process_breaks_nothing(tmp_path: Path) -> None:
    assert cache_hits(tmp_path) == "0"
    assert cache_hits(tmp_path) == "1"
    libraries = list(tmp_path.rglob("*.main.so"))
    assert libraries
    for library in libraries:
        library.write_bytes(b"")  # as a killed compiler leaves it
    cache_hits(tmp_path)
    assert all(library.stat().st_size for library in libraries)
