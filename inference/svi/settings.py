"""The settings of a training loop."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyro_vae.inference.objectives import Schedule
from pyro_vae.inference.svi.hook import Hook
from pyro_vae.inference.svi.optimizer import OptimizerFactory


@dataclass(frozen=True)
class Settings:
    """Hold the options of the loop; :func:`pyro_vae.inference.svi.fit.fit` explains them."""

    optimizer: OptimizerFactory | None
    lr_schedule: Callable[[Optimizer], LRScheduler] | None
    beta: float | Schedule
    kl_warmup: float
    patience: int | None
    keep_best: bool
    averaging: float | None
    seed: int
    progress: bool | None
    on_epoch: Hook = field(default_factory=Hook)
    epochs: int = 1  # chosen when the program is prepared

    @property
    def is_tempered(self) -> bool:
        """Return whether the KL weight ever differs from 1."""
        return self.beta != 1 or self.kl_warmup > 0

    def beta_after(self, steps: int, steps_per_epoch: int) -> float:
        """Return the scheduled number at the last of so many steps: the KL weight, or a capacity."""
        beta = self.beta
        value = beta(steps / steps_per_epoch) if isinstance(beta, Schedule) else beta
        return value * min(1.0, steps / max(self.kl_warmup * steps_per_epoch, 1))
