"""The optimiser: AdamW, what its gradients tell, and its state on disk."""

from typing import Any

import torch
from torch import Tensor

from .config import TrainConfig
from .models import EarthTie


def adamw(model: EarthTie, config: TrainConfig) -> torch.optim.AdamW:
    """Make the optimiser: weight matrices decay, biases and the logit scale do not."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if p.ndim >= 2]},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)


def gradient_norm(module: torch.nn.Module) -> Tensor:
    """Return the Euclidean norm of the gradient of all parameters of a module, a scalar."""
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    return torch.stack([grad.norm() for grad in grads]).norm()


def freeze_all_but_heads(model: EarthTie) -> None:
    """Forget the gradients of the encoder and of the scales, so that a step moves heads alone."""
    for name, parameter in model.named_parameters():
        if not name.startswith("projections.") or name.endswith("logit_scale"):
            parameter.grad = None


def optimiser_state(optimiser: torch.optim.Optimizer, model: EarthTie) -> dict[str, Tensor]:
    """Return the optimiser's moments under the names of the parameters."""
    return {
        f"{name}.{key}": value.detach().clone()
        for name, parameter in model.named_parameters()
        for key, value in optimiser.state[parameter].items()
    }


def restore_optimiser(
    optimiser: torch.optim.Optimizer, model: EarthTie, state: dict[str, Tensor]
) -> None:
    """Put the moments back; "step" stays on the CPU, where AdamW keeps it."""
    for name, parameter in model.named_parameters():
        for key in ("step", "exp_avg", "exp_avg_sq"):
            if f"{name}.{key}" in state:
                device = "cpu" if key == "step" else parameter.device
                optimiser.state[parameter][key] = state[f"{name}.{key}"].to(device)
