"""What the compiled step costs before it saves anything, with Inductor's cache empty and with it full.

The demo's model and data; each figure is of a process of its own and of a shape of batch.

    python benchmarks/start_up.py
"""

import os
import subprocess
import sys
import tempfile

from pyro_vae import fit, load
from pyro_vae.models import VAE


def prepared() -> None:
    """Prints how the step is run, and what it took to make it."""
    digits = load("digits", binarize="stochastic")
    program = VAE(digits.event_shape, 10)
    result = fit(program, digits.train, epochs=1, compile="on", device="cpu", progress=False)
    print("; ".join(result.notes))


def main() -> None:
    if "--child" in sys.argv:
        prepared()
        return
    with tempfile.TemporaryDirectory() as cache:
        for state in ("empty", "full", "full"):
            child = subprocess.run(
                [sys.executable, __file__, "--child"],
                env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            print(f"cache {state}: {child.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
