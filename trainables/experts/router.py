"""A denoiser that asks another network at each group of noise levels; samplers and guidance need not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from trainables.experts.groups import levels_of
from trainables.networks.modules.denoiser import Denoiser
from trainables.schedules.restricted import Levels
from trainables.targets import Target

Load = Callable[[], Denoiser]


class Router(Denoiser):
    """Looks up the group of each image's level; an edge belongs to the group above it.

    Networks are loaded, in evaluation mode, when they are first needed.  With `resident` = n at most n are held, those used last:
    samplers go through the groups in order, so that one is enough.
    """

    def __init__(
        self, target: Target, classes: int, edges: Sequence[float], load: Sequence[Load], device: torch.device | None = None,
        resident: int = 0,
    ) -> None:
        """`edges` are rising log SNR, one fewer than the networks that `load` gives, from noise to data."""
        super().__init__(nn.Identity(), target, classes)
        if len(load) != len(edges) + 1:
            raise ValueError(f"{len(edges)} edges part {len(edges) + 1} groups, and {len(load)} networks were given")
        self._edges, self._load, self._resident = torch.tensor(list(edges), dtype=torch.float64), tuple(load), resident
        self._device = device or torch.device("cpu")
        self._loaded: dict[int, Denoiser] = {}  # the latest last; not submodules, because they come and go

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def loaded(self) -> list[int]:
        """The groups whose networks are held now."""
        return list(self._loaded)

    def forward(self, z_NCHW: Tensor, log_snr_N: Tensor, labels_NK: Tensor | None = None) -> Tensor:
        groups = torch.searchsorted(self._edges, log_snr_N.detach().cpu().double().contiguous(), right=True)
        present = groups.unique().tolist()
        if len(present) == 1:
            return self._expert(present[0])(z_NCHW, log_snr_N, labels_NK)
        out = torch.empty_like(z_NCHW, dtype=torch.float32)
        for group in present:
            mine = torch.nonzero(groups == group).flatten().to(z_NCHW.device)
            labels = labels_NK[mine] if labels_NK is not None else None
            out[mine] = self._expert(group)(z_NCHW[mine], log_snr_N[mine], labels)
        return out

    def _expert(self, group: int) -> Denoiser:
        network = self._loaded.pop(group, None)
        if network is None:
            while self._resident and len(self._loaded) >= self._resident:
                del self._loaded[next(iter(self._loaded))]
            network = self._load[group]().to(self._device).eval()
        self._loaded[group] = network
        return network


def around(expert: Denoiser, levels: Levels, elsewhere: Load) -> Router:
    """One network on its levels, and another one at all others."""
    edges = [end for end in (levels.low, levels.high) if end is not None]
    load: list[Load] = [elsewhere if part != levels else lambda: expert for part in levels_of(edges)]
    return Router(expert.target, expert.classes, edges, load, expert.device)
