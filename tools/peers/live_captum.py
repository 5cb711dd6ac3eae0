"""What captum's LRP says about a torch module, under our preset names."""

import numpy as np
import torch
from captum.attr import LRP
from captum.attr._utils.custom_modules import Addition_Module as Add
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, GammaRule
from numpy.typing import NDArray
from torch import nn

__all__ = ["PRESETS", "Add", "captum_relevance"]

RULES = {
    "captum-epsilon": None,
    "captum-gamma": GammaRule,
    "captum-alpha1-beta0": Alpha1_Beta0_Rule,
}
PRESETS = tuple(RULES)


def captum_relevance(
    module: nn.Module, x: NDArray[np.floating], target: NDArray[np.int64], preset: str
) -> NDArray[np.floating]:
    """Return the relevance of `x` `[N, ...]` for the outputs `target` `[N]`, in the module's dtype.

    The rule of the preset stands on every convolution and dense layer; the rest, batch norms
    included, has captum's default, EpsilonRule. Additions are `Add` modules.
    """
    rule = RULES[preset]
    for part in module.modules():
        if rule is not None and isinstance(part, nn.Conv2d | nn.Linear):
            part.rule = rule()
    image = torch.tensor(x, dtype=next(module.parameters()).dtype)
    relevance = LRP(module).attribute(image, target=torch.tensor(target))
    return relevance.detach().numpy()
