"""Whether the score of a row depends on the place where it stands in its batch."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress

import torch
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor

from pyro_vae.data import Batches
from pyro_vae.errors import InputError
from pyro_vae.inference.checks.independence import coupled_in_one_split, with_rows
from pyro_vae.inference.checks.many_rows import on_many_rows
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.examination import Examination
from pyro_vae.program.float64 import in_float64
from pyro_vae.program.isolation import seed_all
from pyro_vae.program.probe import PROBE_SEED, Traces, draw_traces, moved_sites, moves, rerun
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import Site

NOISE_RUNS = 4  # to find the sites that noise moves
MOVED = 0.01  # noise on parameters, relative: it separates those that start out equal


def depends_on_places(
    examined: Examination,
    args: tuple[Tensor, ...],
    train: Batches,
    parameters: Mapping[str, Tensor],
    run_bytes: int,
) -> tuple[list[str], bool]:
    """Return the sites whose score depends on a row's place, and whether units are coupled.

    Units are coupled where the density of one depends on another's latents. More rows than a batch are
    tried, where the program takes them: places may differ further on alone. Parameters for each row may
    all start out equal, so they are moved apart meanwhile; and a place that hardly counts yet is seen in
    float64.

    Args:
        examined: the examination of some rows.
        args: these rows.
        train: all rows.
        parameters: to be moved a little meanwhile.
        run_bytes: the memory that a run on ``args`` takes.
    """
    bound_program = BoundProgram(examined.program, examined.structure, False, args, by_rows=True)
    traces = Traces(examined.guide, examined.model)
    trials: list[Callable[[], tuple[list[str], bool]]] = [
        lambda: _tried(_on_many_rows(bound_program, train, run_bytes), None, fine=True),
        lambda: _tried(bound_program, None, fine=True),
        lambda: _tried(bound_program, traces, fine=False),
    ]
    for trial in trials:
        # a program may take neither float64 nor so many rows
        with suppress(InputError, RuntimeError, IndexError), _moved_a_little(parameters):
            return trial()
    return trials[-1]()  # a parameter may not be moved


def _tried(bound_program: BoundProgram, first: Traces | None, fine: bool) -> tuple[list[str], bool]:
    """Return the sites for which place matters, and whether units are coupled.

    Raises:
        InputError: the program does not compute in float64, and is to (``fine``).
    """
    with in_float64(bound_program) if fine else nullcontext(bound_program) as wide:
        here = draw_traces(wide) if first is None else rerun(wide, first)
        scores = here.scores(wide.structure)
        if fine and any(score.dtype != torch.float64 for score in scores.values()):
            raise InputError("the program does not compute in float64", subject="program")
        places = place_matters(wide, here, fine)
        are_coupled = coupled_in_one_split(wide, here, fine)
        if places or are_coupled:  # sites that noise moves show nothing
            runs = (rerun(wide, here, seed=PROBE_SEED + i) for i in range(NOISE_RUNS))
            noisy = {
                name
                for run in runs
                for name in moved_sites(scores, run.scores(wide.structure), fine)
            }
            places = [name for name in places if name not in noisy]
            are_coupled = are_coupled and not noisy
        return places, are_coupled


def place_matters(
    bound_program: BoundProgram, first: Traces | None = None, fine: bool = False
) -> list[str]:
    """Return the sites that score differently if the same rows, with their latents, change places.

    Where a unit is not a row, a site's whole score is compared, and its values move with the rows if a
    plate of as many units holds it. If a plate takes a subsample, its rows change places. A program that
    refuses the other order is named itself.

    Args:
        bound_program: the program on some rows.
        first: a run of the call; by default a new one.
        fine: whether all is computed in float64.
    """
    bound_program, rows = bound_program.single(), len(bound_program.args[0])
    seed_all(0)
    first = first or draw_traces(bound_program)
    structure = (
        bound_program.structure
        if bound_program.structure.size == rows
        else bound_program.structure.joined()
    )
    places = _rows_of_plate(first, rows)
    turn = torch.randperm(len(places))
    turn = turn.roll(1) if torch.equal(turn, torch.arange(len(turn))) else turn
    order = torch.arange(rows)
    order[places] = places[turn]
    try:
        other = rerun(
            with_rows(bound_program, order), first, lambda s: _reordered(s, turn, structure)
        )
        after = other.scores(structure)
    except InputError:
        return ["the program"]
    before = first.scores(structure)
    if structure.unit is not None:
        before = {name: score[:, turn] for name, score in before.items()}
        return moved_sites(before, after, fine)
    moved = moved_sites(before, after, fine)
    # the sites of a loop over rows change places among themselves
    both = before.keys() & after.keys()
    one, two = (
        sum((scores[name] for name in both), start=torch.zeros(())) for scores in (before, after)
    )
    return moved if bool(moves(one, two, fine).any()) else []


def _rows_of_plate(run: Traces, rows: int) -> Tensor:
    """Return the numbers of the rows that a plate over them takes."""
    for trace in (run.guide, run.model):
        for site in trace.nodes.values():
            fn = site.get("fn")
            if isinstance(fn, _Subsample) and fn.size == rows:
                indices = torch.as_tensor(site["value"]).cpu()
                # some programs pass their data as the subsample
                if indices.dtype == torch.long and indices.dim() == 1:
                    return indices
    return torch.arange(rows)


def _reordered(site: Site, order: Tensor, structure: Structure) -> Tensor:
    """Return a site's value with its units, or all that moves with the rows, in another order."""
    value: Tensor = site["value"]
    rows = len(order)
    if structure.unit is not None:
        dims = [structure.dim]
    else:
        frames = [f for f in site["cond_indep_stack"] if f.vectorized]
        dims = [f.dim for f in frames if f.size == rows]
    for dim in dims:
        at = value.dim() - site["fn"].event_dim + dim
        if at >= 0 and value.shape[at] == rows:
            value = value.index_select(at, order.to(value.device))
    return value


def _on_many_rows(bound_program: BoundProgram, train: Batches, run_bytes: int) -> BoundProgram:
    """Return the call on as many rows as a moderate memory takes, unless units are not rows."""
    rows = len(bound_program.args[0])
    are_rows = bound_program.structure.unit is None or bound_program.structure.num_units == rows
    if rows == train.num_units or not are_rows:
        return bound_program
    return on_many_rows(bound_program, train, run_bytes)


@contextmanager
def _moved_a_little(parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """Add noise of a hundredth of their size to parameters for a while."""
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        for parameter in parameters.values():
            if parameter.is_floating_point():
                size = parameter.data.abs()  # a scale keeps its sign
                size = torch.where(size > 0, size.clamp(max=1e30), 1.0)
                parameter.data.add_(MOVED * torch.randn_like(parameter).clamp(-9, 9) * size)
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data.copy_(before[name])
