"""What a network computes, as features."""

from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae.device import resolve
from pyro_vae.errors import InputError, at_least_1, first_line, must_be
from pyro_vae.metrics.arrays import Array
from pyro_vae.metrics.features.digest import digest
from pyro_vae.metrics.features.features import Features


class ModuleFeatures(Features):
    """The output of a module, in evaluation mode, without its gradients.

    Args:
        module: from rows to features, ``rows | event`` to ``rows | ...``. It stays on its device and in its
            mode between calls.
        label: in the name, before the hash of its weights.
        device: where to compute.
        batch_size: rows at a time.

    Raises:
        InputError: an argument does not fit, or, at a call, the module fails on the rows.

    >>> features = ModuleFeatures(nn.Linear(3, 2), "a linear map")
    >>> features(torch.zeros(5, 3)).shape, features.name.startswith("a linear map ")
    ((5, 2), True)
    """

    def __init__(
        self,
        module: nn.Module,
        label: str = "",
        *,
        device: str | torch.device = "auto",
        batch_size: int = 500,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise must_be("module", "an nn.Module", module)
        self.module, self.label = module, label or type(module).__name__
        self.device, self.batch_size = resolve(device), at_least_1("batch_size", batch_size)

    @property
    def name(self) -> str:
        state = self.module.state_dict().values()
        hashed = digest(v.detach().cpu().numpy() for v in state if isinstance(v, Tensor))
        return f"{self.label} {hashed}"

    def __call__(self, rows: Any) -> Array:
        x = torch.as_tensor(rows).to(torch.get_default_dtype())
        home = next((p.device for p in self.module.parameters()), torch.device("cpu"))
        was_training = self.module.training
        try:
            self.module.to(self.device).eval()
            with torch.no_grad():
                parts = [self._of(part).cpu() for part in x.split(self.batch_size)]
        finally:
            self.module.to(home).train(was_training)
        found: Array = torch.cat(parts).double().flatten(1).numpy()
        return found

    def _of(self, rows: Tensor) -> Tensor:
        try:
            found = self.module(rows.to(self.device))
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{self.label} fails on rows of shape {tuple(rows.shape[1:])}: {first_line(error)}",
                subject="features",
                expected="rows that the module takes",
            ) from error
        if not isinstance(found, Tensor) or not found.dim() or len(found) != len(rows):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(
                f"{self.label} returns {shape} for {len(rows)} rows",
                subject="features",
                expected="a tensor with features of each row",
            )
        return found
