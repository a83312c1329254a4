"""The features of Inception v3, with weights that the user has."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pyro_vae._torchvision import torchvision
from pyro_vae.errors import InputError, first_line, report_read_errors
from pyro_vae.metrics.features.module import ModuleFeatures

SIDE = 299  # pixels of Inception's images


def inception(
    weights: Mapping[str, Tensor] | Path | str, *, device: str | torch.device = "auto"
) -> ModuleFeatures:
    """Return the 2,048 features of torchvision's Inception v3 before its last layer.

    Nothing is downloaded. Images are grey or RGB, with values in [0, 1]; they are resized to 299 x 299.
    The name has the hash of the weights: published FIDs are of one other file, of TensorFlow's network,
    and resize in another way, so they do not compare.

    Args:
        weights: a state dictionary of torchvision's ``inception_v3``, or a ``.safetensors`` file of it.
        device: where to compute.

    Raises:
        InputError: the weights are not those of this network, or the file cannot be read.

    Source: C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, "Rethinking the Inception
    architecture for computer vision", 2016, https://arxiv.org/abs/1512.00567.
    """
    state = weights if isinstance(weights, Mapping) else _read(Path(weights))
    torchvision()
    inception_v3 = importlib.import_module("torchvision.models").inception_v3
    network = inception_v3(
        weights=None, init_weights=False, transform_input=False, aux_logits=_has_side_branch(state)
    )
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise InputError(
            f"the weights do not fit torchvision's Inception v3: {first_line(error)}",
            subject="weights",
            expected="a state dictionary of torchvision.models.inception_v3",
        ) from error
    network.fc = nn.Identity()
    return ModuleFeatures(
        nn.Sequential(_Resized(), network),
        "Inception v3 of torchvision",
        device=device,
        batch_size=32,
    )


class _Resized(nn.Module):
    """Turn grey or RGB images with values in [0, 1] into what Inception takes."""

    def forward(self, images: Tensor) -> Tensor:
        if images.dim() != 4 or images.shape[1] not in (1, 3):
            raise ValueError("they are no grey or RGB images (1 or 3, height, width)")
        size = (SIDE, SIDE)
        large = nn.functional.interpolate(images, size, mode="bilinear", antialias=True)
        return 2 * large.expand(-1, 3, -1, -1) - 1


def _has_side_branch(state: Mapping[str, Tensor]) -> bool:
    return any(name.startswith("AuxLogits.") for name in state)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        raise InputError(
            f"{path} is no .safetensors file",
            subject="weights",
            expected="a .safetensors file, which runs nothing when it is read",
            remedy="pass the state dictionary itself: module.state_dict()",
        )
    from safetensors.torch import load_file

    with report_read_errors(path):
        return load_file(path)
