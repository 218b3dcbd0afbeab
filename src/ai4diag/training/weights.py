"""What happens to the weights in a step: AdamW, and their running average.

Both do what `torch.optim.AdamW(fused=True)` and a loop over `Tensor.lerp_` do, to the bit, with less of Python around
it: a step of a small network is spent in the optimizer's bookkeeping rather than in its arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

BETAS, EPSILON = (0.9, 0.999), 1e-8
STATE = ("step", "exp_avg", "exp_avg_sq")


class AdamW:
    """AdamW (Loshchilov and Hutter, arXiv:1711.05101) with torch's fused kernel; biases and norms do not decay.

    Args:
        parameters: the trainable ones.
        decay: weight decay of those with more than one dimension.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], decay: float) -> None:
        weights = list(parameters)
        keys = [(p.ndim <= 1 and bool(decay), str(p.dtype)) for p in weights]
        self._groups = [
            _Group([p for p, own in zip(weights, keys, strict=True) if own == key], 0.0 if key[0] else decay)
            for key in sorted(set(keys))
        ]

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """All parameters, in the order in which their state is numbered."""
        return [parameter for group in self._groups for parameter in group.parameters]

    def forget(self) -> None:
        """Drop the gradients."""
        for group in self._groups:
            for parameter in group.parameters:
                parameter.grad = None

    def step(self, rate: float, spoilt: torch.Tensor | None = None) -> None:
        """Take a step at a learning rate; a parameter without a gradient stays.

        Args:
            rate: learning rate.
            spoilt: float32 scalar on the device; where it is 1, everything stays as it is. Nobody waits for its value.
        """
        for group in self._groups:
            group.step(rate, spoilt)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the state as tensors named `<number>.<name>`."""
        each = [tensors for group in self._groups for tensors in zip(*group.state, strict=True)]
        return {f"{n}.{name}": tensor for n, one in enumerate(each) for name, tensor in zip(STATE, one, strict=True)}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state` returned."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


class _Group:
    """Parameters with the same decay and type."""

    def __init__(self, parameters: list[torch.nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = parameters, decay
        self._steps = torch.zeros(len(parameters), device=parameters[0].device)
        steps = list(self._steps.unbind())  # each its own count, all raised by one call
        means, squares = ([torch.zeros_like(p, requires_grad=False) for p in parameters] for _ in range(2))
        self.state = (steps, means, squares)

    @torch.no_grad()
    def step(self, rate: float, spoilt: torch.Tensor | None) -> None:
        parameters, gradients = list[torch.Tensor](self.parameters), [p.grad for p in self.parameters]
        steps, means, squares = self.state
        there = [number for number, gradient in enumerate(gradients) if gradient is not None]
        if not there:
            return
        if len(there) < len(parameters):
            parameters, steps, means, squares = (
                [values[number] for number in there] for values in (parameters, steps, means, squares)
            )
            torch._foreach_add_(steps, 1)
        else:
            self._steps += 1
        torch._fused_adamw_(
            parameters,
            [gradient for gradient in gradients if gradient is not None],
            means,
            squares,
            [],
            steps,
            amsgrad=False,
            lr=rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=self.decay,
            eps=EPSILON,
            maximize=False,
            found_inf=spoilt,
        )
        if spoilt is not None:
            torch._foreach_sub_(steps, [spoilt] * len(steps))


class Average:
    """Exponential running average of a network's weights and buffers; whole numbers are copied.

    Args:
        network: whose `state_dict` is averaged; its tensors must stay the same objects in memory.
        decay: largest decay per step; 0 switches averaging off.
    """

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        current = network.state_dict() if decay else {}
        self.state = copy(current)
        self._soft = _pairs(self.state, current, floating=True)
        self._hard = _pairs(self.state, current, floating=False)

    def update(self, step: int) -> None:
        """Move towards the weights; the decay rises with the step (0-based), so that early weights are forgotten."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(*self._soft, 1 - decay)
            for own, now in zip(*self._hard, strict=True):
                own.copy_(now)

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore `state`."""
        for name, tensor in self.state.items():
            tensor.copy_(state[name])


def copy(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return copies that share no memory with the originals."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _pairs(
    state: Mapping[str, torch.Tensor], current: Mapping[str, torch.Tensor], floating: bool
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    names = [name for name, tensor in state.items() if tensor.is_floating_point() == floating]
    return [state[name] for name in names], [current[name] for name in names]
