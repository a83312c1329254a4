"""No GPU is needed to see that nothing is made on the wrong device, and that the host never waits.

Every composition of the shelf, every part and objective take a step of SVI on fake CUDA tensors; a tile's
weights are drawn, and chains annealed. A fake tensor has a shape, a type and a device, and no values.

What a run does once is prepared on the CPU, and waits on a GPU: the examination of a program, and of each
tile's rows; the sizes of parts; an epoch's metrics, and a tile's estimates when they are read.
"""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from broken_on_devices import BROKEN
from device_audit import pretended_cuda
from every_objective import OBJECTIVES

from pyro_vae.inference import objectives
from pyro_vae.inference.objectives import Objective

RUN = Path(__file__).parent / "device_audit" / "run.py"
ON_THE_CPU = {  # tensors that are made there all the same
    "pyro/poutine/subsample_messenger.py sample: arange": "a plate numbers its units; nobody reads them",
    "pyro_vae/program/vmap.py map_runs: arange": "runs are numbered; nothing of the program is computed "
    "with the numbers",
}
BY_VMAP = {  # of programs that it runs
    f"{place}: mul with a number of the CPU": "vmap makes a tensor of a Python number"
    for place in ("pyro_vae/program/log_prob.py normal", "torch")
}
NUMBER = "pyro/distributions/distribution.py __call__: copy from cpu to cuda"
WAITS = {  # what cannot be avoided, by group and subject
    **{
        ("steps of models", name): {
            "pyro/infer/util.py compute_expectation: _local_scalar_dense": "in Python, Pyro's "
            "TraceEnum_ELBO asks whether all values have a probability; a graph does not ask",
            "pyro/util.py warn_if_nan: _local_scalar_dense": "in Python, it looks for NaN, too",
        }
        for name in ("MixtureVAE", "SemiSupervisedVAE")
    },
    **{
        (group, f"guide made for {name}"): {
            NUMBER: "Pyro's Student t makes a tensor of the number 1/2"
        }
        for group in ("steps of models", "weights", "annealing")
        for name in ("groups", "columns")
    },
    ("steps of parts and objectives", "StudentT"): {
        NUMBER: "torch's StudentT makes a tensor of the number 1/2"
    },
    ("steps of parts and objectives", "sphere"): {
        "pyro_vae/distributions/sphere.py <genexpr>: copy from cpu to cuda": "the nodes of a quadrature, "
        "which NumPy knows"
    },
    ("weights", "wider"): {
        "pyro_vae/inference/evidence/proposals.py _mean: _local_scalar_dense": "a guide without a finite "
        "mean is refused"
    },
    ("weights", "refined"): {
        "pyro_vae/inference/evidence/proposals.py is_rebuilt: _local_scalar_dense": "once for each tile, "
        "a site that its parameters do not make up is refused"
    },
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reason = pretended_cuda.why_not()
    if reason:
        pytest.skip(reason)
    base = tmp_path_factory.getbasetemp()  # of a worker, within that of all workers
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return pretended_cuda.build(shared / "pretended_cuda")


def audited(library: Path, group: str, *names: str) -> dict[str, Any]:
    command = [sys.executable, str(RUN), str(library), group, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def unexpected(group: str, name: str, found: dict[str, Any]) -> list[str]:
    """Return what a subject did that it should not."""
    if "refused" in found:
        return []

    def unknown(places: Iterable[str], known: dict[str, str]) -> list[str]:
        return [f"{name}: {place}" for place in places if place not in known]

    return [
        *([f"{name}: {found['error']}"] if found["error"] else []),
        *unknown(found["waits"], WAITS.get((group, name), {})),
        *unknown(found["misplaced"], ON_THE_CPU | (BY_VMAP if "by vmap" in name else {})),
    ]


GROUPS = ("steps of models", "steps of parts and objectives", "weights", "annealing")


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_nothing_is_misplaced_and_the_host_never_waits(library: Path, group: str) -> None:
    report = audited(library, group)
    found = [line for name, each in report.items() for line in unexpected(group, name, each)]
    assert not found, "\n".join(found)
    for (of_group, name), places in WAITS.items():  # the list above holds nothing that is mended
        assert of_group != group or places.keys() <= report[name]["waits"].keys()
    assert sum("refused" not in each for each in report.values()) > 0.8 * len(report)


def test_every_objective_is_audited() -> None:
    exported = [getattr(objectives, name) for name in objectives.__all__]
    kinds = {kind for kind in exported if isinstance(kind, type) and issubclass(kind, Objective)}
    assert {type(elbo) for elbo in OBJECTIVES} == {k for k in kinds if not inspect.isabstract(k)}


def test_the_audit_finds_each_fault(library: Path) -> None:
    report = audited(library, "broken")
    assert not unexpected("broken", "ScaleOnDevice", report.pop("ScaleOnDevice"))
    assert report.keys() == {kind.__name__ for kind in BROKEN}
    for name in ("TensorOfTheCPU", "NumberOfTheCPU"):
        assert "FakeTensorDeviceMismatchError" in report[name]["error"]
    program, waits = (
        "tests/broken_on_devices.py scale: ",
        {n: r["waits"] for n, r in report.items()},
    )
    assert waits["CopiedNumber"][f"{program}copy from cpu to cuda"] == 2  # steps
    assert waits["ReadsAValue"][f"{program}_local_scalar_dense"] == 2
    assert waits["BranchesOnAValue"][f"{program}_local_scalar_dense"] == 2
    assert waits["PicksByAMask"][f"{program}index"] >= 1
