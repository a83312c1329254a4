"""The settings of a training loop."""

from collections.abc import Callable
from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyro_vae.errors import InputError, at_least_1, true_or_false
from pyro_vae.inference.objectives import Schedule


@dataclass(frozen=True)
class Settings:
    """Hold the options of the loop; :func:`pyro_vae.inference.svi.fit.fit` explains them."""

    epochs: int
    schedule: Callable[[Optimizer], LRScheduler] | None
    beta: float | Schedule
    kl_warmup: float
    patience: int | None
    keep_best: bool
    seed: int
    progress: bool | None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("beta", 0), ("kl_warmup", 0)):
            value = getattr(self, name)
            if not (isinstance(value, Schedule) or value >= least):
                raise InputError(
                    f"{name} must be at least {least}, not {value}",
                    subject=name,
                    expected=f"at least {least}",
                )
        if self.patience is not None:
            at_least_1("patience", self.patience)
        true_or_false("keep_best", self.keep_best)

    @property
    def is_tempered(self) -> bool:
        """Return whether the KL weight ever differs from 1."""
        return self.beta != 1 or self.kl_warmup > 0

    def beta_after(self, steps: int, steps_per_epoch: int) -> float:
        """Return the scheduled number at the last of so many steps: the KL weight, or a capacity."""
        beta = self.beta
        value = beta(steps / steps_per_epoch) if isinstance(beta, Schedule) else beta
        return value * min(1.0, steps / max(self.kl_warmup * steps_per_epoch, 1))
