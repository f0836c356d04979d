"""First-order optimisers behind one method, `step(gradients, rate)`."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

from wgf.errors import InputError

Factory: TypeAlias = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def gradients(loss: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """The gradients of a loss, zero in what it does not depend on: c of an OTFlow moves nothing."""
    return list(torch.autograd.grad(loss, parameters, materialize_grads=True))


class FirstOrder(Protocol):
    """What moves parameters against given gradients."""

    def step(self, gradients: list[Tensor], rate: float) -> None:
        """Move the parameters against these gradients."""


class FusedAdam:
    """Adam by torch's fused kernel, for parameters of one dtype on one device.

    The class around it in torch takes twice its time where networks are small.
    """

    def __init__(self, parameters: list[nn.Parameter], betas: tuple[float, float]) -> None:
        self.parameters, self.betas = [p.detach() for p in parameters], betas
        self.first, self.second = ([torch.zeros_like(p) for p in self.parameters] for _ in range(2))
        self.taken = torch.zeros((), dtype=torch.float32, device=self.parameters[0].device)

    def step(self, gradients: list[Tensor], rate: float) -> None:
        """One step of Adam (Kingma, Ba 2015, arXiv 1412.6980), ε = 10⁻⁸, with this rate."""
        self.taken += 1
        torch._fused_adam_(
            self.parameters,
            [_laid_out(g, p) for g, p in zip(gradients, self.parameters, strict=True)],
            self.first,
            self.second,
            [],
            [self.taken] * len(self.parameters),
            lr=rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )


def _laid_out(gradient: Tensor, parameter: Tensor) -> Tensor:
    """As the fused kernel reads it, which on a CPU looks at neither strides nor shapes."""
    assert gradient.shape == parameter.shape
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


class TorchOptimiser:
    """A torch optimiser that a user's factory made. Raises: InputError for one that needs more than gradients."""

    def __init__(self, parameters: list[nn.Parameter], factory: Factory) -> None:
        self.parameters, self.optimiser = parameters, factory(parameters)
        if not isinstance(self.optimiser, torch.optim.Optimizer) or isinstance(self.optimiser, torch.optim.LBFGS):
            got = type(self.optimiser).__name__
            raise InputError(f"the factory must make a torch optimiser that needs gradients only, got {got}")

    def step(self, gradients: list[Tensor], rate: float) -> None:
        """One step of the optimiser, with this as its learning rate."""
        self.optimiser.param_groups[0]["lr"] = rate
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimiser.step()
