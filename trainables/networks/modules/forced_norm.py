"""The forced weight norm (Karras et al. 2024, section 2.3) as one pass over all weights at the start of a step.

The paper has it inside every forward pass; the numbers are the same, and the graph stays free of side effects.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainables.networks.modules.magnitude import EPS, MPConv


class ForcedNorm:
    """Brings every magnitude-preserving weight of some modules back to RMS 1 per output.

    The weights are moved into one buffer, rows of equal length side by side, so that they are normalised together: an operator for each
    length and a few more, instead of nine for each weight.  They stay the same parameters, with the same memory format.
    """

    def __init__(self, *modules: nn.Module, rows: Callable[[Tensor], Tensor] | None = None) -> None:
        """`rows` gives those outputs of a weight that lie on this rank, where ranks share them out; they stay where they are."""
        layers = [m for module in modules for m in module.modules() if isinstance(m, MPConv) and m.norm == "forced"]
        self._layers = sorted(layers, key=lambda layer: _row(layer.weight))
        self._places: list[int] = []
        self._shared = rows is not None
        self._removed: Tensor | None = None
        if rows and self._layers:
            self._rows = [rows(layer.weight).detach().view(-1, _row(layer.weight)) for layer in self._layers]
            self._make_room([len(x) for x in self._rows])

    @torch.no_grad()
    def __call__(self) -> None:
        """Weights, and norms of those that a layer has lost, times 1 / (eps + RMS of their output's row)."""
        if not self._layers:
            return
        if not self._shared and self._pointers() != self._places:  # the first time, or somebody gave a parameter other memory
            self._lay_out()
        for rows, norms in zip(self._rows, self._norms_of_rows, strict=True):
            torch.linalg.vector_norm(rows, dim=1, keepdim=True, out=norms)
        if self._removed is not None:
            torch.hypot(self._norms, self._removed, out=self._norms)
        torch.addcmul(self._eps, self._norms, self._per_root, out=self._scales).reciprocal_()
        torch._foreach_mul_(self._rows, self._scales_of_rows)
        if self._removed is not None:
            self._removed.mul_(self._scales)

    def _pointers(self) -> list[int]:
        return [p.data_ptr() for layer in self._layers for p in layer.parameters(recurse=False)]

    def _lay_out(self) -> None:
        weights = [layer.weight for layer in self._layers]
        buffer = torch.empty(sum(w.numel() for w in weights), dtype=weights[0].dtype, device=weights[0].device)
        begin = 0
        self._rows = []
        for length, group in itertools.groupby(weights, _row):
            first = begin
            for weight in group:
                end = begin + weight.numel()
                _move(weight, _like(weight, buffer[begin:end]))
                begin = end
            self._rows.append(buffer[first:begin].view(-1, length))
        self._make_room([len(weight) for weight in weights])
        self._removed = self._lay_out_removed()
        self._places = self._pointers()

    def _make_room(self, outputs: list[int]) -> None:
        """For norms and scales of so many outputs of each layer."""
        counts = [len(rows) for rows in self._rows]
        like = self._rows[0]
        self._norms, self._scales = (like.new_empty(sum(counts), 1) for _ in range(2))
        self._norms_of_rows, self._scales_of_rows = self._norms.split(counts), self._scales.split(counts)
        self._per_root = torch.cat([
            like.new_full((count, 1), 1.0 / math.sqrt(x.fan_in)) for count, x in zip(outputs, self._layers, strict=True)])
        self._eps = like.new_full((1, 1), EPS)

    def _lay_out_removed(self) -> Tensor | None:
        """What `removed` holds, for all outputs [outputs, 1] in the order of the rows; None where no layer has lost inputs."""
        if all(layer.removed is None for layer in self._layers):
            return None
        removed = torch.zeros_like(self._norms)
        for layer, place in zip(self._layers, removed.flatten().split([len(x.weight) for x in self._layers]), strict=True):
            if layer.removed is not None:
                _move(layer.removed, place)
        return removed


def _row(weight: Tensor) -> int:
    """Values for each output."""
    return math.prod(weight.shape[1:])


def _move(parameter: nn.Parameter, place: Tensor) -> None:
    parameter.data = place.copy_(parameter.detach())


def _like(weight: Tensor, flat: Tensor) -> Tensor:
    """`flat` in the shape of a weight and, where its outputs lie one after the other, with its strides."""
    dense = weight.is_contiguous() or (weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last))
    return flat.as_strided(weight.shape, weight.stride()) if dense else flat.view(weight.shape)
