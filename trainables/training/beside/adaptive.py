"""The adaptive policy's extra passes: the variational bound before and after a step, whose gain is the policy's reward.

The passes see what the sampler will: no dropout, so that before and after differ by the step alone.  They have the training's number format
and at most `micro_batch` images at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from trainables.networks.modules.denoiser import per_image
from trainables.randomness import normal
from trainables.timesteps.adaptive import Adaptive, AdaptiveDraws
from trainables.training.beside import Beside, Step

_MOST_AT_ONCE = 256  # images, where the recipe does not say


def start(settings: Adaptive, draws: AdaptiveDraws) -> Beside:
    return Passes(settings, draws)


class Passes(Beside):
    """Their state is the policy's."""

    def __init__(self, settings: Adaptive, draws: AdaptiveDraws) -> None:
        self._settings, self._draws = settings, draws

    def before_step(self, step: Step) -> Callable[[], None] | None:
        if step.index % self._settings.update_every:
            return None
        before_all, before_chosen = self._terms(step)

        def after() -> None:
            after_all, after_chosen = self._terms(step)
            gain = (before_all - after_all).cpu().numpy()
            reward = (before_chosen - after_chosen).sum(1)
            finite = step.ranks.gather(reward).isfinite().all()  # of all ranks, as `gain` is, so that all decide alike
            if finite and np.isfinite(gain).all() and gain.any():  # a step that was skipped has no gain, and says nothing
                self._draws.learn(step.batch.clean, reward, gain, step.ranks.average_gradients)

        return after

    def _terms(self, step: Step) -> tuple[Tensor, Tensor]:
        """Variational terms in bits per dimension: of one image at all levels [T], and of the batch at the chosen ones [count, S].

        The levels are shared among the ranks; noise belongs to the step, so that before and after see the same.
        """
        clean, labels, ranks, seed = step.batch.clean, step.batch.labels, step.ranks, self._draws.seed
        device, shape = clean.device, tuple(clean.shape[1:])
        one = ranks.gather(clean)[step.index % (len(clean) * ranks.world)][None]
        label = None if labels is None else ranks.gather(labels)[step.index % (len(labels) * ranks.world)][None]
        share = -(-self._settings.levels // ranks.world)
        mine = torch.arange(ranks.rank * share, (ranks.rank + 1) * share).clamp(max=self._settings.levels - 1)
        noise = normal(seed, f"policy levels/{step.index}", int(mine[0]), len(mine), shape).to(device)
        its = None if label is None else label.expand(len(mine), -1)
        everything = ranks.gather(self._bits(step, one.expand(len(mine), *shape), its, noise, mine))[: self._settings.levels]

        noise = normal(seed, "policy batch", step.batch.first, len(clean), shape).to(device)
        columns = [self._bits(step, clean, labels, noise, torch.full((len(clean),), int(level))) for level in self._draws.chosen]
        self._draws.evaluations += len(mine) + len(columns) * len(clean)
        return everything, torch.stack(columns, 1)

    def _bits(self, step: Step, clean: Tensor, labels: Tensor | None, noise: Tensor, level: Tensor) -> Tensor:
        """The terms of images [N,C,H,W] at a level each [N]."""
        denoiser, size = step.denoiser, step.arithmetic.micro_batch or _MOST_AT_ONCE
        was_training, errors = denoiser.training, []
        denoiser.eval()
        with torch.no_grad():
            for part in (slice(i, i + size) for i in range(0, len(clean), size)):
                log_snr = torch.from_numpy(self._draws.grid)[level[part]].float().to(clean.device)
                noisy, _ = denoiser.corrupt(clean[part], noise[part], log_snr)
                with step.arithmetic.autocast(clean.device.type):
                    output = denoiser(noisy, log_snr, None if labels is None else labels[part])
                denoised = denoiser.target.denoise(output, noisy, per_image(log_snr, noisy))
                errors.append((denoised - clean[part]).double().square().flatten(1).mean(1))
        denoiser.train(was_training)
        return self._draws.bits(torch.cat(errors), level)
