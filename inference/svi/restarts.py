"""Several runs of a fit from starts of their own, of which the best is kept."""

import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from pyro_vae import checkpoint
from pyro_vae.errors import InputError
from pyro_vae.inference.svi.fit_result import FitResult
from pyro_vae.inference.svi.preparation import Prepared
from pyro_vae.inference.svi.run_storage import CHECKPOINT, METRICS
from pyro_vae.inference.svi.single_run import Ended, SingleRun
from pyro_vae.inference.svi.small_problems import draws_anew
from pyro_vae.program.contract import Program
from pyro_vae.program.generators import generators_as_found
from pyro_vae.program.isolation import seed_all
from pyro_vae.storage import atomic_write

Values = dict[str, Tensor]


def best_of(number: int, run: SingleRun, out: Path | None, resume: bool) -> FitResult:
    """Run a fit several times and leave the program with the parameters of the best run.

    The first run is the fit as it is. Run r has the seed plus r, and starts elsewhere: layers draw their
    weights anew, by torch's ``reset_parameters``; other parameters move by a standard normal draw, matrices
    by one with their own spread. What parts learn from the data, they learn again.

    Runs are compared by validation ELBO, or else by that of the training data, estimated with draws that
    all have in common. A run that fails counts as the worst, unless it is the first.

    With a folder, the first run is in it, and the others are in ``restart-1`` and so on. When all have
    ended, the first moves to ``restart-0``, and the folder holds the best.

    Raises:
        InputError: the first run fails.
    """
    starts = _Starts(run.opened.program)
    best: Ended | None = None
    kept: Values = {}
    figures, folders = [], [_folder(out, index) for index in range(number)]
    for index, folder in enumerate(folders):
        seeded = replace(run, settings=replace(run.settings, seed=run.settings.seed + index))
        starts.prepare(index, seeded.settings.seed)
        going_on = resume and (
            index == 0 or (folder is not None and (folder / CHECKPOINT).exists())
        )
        try:
            ended = seeded(folder, going_on, starts.at_start)
        except InputError:
            if best is None:
                raise
            figures.append(math.nan)
            continue
        figures.append(ended.figure)
        if best is None or ended.figure > best.figure:
            best, kept, chosen = ended, _copies(ended.learnt), folder
    assert best is not None
    checkpoint.load_into(best.learnt, kept, CHECKPOINT)
    if out is not None:
        _publish(out, chosen)
    return replace(best.result, restarts=tuple(figures))


class _Starts:
    """Give each run its start, with the same tensors: what the first run creates, the others start from."""

    def __init__(self, program: Program) -> None:
        self.program, self.index, self.seed = program, 0, 0
        self.as_given = _copies(checkpoint.learnt_tensors(program, {}))
        self.created: Values = {}  # by the first run, as an AutoGuide does
        self.learnt: Mapping[str, Tensor] = {}
        self.before: Values = {}

    def prepare(self, index: int, seed: int) -> None:
        """Take parameters and buffers back to the start, and draw the weights of layers anew."""
        self.index, self.seed = index, seed
        if index:
            start = {**self.created, **self.as_given}
            checkpoint.load_into(
                self.learnt, {name: start[name] for name in self.learnt}, CHECKPOINT
            )
            with generators_as_found():
                seed_all(seed)
                for module in self.program.modules.values():
                    module.apply(_reset)
        self.before = _copies(checkpoint.learnt_tensors(self.program, {}))

    @torch.no_grad()
    def at_start(self, prepared: Prepared) -> None:
        """Move the parameters that no layer has drawn and no part has learnt from the data."""
        if not self.index:
            self.learnt, self.created = prepared.learnt, _copies(prepared.learnt)
            return
        of_layers = {
            id(parameter)
            for root in self.program.modules.values()
            for module in root.modules()
            if draws_anew(module)
            for parameter in module.parameters()
        }
        generator = torch.Generator().manual_seed(self.seed)
        for name, parameter in prepared.parameters.items():
            was = self.before.get(name)
            is_learnt = was is not None and not torch.equal(was, parameter)
            of_objective = name.startswith(checkpoint.OBJECTIVE_PREFIX)
            if id(parameter) in of_layers or is_learnt or of_objective:
                continue
            is_matrix = parameter.dim() > 1 and parameter.numel() > 1
            spread = float(parameter.std()) if is_matrix else 0.0
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter.add_(noise * (spread or 1.0))


def _reset(module: nn.Module) -> None:
    if draws_anew(module):
        module.reset_parameters()  # type: ignore[operator]


def _copies(tensors: Mapping[str, Tensor]) -> Values:
    return {name: value.detach().clone() for name, value in tensors.items()}


def _folder(out: Path | None, index: int) -> Path | None:
    """Return the folder of a run; that of the first is the whole fit's until all have ended."""
    if out is None:
        return None
    own = out / f"restart-{index}"
    return out if index == 0 and not own.exists() else own


def _publish(out: Path, best: Path | None) -> None:
    """Let a folder hold the best run."""
    first = out / "restart-0"
    if not first.exists():
        unfinished = out / "restart-0.unfinished"
        unfinished.mkdir(exist_ok=True)
        for name in (CHECKPOINT, METRICS):
            shutil.copy(out / name, unfinished / name)
        unfinished.rename(first)
        best = first if best == out else best
    assert best is not None
    for name in (METRICS, CHECKPOINT):
        with atomic_write(out / name) as copy:
            shutil.copy(best / name, copy)
