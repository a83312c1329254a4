"""Programs that are right on a CPU, and each wrong in one way on a GPU."""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn


class ScaleOnDevice(nn.Module):
    """z ~ Normal(0, 1), x ~ Normal(z, s), in two dimensions: right on a GPU, too."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def loc(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def scale(self, x: Tensor) -> Tensor | float:
        return self.log_scale.exp()

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.loc(x), torch.ones_like(x)).to_event(1))
            pyro.sample("x", dist.Normal(z, self.scale(x)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, self.log_scale.exp()).to_event(1))


class TensorOfTheCPU(ScaleOnDevice):
    def loc(self, x: Tensor) -> Tensor:
        return torch.zeros(x.shape)


class NumberOfTheCPU(ScaleOnDevice):
    def scale(self, x: Tensor) -> Tensor:
        return torch.tensor(2.0)


class CopiedNumber(ScaleOnDevice):
    def scale(self, x: Tensor) -> Tensor:
        return torch.tensor(2.0, device=x.device)


class ReadsAValue(ScaleOnDevice):
    def scale(self, x: Tensor) -> float:
        return self.log_scale.exp().item()


class BranchesOnAValue(ScaleOnDevice):
    def scale(self, x: Tensor) -> Tensor:
        return self.log_scale.exp() if (x.abs() < 9).all() else 2 * self.log_scale.exp()


class PicksByAMask(ScaleOnDevice):
    def scale(self, x: Tensor) -> Tensor:
        return self.log_scale.exp() + 0 * x[x > 0].sum()


BROKEN = (
    TensorOfTheCPU,
    NumberOfTheCPU,
    CopiedNumber,
    ReadsAValue,
    BranchesOnAValue,
    PicksByAMask,
)
