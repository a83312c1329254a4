import os

# Nothing here is large enough for a second thread, and on a busy machine two wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pyro
import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skips = {
        "gpu": (not torch.cuda.is_available(), "needs a CUDA device"),
        "data": ("PYRO_VAE_DATA" not in os.environ, "needs PYRO_VAE_DATA"),
    }
    for item in items:
        for marker, (missing, reason) in skips.items():
            if missing and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _same_start() -> None:
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
