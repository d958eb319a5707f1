"""EDM's augmentation pipe: random geometric changes that the network is told of (Karras et al. 2022, appendix F.2, table 6)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from trainables.augmentations.augmentation import Augmentation
from trainables.method import searchable
from trainables.randomness import words

if TYPE_CHECKING:
    from torch import Tensor

_SWITCHES = 5  # y-flip, scaling, rotation, anisotropy, translation; x-flips are always on
_UNIFORM, _NORMAL = 4, 4  # a0, a1, a3, a4 and a2, a5, a6, a7 of table 6


class EdmPipe(Augmentation):
    """Flips, scaling, rotation, anisotropy and translation, each with some probability; the network gets the nine augment labels.

    Labels are zero in sampling, so that generated images are of the data's own kind.  Defaults are those for CIFAR-10; FFHQ and AFHQ
    are trained with probability 0.15.  Images are resampled by cubic interpolation with reflection at the border, where EDM filters
    at twice the resolution; images that are only flipped or not changed are exact.
    """

    kind: Literal["edm"] = "edm"
    probability: float = searchable(0.12, low=0.0, high=0.3, ge=0, le=1, description="of each change but the x-flip (A_prob)")
    x_flip: bool = Field(True, description="mirror half of the images left to right")
    y_flip: bool = Field(True, description="mirror top to bottom: half of the images that are chosen with the probability")
    scale: float = Field(0.2, ge=0, le=1, description="standard deviation of the scaling, in octaves (log2 of A_scale); 0 is off")
    rotation: float = Field(1.0, ge=0, le=1, description="largest rotation, in half turns; 0 is off")
    anisotropy: float = Field(0.2, ge=0, le=1, description="standard deviation of the stretching, in octaves (log2 of A_aniso); 0 is off")
    translation: float = Field(0.125, ge=0, le=1, description="standard deviation of shifts, in image widths (A_trans); 0 is off")

    labels: ClassVar[int] = 9

    def apply(self, images: Tensor, seed: int, first: int) -> tuple[Tensor, Tensor | None]:
        import torch

        a = self._parameters(seed, first, len(images))
        labels = torch.stack([a[0], a[1], a[2], a[3].cos() - 1, a[3].sin(), a[5] * a[4].cos(), a[5] * a[4].sin(), a[6], a[7]], dim=1)
        for parameter, axis in ((a[0], 3), (a[1], 2)):
            flipped = (parameter > 0).to(images.device)
            images = torch.where(flipped[:, None, None, None], images.flip(axis), images)
        moved = torch.nonzero(labels[:, 2:].any(1)).flatten()
        if len(moved):
            there = moved.to(images.device)
            images = images.index_copy(0, there, _resampled(images[there], self._origins(a[:, moved])))
        return images, labels.float().to(images.device)

    def _parameters(self, seed: int, first: int, count: int) -> Tensor:
        """a0 .. a7 of table 6, [8, count] float64; zero where a change is off or was not chosen."""
        import torch

        bits = words(seed, "augmentation", first, count, _SWITCHES + _UNIFORM + _NORMAL)
        u = torch.from_numpy(((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53).T  # in (0, 1)
        y, scale, rotation, anisotropy, translation = (u[:_SWITCHES] < self.probability).double()
        x_flip, y_flip, turn, axis = u[_SWITCHES : _SWITCHES + _UNIFORM]
        normal = torch.special.ndtri(u[_SWITCHES + _UNIFORM :])
        return torch.stack([
            (x_flip < 0.5).double() * self.x_flip, (y_flip < 0.5).double() * y * self.y_flip,
            normal[0] * scale * (self.scale > 0),
            (2 * turn - 1) * math.pi * self.rotation * rotation,
            (2 * axis - 1) * math.pi * anisotropy * (self.anisotropy > 0), normal[1] * anisotropy * (self.anisotropy > 0),
            normal[2] * translation * (self.translation > 0), normal[3] * translation * (self.translation > 0),
        ])

    def _origins(self, a: Tensor) -> Tensor:
        """Affine maps [N,2,3] from each place of the changed image to its origin in the (flipped) one; places run from -1 to 1."""
        stretch = self.anisotropy * a[5]
        # The change is: scale, rotate, stretch along an axis, shift. Its inverse undoes them from the last to the first.
        linear = _scaling(-self.scale * a[2], -self.scale * a[2]) @ _rotation(a[3])
        linear = linear @ _rotation(a[4]) @ _scaling(-stretch, stretch) @ _rotation(-a[4])
        shift = 2 * self.translation * a[6:8].T[:, :, None]
        return _concatenated(linear, -linear @ shift)


def _resampled(images: Tensor, origins: Tensor) -> Tensor:
    import torch.nn.functional as F

    grid = F.affine_grid(origins.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False)


def _scaling(x_octaves: Tensor, y_octaves: Tensor) -> Tensor:
    import torch

    return torch.diag_embed(torch.stack([x_octaves.exp2(), y_octaves.exp2()], dim=1))


def _rotation(angle: Tensor) -> Tensor:
    """Turns x towards y, [N,2,2]."""
    import torch

    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)


def _concatenated(linear: Tensor, shift: Tensor) -> Tensor:
    import torch

    return torch.cat([linear, shift], dim=2)
