"""The base of objectives with a discriminator that learns beside the program."""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyro
import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1, must_be
from pyro_vae.inference.objectives.adversarial_losses import AdversarialLoss, NonSaturating
from pyro_vae.inference.objectives.adversarial_notes import auc, gradient_norm, verdict
from pyro_vae.inference.objectives.discriminator import Discriminator, Round, play
from pyro_vae.inference.objectives.objective import Objective, with_gradient_of
from pyro_vae.inference.objectives.penalties import Penalty, Rows
from pyro_vae.inference.objectives.requirements import ProgramSites
from pyro_vae.networks import MLP, NetworkFactory
from pyro_vae.program.contract import Program
from pyro_vae.program.trace import Site, is_point_mass


def _check_maker(name: str, value: Any) -> None:
    if isinstance(value, nn.Module):
        made = type(value).__name__
        raise must_be(
            name,
            "what makes a network",
            value,
            remedy=f"pass {made}, or lambda *shapes: {made}(...)",
        )
    checks.function(name, value)


CHECKS: dict[str, checks.Check] = {
    "loss": checks.optional(checks.instance(AdversarialLoss, "an AdversarialLoss such as Hinge()")),
    "penalty": checks.optional(checks.instance(Penalty, "a Penalty such as R1()")),
    "discriminator": _check_maker,
    "num_classes": checks.optional(at_least_1),
    "discriminator_steps": at_least_1,
    "discriminator_options": checks.optional(
        checks.instance(Mapping, "a mapping such as {'lr': 4e-4}")
    ),
}


@dataclass(frozen=True)
class Sides:
    """Hold what a discriminator compares of U units.

    Attributes:
        real: rows that are to have high logits, ``U | event`` each.
        made: rows that are to have low ones.
        scale: of a unit.
        condition: a vector for each unit, under which both were drawn, (U, C).
        reward: what the program gets besides, of each unit, U.
        times: how many rows of a side belong to a unit; they count as one.
    """

    real: Rows
    made: Rows
    scale: float
    condition: Tensor | None = None
    reward: Tensor | None = None
    times: int = 1


@dataclass(frozen=True)
class Game:
    """Hold one round, and what it was about."""

    sides: Sides
    round: Round


class Adversary(Objective):
    """Maximise a reward less the loss of a generator, whose adversary is a discriminator.

    Both learn by one backward pass, each with the other held. The discriminator is kept beside the program:
    in the checkpoint, and in no evidence.

    Args:
        loss: of both sides; by default NonSaturating().
        penalty: on the discriminator's slope; by default none.
        discriminator: makes its network from the shape of what it reads and that of its logits.
        num_classes: how many labels there are, where the program takes labels.
        discriminator_steps: how many steps the discriminator takes for one of the program.
        discriminator_options: of the optimizer, for the discriminator alone, such as {"lr": 4e-4}.

    Attributes:
        weight: of the generator's loss.
        is_mutual: whether the real rows depend on the program, too, and are to look made.
    """

    has_kl_term = False
    optimizer: Callable[..., Optimizer] | None = partial(Adam, lr=2e-4, betas=(0.5, 0.99))
    weight: float = 1.0
    is_mutual = False

    def __init__(
        self,
        loss: AdversarialLoss | None = None,
        penalty: Penalty | None = None,
        discriminator: NetworkFactory = MLP,
        num_classes: int | None = None,
        discriminator_steps: int = 1,
        discriminator_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(num_particles=1)
        checks.check_arguments(CHECKS, locals())
        self.players = NonSaturating() if loss is None else loss
        self.penalty, self.num_classes = penalty, num_classes
        self.make_discriminator, self.own_steps = discriminator, discriminator_steps
        self.own_options = dict(discriminator_options or {})

    @abc.abstractmethod
    def sides(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Sides:
        """Return what the discriminator compares, with the program's gradients."""

    @abc.abstractmethod
    def shapes(self, sites: ProgramSites) -> Sequence[torch.Size]:
        """Return the shapes of what it reads of one unit."""

    def reads_conditions(self) -> bool:
        """Return whether it reads the arguments that the model does not observe, too."""
        return True

    # --- the discriminator --------------------------------------------------------------------

    def prepare(self, sites: ProgramSites) -> None:
        shapes, condition_dim = self.shapes(sites), 0
        if self.reads_conditions():
            given = [site["value"] for site in sites.observed.values()]
            condition = self.condition(sites.args, given)
            condition_dim = 0 if condition is None else condition.shape[1]
            if condition is None and self.num_classes is not None:
                raise InputError(
                    f"num_classes={self.num_classes} is of labels, and the program takes none",
                    subject="num_classes",
                    remedy="leave it out",
                )
        made = self.make(shapes, condition_dim)
        like = next(site["value"] for s in (sites.model, sites.observed) for site in s.values())
        self.discriminator: nn.Module = made.to(like.device)
        self.is_registered = False
        has_density = not any(is_point_mass(site["fn"]) for site in sites.guide.values())
        self.validates = type(self).validates and has_density

    def observed_shapes(self, sites: ProgramSites) -> list[torch.Size]:
        """Return the shapes of one unit's data, and keep the names of their sites."""
        self.observed = tuple(sites.observed)
        dim = sites.structure.dim
        return [rows_of(s, s["value"], dim).shape[1:] for s in sites.observed.values()]

    def make(self, shapes: Sequence[torch.Size], condition_dim: int) -> nn.Module:
        """Return a discriminator of things of these shapes."""
        return Discriminator(self.make_discriminator, shapes, condition_dim)

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {} if self.plan is None else {"discriminator": self.discriminator}

    def condition(self, args: Sequence[Any], observed: Sequence[Any]) -> Tensor | None:
        """Return the arguments that the model does not observe as a vector for each unit, (U, C)."""
        others = [a for a in args if not any(a is x for x in observed)]
        tensors = [a for a in others if isinstance(a, Tensor) and a.dim()]
        if not tensors:
            return None
        if not any(a is x for a in args for x in observed):
            if len(args) == 1:  # the model observes a part of it, or a form of it
                return None
            raise InputError(
                f"{type(self).__name__} takes the arguments that the model does not observe for "
                "conditions, and it observes none as it is given",
                subject=type(self).__name__,
                remedy="pass the data as the model observes them (obs=x)",
            )
        return torch.cat([self._as_vectors(a) for a in tensors], 1)

    def _as_vectors(self, argument: Tensor) -> Tensor:
        if argument.is_floating_point():
            return argument.flatten(1) if argument.dim() > 1 else argument.unsqueeze(1)
        if self.num_classes is None:
            raise InputError(
                f"the discriminator reads labels ({argument.dtype}), and must know how many there are",
                subject="num_classes",
                remedy=f"pass {type(self).__name__}(num_classes=...)",
            )
        if is_validation_enabled() and argument.numel() and int(argument.max()) >= self.num_classes:
            raise InputError(
                f"there is a label {int(argument.max())}, and num_classes={self.num_classes} counts "
                f"those from 0 to {self.num_classes - 1}",
                subject="num_classes",
                remedy=f"pass {type(self).__name__}(num_classes={int(argument.max()) + 1})",
            )
        wanted = torch.arange(self.num_classes, device=argument.device)
        return (argument.unsqueeze(-1) == wanted).flatten(1).to(torch.get_default_dtype())

    # --- the objective ------------------------------------------------------------------------

    def draw(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Game:  # type: ignore[override]
        is_first = self.plan is None  # :attr:`modules` was empty so far
        self.plan_for(model, guide, args, kwargs)
        self.is_registered |= is_first
        if self.is_registered:  # Pyro's own SVI trains what it finds in its store
            pyro.module("discriminator", self.discriminator, update_module_params=True)
        sides = self.sides(model, guide, args, kwargs)
        return Game(sides, self.play(sides))

    def play(self, sides: Sides) -> Round:
        judge = partial(self.discriminator, condition=sides.condition)
        learns = [p for p in self.discriminator.parameters() if p.requires_grad]
        rows = (sides.real, sides.made)
        return play(judge, learns, self.players, self.penalty, *rows, self.is_mutual)

    def value(self, draws: Game) -> Tensor:  # type: ignore[override]
        sides, reward = draws.sides, draws.sides.reward
        value = -self.weight * draws.round.generator_loss.sum() / sides.times
        return sides.scale * (value if reward is None else value + reward.detach().sum())

    def surrogate(self, draws: Game) -> Tensor:  # type: ignore[override]
        surrogate = self.for_program(draws) - draws.round.learning / draws.sides.times
        return with_gradient_of(self.value(draws), draws.sides.scale * surrogate)

    def for_program(self, draws: Game) -> Tensor:
        """Return a number with the program's gradient alone, ``|``."""
        sides, reward = draws.sides, draws.sides.reward
        pull = -self.weight * draws.round.pull / sides.times
        return pull if reward is None else pull + reward.sum()

    # --- what a fit says ----------------------------------------------------------------------

    def report(self, program: Program, batch: tuple[Any, ...]) -> dict[str, float]:
        with torch.enable_grad():
            draws = self.draw(program.model, program.guide, batch, {})
            gradient = gradient_norm(self.for_program(draws) / self._count(draws), program)
        of = draws.round
        return {
            "generator_loss": float(of.generator_loss.mean()),
            "discriminator_loss": float(of.discriminator_loss.mean()),
            "generator_gradient": gradient,
            "told_apart": auc(of.real, of.made),
        }

    @staticmethod
    def _count(draws: Game) -> float:
        return len(draws.round.real) / draws.sides.times

    def headline(self, metrics: Mapping[str, Any]) -> str:
        sides = [f"{side} {metrics[f'{side}_loss']:.3f}" for side in ("generator", "discriminator")]
        return f"losses: {', '.join(sides)}"

    def verdict(self, metrics: Sequence[Mapping[str, Any]]) -> str:
        return verdict(metrics)


def rows_of(site: Site, value: Tensor, dim: int) -> Tensor:
    """Return a site's value with a row for each unit, ``U | other plates and event``."""
    return value.movedim(dim - site["fn"].event_dim, 0)
