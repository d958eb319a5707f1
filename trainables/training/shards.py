"""Fully sharded data parallelism: FSDP2 (torch.distributed.fsdp.fully_shard; Zhao et al. 2023).

Each rank holds some rows of every parameter, of its gradient, of the optimiser's moments and of the averages; a block's parameters
are whole on all ranks while it computes.  Optimiser and averages work on the rows as plain tensors.  Numbers without dimension, which
FSDP2 does not share out, are held by all ranks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.utils import get_total_norm

from trainables.networks.modules.denoiser import Denoiser
from trainables.networks.modules.units import Prunable
from trainables.training.ranks import Ranks


class Shards:
    """Shares out the parameters of a denoiser, in place; its modules and the names of its parameters stay."""

    def __init__(self, denoiser: Denoiser, ranks: Ranks) -> None:
        self._denoiser, self._ranks = denoiser, ranks
        before = list(denoiser.parameters())
        apart = {p for p in before if not p.ndim}
        denoiser.to(memory_format=torch.contiguous_format)  # FSDP2 takes no other
        for tensor in (*apart, *denoiser.buffers()):
            tensor.data = tensor.data.to(ranks.device)
        mesh = init_device_mesh(ranks.device.type, (ranks.world,))
        for module in (*(m for m in denoiser.modules() if isinstance(m, Prunable)), denoiser):
            fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=apart)
        self._lengths: dict[Tensor, int] = {}  # rows of the whole, by this rank's rows
        self._rows: dict[Tensor, Tensor] = {}  # this rank's rows of a parameter
        self._before: dict[Tensor, Tensor] = {}  # the same by the parameter as it was when it was whole, until `forget_whole`
        self._shared: list[tuple[nn.Parameter, nn.Parameter]] = []  # a parameter that is shared out, and this rank's rows of it
        self._apart: list[nn.Parameter] = []
        for old, new in zip(before, denoiser.parameters(), strict=True):
            if old in apart:
                self._apart.append(new)
                continue
            rows = nn.Parameter(new.detach().to_local(), requires_grad=new.requires_grad)  # type: ignore[attr-defined]
            self._shared.append((new, rows))
            self._before[old] = self._rows[new] = rows
            self._lengths[rows] = len(old)

    def rows(self, parameter: Tensor) -> Tensor:
        """This rank's rows of a parameter, which share its memory; of one that is not shared out, and of rows, itself."""
        return self._rows.get(parameter, parameter)

    def parameters(self) -> list[Tensor]:
        """This rank's rows of all parameters, in the denoiser's order."""
        return [self.rows(p) for p in self._denoiser.parameters()]

    def part(self, whole: Tensor, parameter: Tensor) -> Tensor:
        """Of something like a parameter that was whole, this rank's rows on the device; all of it where it is not shared out.  A copy."""
        if parameter not in self._before or not whole.ndim:
            return whole.detach().to(self._ranks.device, copy=True)
        each = -(-len(whole) // self._ranks.world)
        mine = whole.detach()[self._ranks.rank * each : (self._ranks.rank + 1) * each]
        return mine.to(self._ranks.device, copy=True, memory_format=torch.contiguous_format)

    def whole(self, mine: Tensor, parameter: Tensor) -> Tensor:
        """All ranks' rows of something like this rank's rows of a parameter, on the CPU; asked of all ranks at once."""
        length = self._lengths.get(self.rows(parameter))
        if length is None or not mine.ndim:
            return mine.detach().cpu()
        each = -(-length // self._ranks.world)
        padded = torch.cat([mine.detach(), mine.new_zeros(each - len(mine), *mine.shape[1:])])
        return self._ranks.gather(padded)[:length].cpu()

    def share_out(self, optimiser: torch.optim.Optimizer) -> None:
        """Let an optimiser of the parameters before go on with this rank's rows of parameters and moments."""
        for group in optimiser.param_groups:
            on_device = group.get("fused") or group.get("capturable")
            for old in group["params"]:
                moments = optimiser.state.pop(old, {})
                if moments:
                    optimiser.state[self._before.get(old, old)] = {
                        slot: self.part(value, old) if isinstance(value, Tensor) and (value.ndim or on_device) else value
                        for slot, value in moments.items()
                    }
            group["params"] = [self._before.get(old, old) for old in group["params"]]

    def forget_whole(self) -> None:
        """Let go of the parameters that were whole."""
        self._before = {}

    def synchronise(self, last: bool) -> None:
        """Whether the coming backward pass is the last one of a step, after which gradients are averaged over the ranks."""
        assert isinstance(self._denoiser, FSDPModule)
        self._denoiser.set_requires_gradient_sync(last)

    def gather_gradients(self) -> None:
        """Give this rank's rows their gradient, the mean over all ranks."""
        for parameter, rows in self._shared:
            rows.grad = None if parameter.grad is None else parameter.grad.to_local()  # type: ignore[attr-defined]
            parameter.grad = None
        apart = [p for p in self._apart if p.grad is not None]
        if apart:
            mean = self._ranks.sum(torch.stack([p.grad for p in self._apart if p.grad is not None])) / self._ranks.world
            for parameter, gradient in zip(apart, mean, strict=True):
                parameter.grad = gradient.clone()

    def norm(self, parameters: Sequence[Tensor]) -> Tensor:
        """The norm [] of the gradients of all ranks together."""
        shared = get_total_norm([p.grad for p in parameters if p in self._lengths and p.grad is not None], foreach=True)
        squares = self._ranks.sum(shared.square()[None])[0]
        rest = [p.grad for p in parameters if p not in self._lengths and p.grad is not None]
        return (squares + get_total_norm(rest, foreach=True).square()).sqrt() if rest else squares.sqrt()

    def any(self, found: Tensor) -> Tensor:
        """Whether [] some rank has found something, in float32."""
        return (self._ranks.sum(found[None])[0] > 0).float()
