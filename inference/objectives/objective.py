"""The base of all objectives: draws per unit, after a look at the program."""

import abc
import copy
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeVar

import torch
from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO
from pyro.infer.enum import get_importance_trace
from torch import Tensor, nn
from torch.optim import Optimizer

from pyro_vae.errors import at_least_1
from pyro_vae.inference.objectives.epoch_schedules import Schedule
from pyro_vae.inference.objectives.guide_draws import DrawPlan, GuideDraws, draw
from pyro_vae.inference.objectives.requirements import ProgramSites, program_sites
from pyro_vae.memory import check_fits
from pyro_vae.program.contract import Program, as_program
from pyro_vae.program.examination import Examination, examine
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.trace import sample_sites
from pyro_vae.program.vectorization import pair_together

FigureKind = Literal["elbo", "bound", "objective"]
Self = TypeVar("Self", bound="Objective")


class Objective(ELBO, abc.ABC):
    """Maximise a figure of K draws from the guide for each unit: a Pyro ELBO over any program.

    The first call runs the program a few times, to find its plates and whether K draws can be made at
    once (if not, they are made one after another); :func:`pyro_vae.fit` does that in advance. The object
    keeps the result, so it serves one program.

    Args:
        num_particles: draws K a unit.

    Attributes:
        figure: the kind of value: "elbo" the ELBO itself, "bound" another lower bound of the evidence on
            average, "objective" neither.
        needs_whole_units: whether it is more than a mean over draws.
        detaches_draws: whether it takes no gradient through the values.
        rescores_draws: whether it scores copies of the draws.
        separates_prior: whether it weighs prior and likelihood apart.
        needs_guide: whether the guide matters to it.
        validates: whether held-out data have a figure; not where nothing scores the guide's draws.
        has_kl_term: whether a weight of the KL term means anything to it.
        optimizer: makes the optimizer of a fit, where the user names none; None for that of any fit.
        own_options: of the optimizer's group for :attr:`modules`, where they differ from the program's.
        own_steps: how many steps what it learns itself takes for one of the program.
    """

    figure: FigureKind = "objective"
    needs_whole_units: ClassVar[bool] = False
    detaches_draws: ClassVar[bool] = False
    rescores_draws: ClassVar[bool] = False
    separates_prior: ClassVar[bool] = False
    needs_guide: ClassVar[bool] = True
    validates: bool = True
    has_kl_term: ClassVar[bool] = True
    optimizer: Callable[..., Optimizer] | None = None
    own_options: Mapping[str, Any] = MappingProxyType({})
    own_steps: int = 1

    def __init__(self, num_particles: int = 1) -> None:
        super().__init__(num_particles=at_least_1("num_particles", num_particles))
        self.plan: DrawPlan | None = None

    @abc.abstractmethod
    def value(self, draws: GuideDraws) -> Tensor:
        """Return the figure to maximise, summed over all units that the draws stand for, ``|``, in nats."""

    def surrogate(self, draws: GuideDraws) -> Tensor:
        """Return the same value, with the gradient to follow."""
        return self.value(draws)

    def check(self, sites: ProgramSites) -> None:
        """Check that the program has what the objective needs.

        Raises:
            InputError: it has not.
        """
        name = type(self).__name__
        if not self.detaches_draws:
            sites.require_reparameterised(name)
        if self.needs_whole_units:
            sites.require_whole_units(name)
        if self.rescores_draws or self.num_particles > 1:
            sites.require_rescoring(name)
        if self.separates_prior:
            sites.require_separate_prior(name)

    def prepare(self, sites: ProgramSites) -> None:
        """Make what the objective itself learns, for a program with these sites."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Return what is trained besides the program, by name, once there is a plan."""
        return {}

    def report(self, program: Program, batch: tuple[Any, ...]) -> dict[str, float]:
        """Return further figures of a batch, by name, for the record of an epoch."""
        return {}

    def headline(self, metrics: Mapping[str, Any]) -> str:
        """Return what a progress bar shows of the record of an epoch; "" for the figure itself."""
        return ""

    def verdict(self, metrics: Sequence[Mapping[str, Any]]) -> str:
        """Say in a sentence how a fit went, from the records of its epochs; "" for what any fit says."""
        return ""

    def planned(self: Self, program: Any, *args: Any, num_data: int | None = None) -> Self:
        """Return a copy with a plan for a program, which is run a few times.

        Args:
            program: a model and guide, or their examination on ``args``.
            args: the arguments of both.
            num_data: how many units there are in all.

        Raises:
            InputError: the program does not run, or lacks what the objective needs.
        """
        planned, examined = copy.copy(self), program
        if not isinstance(program, Examination):
            examined = _examined(as_program(program), args, {})
        planned.plan = planned._plan(examined, args, {}, num_data)
        return planned

    def _plan(
        self, examined: Examination, args: Any, kwargs: Any, num_data: int | None = None
    ) -> DrawPlan:
        pair = None
        with undisturbed(examined.program), torch.no_grad():
            sites = program_sites(examined, args)
            self.check(sites)
            self.prepare(sites)
            if self.num_particles > 1:
                traces = (examined.guide, examined.model)
                values = sum(s["value"].nbytes for t in traces for s in sample_sites(t).values())
                what = f"{type(self).__name__} with {self.num_particles:,} draws a step"
                check_fits(what, self.num_particles * values, "fewer do, or a smaller batch")
                pair = pair_together(examined, *args, **kwargs)
        return DrawPlan(examined.structure, pair is not None, num_data)

    def draw(self, model: Any, guide: Any, args: Any, kwargs: Any) -> GuideDraws:
        program, plan = Program(model, guide), self.plan_for(model, guide, args, kwargs)
        return draw(program, plan, self.num_particles, (args, kwargs), self.detaches_draws)

    def plan_for(self, model: Any, guide: Any, args: Any, kwargs: Any) -> DrawPlan:
        """Return the plan, which the first call makes."""
        if self.plan is None:
            self.plan = self._plan(_examined(Program(model, guide), args, kwargs), args, kwargs)
        return self.plan

    # --- Pyro's interface -----------------------------------------------------------------------

    def differentiable_loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Return minus the objective, summed over units, ``|``, in nats."""
        draws = self.draw(model, guide, args, kwargs)
        return -(self.surrogate(draws) if torch.is_grad_enabled() else self.value(draws))

    @torch.no_grad()
    def loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> float:
        """Return the same as a number."""
        return float(self.differentiable_loss(model, guide, *args, **kwargs))

    def loss_and_grads(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> float:
        """Return the same, and leave its gradient in the parameters."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward()
        return float(loss.detach())

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Any:
        return get_importance_trace("flat", self.max_plate_nesting, model, guide, args, kwargs)


def _examined(program: Program, args: Any, kwargs: Any) -> Examination:
    with undisturbed(program), torch.no_grad():
        return examine(program, *args, **kwargs)


def with_gradient_of(value: Tensor, surrogate: Tensor) -> Tensor:
    """Return ``value`` with the gradient of ``surrogate``.

    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> y = with_gradient_of(x, x**2)
    >>> float(y.detach()), float(torch.autograd.grad(y, x)[0])
    (3.0, 6.0)
    """
    return value.detach() + surrogate - surrogate.detach()


class Scheduled(Objective):
    """Maximise an objective with a number in it that changes over a run.

    Attributes:
        schedule: the number over epochs.
        quantity: its name in a run's metrics.
    """

    schedule: Schedule
    quantity: ClassVar[str]

    @abc.abstractmethod
    def at(self: Self, number: float | Tensor) -> Self:
        """Return the objective with that number, ``|``."""


def figure_of(elbo: Any) -> FigureKind:
    """Return the kind of value of an ELBO, Pyro's or ours."""
    if isinstance(elbo, Objective):
        return elbo.figure
    return (
        "elbo" if isinstance(elbo, Trace_ELBO | TraceEnum_ELBO | TraceGraph_ELBO) else "objective"
    )
