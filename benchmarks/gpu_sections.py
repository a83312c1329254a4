"""The sections of ``gpu.py``: each yields its table's rows. Contestants are those of other benchmarks."""

import math
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import annealing as by_annealing
import evidence as by_evidence
import fit_epoch
import pyro
import svi_step
import torch
from by_hand import HandVAE
from torch.profiler import ProfilerActivity, profile

from pyro_vae.models import VAE

Row = dict[str, Any]
TESTS = Path(__file__).resolve().parent.parent / "tests"
COMPILED = "compiled"  # in the name of a contestant that Inductor compiles
FLOOR = "matrix products alone"
STEPPING = (FLOOR, "fit, compiled", "torch by hand, compiled", "fit, step by step", svi_step.PYRO)
EPOCHS = ("fit, compiled", "torch by hand, compiled", "fit, step by step")
STEPS_IN_A_ROW = 20
OUTCOMES = ("failure", "error", "skipped")
CHUNKS = (2**16, 2**18)  # weights at a time, of those that leave it to us
WAITING = ("Synchronize", "_local_scalar_dense", "aten::nonzero", "Memcpy DtoH", "Memcpy HtoD")
warnings.simplefilter("ignore")


def device(dry: bool) -> str:
    return "cpu" if dry else "cuda"


def without_compiled(names: tuple[str, ...], dry: bool) -> list[str]:
    return [name for name in names if not (dry and COMPILED in name)]


def images(count: int, dry: bool) -> torch.Tensor:
    """Random binary images of MNIST's shape."""
    torch.manual_seed(0)
    return (torch.rand(count, *svi_step.SHAPE) > 0.8).float().to(device(dry))


def tests(dry: bool) -> Iterator[Row]:
    """Run the tests that need a GPU, file by file; in a dry run, find pytest and the files."""
    files = sorted(f for f in TESTS.rglob("test_*.py") if "mark.gpu" in f.read_text())
    with tempfile.TemporaryDirectory() as folder:
        for number, file in enumerate(files):
            report = Path(folder) / f"{number}.xml"
            options = (
                ["--version"] if dry else ["-q", "-m", "gpu", f"--junitxml={report}", str(file)]
            )
            command = [sys.executable, "-m", "pytest", *options]
            done = subprocess.run(command, check=False, cwd=TESTS.parent, capture_output=dry)
            row = {"file": str(file.relative_to(TESTS))}
            if dry or not report.exists():
                yield row | {"outcome": f"pytest ended with code {done.returncode}"}
                continue
            for case in ElementTree.parse(report).iter("testcase"):
                outcome = next((e.tag for e in case if e.tag in OUTCOMES), "passed")
                yield row | {"test": case.get("name"), "outcome": outcome}


def steps(dry: bool) -> Iterator[Row]:
    """Time a step of SVI, by network and batch."""
    for batch in (8,) if dry else (32, 128, 1000, 4096):
        for network in svi_step.NETWORKS:
            x, floor = images(batch, dry), math.nan
            for name in without_compiled(STEPPING, dry):
                torch.manual_seed(0)
                try:
                    with pyro.validation_enabled(False):
                        step = svi_step.CONTESTANTS[name](network, x)
                        step()
                        seconds = 0.0 if dry else 0.5
                        took = svi_step.median_step(step, seconds, 1 if dry else STEPS_IN_A_ROW)
                except Exception as error:
                    yield {
                        "network": network,
                        "batch": batch,
                        "what": name,
                        "ms": f"failed: {error}"[:200],
                    }
                    continue
                floor = took if name == FLOOR else floor
                row = {"network": network, "batch": batch, "what": name, "ms": round(1e3 * took, 4)}
                yield row | {"times the products": round(took / floor, 2)}


def epoch(dry: bool) -> Iterator[Row]:
    """Time an epoch, data on the device."""
    x, network = images((2 if dry else 200) * fit_epoch.BATCH, dry), "784-200-200-50"
    for name in without_compiled(EPOCHS, dry):
        torch.manual_seed(0)
        notes = StringIO()
        with redirect_stdout(notes):
            seconds = fit_epoch.CONTESTANTS[name](network, x)()
        best = min(seconds) if seconds else math.nan
        start_up = notes.getvalue().strip().partition(";")[0]
        yield {
            "what": name,
            "batches": len(x) // fit_epoch.BATCH,
            "s": round(best, 4),
            "start-up": start_up,
        }


def evidence(dry: bool) -> Iterator[Row]:
    """Weigh 10,000 random images at K = 5,000, beside plain torch and the products."""
    num_images, num_particles = (16, 20) if dry else (10_000, 5_000)
    vae, x = HandVAE(closed_form=True).to(device(dry)), images(num_images, dry).flatten(1)
    entries: dict[str, by_evidence.Estimate] = {
        by_evidence.OURS: lambda *args: by_evidence.ours(*args).mean,
        by_evidence.EAGER: lambda *args: by_evidence.ours(*args, compile="off").mean,
    }
    by_hand = partial(
        by_evidence.by_hand, weights=by_evidence.log_weights, images_at_once=num_images
    )
    for name, function in (
        (FLOOR, by_evidence.matrix_products),
        (by_evidence.BY_HAND, by_hand),
    ):
        for chunk in CHUNKS[:1] if dry else CHUNKS:
            entries[f"{name}, {chunk:,} at once"] = partial(function, chunk=chunk)
    for name, entry in entries.items():
        entry(vae, x, min(num_particles, 200))  # whatever is done but once
        took, value = by_evidence.seconds(entry, vae, x, num_particles)
        rate = f"{num_images * num_particles / took:,.0f}"
        mean = "" if math.isnan(value) else round(value, 2)
        yield {"what": name, "s": round(took, 3), "weights a second": rate, "mean log p(x)": mean}
    if not dry:
        yield {"what": "peak memory, GiB", "s": round(torch.cuda.max_memory_allocated() / 2**30, 1)}


def annealing(dry: bool) -> Iterator[Row]:
    """Time annealing by the program, as the graph that it becomes, and compiled."""
    cases = by_annealing.cases()
    wanted = list(cases)[1:2] if dry else list(cases)
    for name in wanted:
        model, x, temperatures = cases[name]
        temperatures = 2 if dry else temperatures
        x = x[:4] if dry else x
        for kind in ("by the program", "as a graph") if dry else by_annealing.HOW:
            clock = time.perf_counter
            took, mean = by_annealing.run(model.to(device(dry)), x, temperatures, kind, clock)
            row = {"what": name, "temperatures": temperatures, "how": kind, "s": round(took, 2)}
            yield row | {"mean log p(x)": round(mean, 2)}


def waits(dry: bool) -> Iterator[Row]:
    """Count, by torch's profiler, where the host waits for the device in steps and in tiles."""
    x = images(8 if dry else 1000, dry)
    for name in without_compiled(("fit, compiled", "fit, step by step", svi_step.PYRO), dry):
        with pyro.validation_enabled(False):
            step = svi_step.CONTESTANTS[name]("784-200-200-50", x)
            for _ in range(3):
                step()
            yield {"what": f"{STEPS_IN_A_ROW} steps: {name}"} | counted(
                lambda step=step: [step() for _ in range(STEPS_IN_A_ROW)]
            )
    vae, num_particles = (
        VAE(svi_step.SHAPE, svi_step.LATENT_DIM).to(device(dry)),
        20 if dry else 2048,
    )
    weigh = partial(by_evidence.log_evidence, vae, x, device=device(dry), seed=0)
    weigh(num_particles=20)
    for count in (num_particles, 2 * num_particles):  # twice the weights, and no more waits
        yield {"what": f"evidence of {len(x)} images, K = {count}"} | counted(
            lambda count=count: weigh(num_particles=count)
        )


def counted(work: Any) -> Row:
    """How often each kind of event that makes the host wait took place."""
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
    with profile(activities=kinds) as profiled:
        work()
    counts = Counter[str]()
    for event in profiled.key_averages():
        for kind in WAITING:
            if kind in event.key:
                counts[kind] += event.count
    return {kind: counts[kind] for kind in WAITING}
