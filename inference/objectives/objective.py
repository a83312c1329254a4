"""What every objective of ours has in common: draws per unit, and one pass over a program before."""

import abc
import copy
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeVar

import torch
from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO
from pyro.infer.enum import get_importance_trace
from torch import Tensor, nn

from pyro_vae.errors import InputError, at_least_1
from pyro_vae.inference.objectives.draws import Draws, Plan, draw
from pyro_vae.inference.objectives.requirements import Seen, see
from pyro_vae.inference.objectives.schedule import Schedule
from pyro_vae.memory import check_fits
from pyro_vae.program.contract import Program, as_program
from pyro_vae.program.examination import Examination, examine
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.trace import sample_sites
from pyro_vae.program.vectorization import pair_together

Figure = Literal["elbo", "bound", "objective"]
Self = TypeVar("Self", bound="Objective")


class Objective(ELBO, abc.ABC):
    """What is maximised, from K draws of the guide for each unit: a Pyro ELBO over any program.

    The first call runs the program a few times, to see its plates and whether K draws can be made at
    once (else they are made one after another); :func:`pyro_vae.fit` has that done before. It leaves no
    trace but in this object, which serves one program therefore.

    ``figure`` says what the value is: "elbo" the ELBO itself, "bound" another lower bound of the evidence
    on average, "objective" neither.

    Args:
        num_particles: draws K a unit.
    """

    figure: Figure = "objective"
    draws_per_unit_matter: ClassVar[bool] = False  # is it more than a mean over draws?
    cuts_draws: ClassVar[bool] = False  # takes no gradient through the values
    scores_copies: ClassVar[bool] = False  # scores copies of the draws
    parts_matter: ClassVar[bool] = False  # weighs prior and likelihood apart

    def __init__(self, num_particles: int = 1) -> None:
        super().__init__(num_particles=at_least_1("num_particles", num_particles))
        self.plan: Plan | None = None

    @abc.abstractmethod
    def value(self, draws: Draws) -> Tensor:
        """What is maximised, summed over all units that the draws stand for, ``|``, in nats."""

    def surrogate(self, draws: Draws) -> Tensor:
        """The same value, with the gradient to go along."""
        return self.value(draws)

    def check(self, seen: Seen) -> None:
        """:raises InputError: the program lacks what the objective needs."""
        name = type(self).__name__
        if not self.cuts_draws:
            seen.must_be_reparameterised(name)
        if self.draws_per_unit_matter:
            seen.must_hold_whole_units(name)
        if self.scores_copies or self.num_particles > 1:
            seen.must_score_copies(name)
        if self.parts_matter:
            seen.must_tell_prior_from_likelihood(name)

    def prepare(self, seen: Seen) -> None:
        """Makes what the objective itself learns, for the program that was seen."""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """What is trained beside the program, by name, once there is a plan."""
        return {}

    def planned(self: Self, program: Any, *args: Any, num_data: int | None = None) -> Self:
        """One of the same kind for a program, which is run to see what it is.

        :param program: a model and guide, or what has been seen of them on ``args``.
        :param num_data: how many units there are in all.
        :raises InputError: the program is none, or lacks what the objective needs.
        """
        planned, examined = copy.copy(self), program
        if not isinstance(program, Examination):
            examined = _examined(as_program(program), args, {})
        planned.plan = planned._plan(examined, args, {}, num_data)
        return planned

    def _plan(
        self, examined: Examination, args: Any, kwargs: Any, num_data: int | None = None
    ) -> Plan:
        pair = None
        with undisturbed(examined.program), torch.no_grad():
            seen = see(examined)
            self.check(seen)
            self.prepare(seen)
            if self.num_particles > 1:
                sites = [
                    *sample_sites(examined.guide).values(),
                    *sample_sites(examined.model).values(),
                ]
                values = sum(site["value"].nbytes for site in sites)
                what = f"{type(self).__name__} with {self.num_particles:,} draws a step"
                check_fits(what, self.num_particles * values, "fewer do, or a smaller batch")
                pair = pair_together(examined, *args, **kwargs)
        return Plan(examined.structure, pair is not None, num_data)

    def draw(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Draws:
        program = Program(model, guide)
        if self.plan is None:
            self.plan = self._plan(_examined(program, args, kwargs), args, kwargs)
        return draw(program, self.plan, self.num_particles, (args, kwargs), self.cuts_draws)

    # --- Pyro's interface -----------------------------------------------------------------------

    def differentiable_loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Minus the objective, summed over units, ``|``, in nats."""
        draws = self.draw(model, guide, args, kwargs)
        return -(self.surrogate(draws) if torch.is_grad_enabled() else self.value(draws))

    @torch.no_grad()
    def loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> float:
        """The same as a number."""
        return float(self.differentiable_loss(model, guide, *args, **kwargs))

    def loss_and_grads(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> float:
        """The same, with its gradient left in the parameters."""
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
    """``value`` with the gradient of ``surrogate``.

    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> y = with_gradient_of(x, x**2)
    >>> float(y.detach()), float(torch.autograd.grad(y, x)[0])
    (3.0, 6.0)
    """
    return value.detach() + surrogate - surrogate.detach()


class Scheduled(Objective):
    """An objective with a number in it that changes over a run."""

    schedule: Schedule
    quantity: ClassVar[str]  # what the number is called in a run's metrics

    @abc.abstractmethod
    def at(self: Self, number: float | Tensor) -> Self:
        """The objective with that number, ``|``."""


def figure_of(elbo: Any) -> Figure:
    """What the value of an ELBO, Pyro's or ours, is."""
    if isinstance(elbo, Objective):
        return elbo.figure
    return (
        "elbo" if isinstance(elbo, Trace_ELBO | TraceEnum_ELBO | TraceGraph_ELBO) else "objective"
    )


def checked_number(name: str, value: float, least: float | None = None) -> float:
    """:raises InputError: not a finite number, or below ``least``."""
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a number, not {value!r}") from error
    if not abs(number) < float("inf") or (least is not None and number < least):
        floor = "" if least is None else f" of at least {least:g}"
        raise InputError(f"{name} must be a finite number{floor}, not {value}")
    return number
