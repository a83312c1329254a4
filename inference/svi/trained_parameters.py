"""Which parameters a fit trains, and whether a loss depends on others."""

from collections.abc import Mapping

from torch import Tensor

from pyro_vae.data import Batch
from pyro_vae.errors import InputError
from pyro_vae.inference.svi.batch_loss import BatchLoss
from pyro_vae.inference.svi.step_errors import explain
from pyro_vae.program.parameters import hidden_parameters


def trainable(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters that require a gradient.

    Raises:
        InputError: none does.
    """
    trained = {name: p for name, p in parameters.items() if p.requires_grad}
    if not trained:
        raise InputError(
            "nothing to train: neither the model nor the guide has a parameter that requires a gradient",
            remedy="register the networks of a plain function by `pyro.module`",
        )
    return trained


def check_everything_trains(
    loss: BatchLoss, parameters: Mapping[str, Tensor], batch: Batch
) -> list[str]:
    """Check that the loss depends on no parameter that no update would change.

    Pyro silently leaves a network that no ``pyro.module`` registers as it is. A parameter that is
    registered and hidden (``poutine.block``) stays as it is, too, as in Pyro's SVI; a note names it.

    Returns:
        Notes, in sentences.

    Raises:
        InputError: it does.
    """
    trained = {id(p) for p in parameters.values()}
    try:
        value = loss(batch)
    except Exception as error:
        raise explain(loss, batch, error) from error
    others = [leaf for leaf in leaves(value) if id(leaf) not in trained]
    hidden = hidden_parameters(others)
    unregistered = [leaf for leaf in others if not any(leaf is p for p in hidden.values())]
    if unregistered:
        shapes = ", ".join(str(tuple(leaf.shape)) for leaf in unregistered[:4])
        shapes += ", ..." * (len(unregistered) > 4)
        raise InputError(
            f"{len(unregistered)} parameters of model or guide would never be trained (shapes {shapes})",
            remedy="register their network by `pyro.module(name, network)` in the function that uses it, "
            "or make it part of the program's module, or freeze it by `requires_grad_(False)`",
        )
    if not hidden:
        return []
    names = ", ".join(map(repr, hidden))
    return [f"parameters that the program hides (poutine.block) stay as they are: {names}"]


def leaves(loss: Tensor) -> list[Tensor]:
    """Return the leaf tensors that a loss's gradient reaches."""
    reached, visited, stack = [], set(), [loss.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if hasattr(node, "variable"):
            reached.append(node.variable)
        stack.extend(next_node for next_node, _ in node.next_functions)
    return reached
