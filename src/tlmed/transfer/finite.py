"""Numbers that are not finite: found before they are saved, trained from or delivered."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tlmed.errors import InputError


class NonFiniteNumbers(InputError):
    """Weights or what belongs to them became infinite or not a number."""


def first_non_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor with a number that is infinite or none at all.

    One quick pass over the memory (22 million weights on two cores: 8 ms): a finite norm tells that all numbers are;
    where one is not finite, which may also be from very large numbers, each number is looked at.
    """
    floating = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel()}
    if not floating:
        return None
    norms = torch.stack([norm.float() for norm in torch._foreach_norm(list(floating.values()))])
    if bool(torch.isfinite(norms).all()):
        return None
    return next((name for name, tensor in floating.items() if not torch.isfinite(tensor).all()), None)


def check_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Refuse tensors with numbers that are not finite.

    Args:
        tensors: by name.
        what: they are, for the message: it begins with this.

    Raises:
        NonFiniteNumbers: naming the first such tensor.
    """
    name = first_non_finite(tensors)
    if name is not None:
        raise NonFiniteNumbers(f"{what}: {name} holds numbers that are not finite, so it is not used or saved.")
