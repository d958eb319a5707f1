"""What a run trains: the denoiser, what is learned beside it, their optimiser, and the averages of the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainables.data import ImageData
from trainables.ema.classical_tracker import ClassicalEmas
from trainables.ema.tracker import PowerEma
from trainables.networks.modules.activation_checkpointing import checkpoint_blocks
from trainables.networks.modules.build import starting_denoiser
from trainables.networks.modules.forced_norm import ForcedNorm
from trainables.optimisers.optimiser_state import optimiser_tensors
from trainables.randomness import torch_seed
from trainables.recipe import Recipe
from trainables.training.batch import Batch, Losses, image_losses
from trainables.training.ranks import Ranks
from trainables.training.steps import Steps

if TYPE_CHECKING:
    from trainables.training.shards import Shards


class Model:
    """Initialised as a function of the recipe's seed alone, or from the start in `folder`; `launch` comes after a state has been
    restored, if there is one."""

    def __init__(self, recipe: Recipe, data: ImageData, ranks: Ranks, folder: Path = Path()) -> None:
        self._recipe, self._ranks = recipe, ranks
        self._shards: Shards | None = None
        sharded = recipe.arithmetic.parallel == "shards" and ranks.world > 1  # `launch` moves a part to the device
        self.denoiser = starting_denoiser(recipe, data, folder).to("cpu" if sharded else ranks.device)
        self.head = self._build_head()
        self._forced_norm = ForcedNorm(self.denoiser, *([self.head] if self.head else []))
        self.optimiser = recipe.optimiser.build([self.denoiser, *([self.head] if self.head else [])])
        self.steps = Steps(recipe.arithmetic, ranks.device, clip_norm=recipe.optimiser.clip_norm)
        self.ema = PowerEma(self.denoiser, recipe.ema.sigma_rels)
        self.classical = ClassicalEmas(self.denoiser, recipe.ema.classical)
        self._parallel: nn.Module = self.denoiser

    def launch(self) -> None:
        """Compile and join the ranks."""
        if self._recipe.arithmetic.activation_checkpointing:
            checkpoint_blocks(self.denoiser.network)
        if self._recipe.arithmetic.compile:
            self.denoiser.network.compile(mode=self._recipe.arithmetic.compile)  # in place: the names of the parameters stay
        if self._ranks.world > 1 and self._recipe.arithmetic.parallel == "shards":
            self._share_out()
        elif self._ranks.world > 1:
            self._parallel = DistributedDataParallel(self.denoiser, broadcast_buffers=False)

    def prepare(self, images: int) -> None:
        """Weight norms, dropout and learning rate of the step that begins after `images` images."""
        self._forced_norm()
        if self._recipe.arithmetic.compile:
            torch.compiler.cudagraph_mark_step_begin()  # what captured graphs gave in the step before may be written over
        if getattr(self._recipe.network, "dropout", 0.0):
            torch.manual_seed(torch_seed(self._recipe.seed, f"dropout/{self._ranks.rank}", images))
        rate = self._recipe.optimiser.learning_rate(images, self._recipe.duration.images)
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def backward(self, batch: Batch) -> Losses:
        """Gradients of the mean loss over the global batch, times the loss scale; the losses, detached.

        Computed in parts of at most `micro_batch` images.
        """
        settings = self._recipe.arithmetic
        parts = batch.split(settings.micro_batch or len(batch))
        losses = []
        for i, part in enumerate(parts):
            last = i == len(parts) - 1
            if self._shards:
                self._shards.synchronise(last)
            alone = last or self._ranks.world == 1 or self._shards
            with contextlib.nullcontext() if alone else self._parallel.no_sync():  # type: ignore[operator]
                loss = image_losses(self._parallel, self.denoiser, part, settings, self.head)
                (loss.total.sum() * self.steps.factor(len(batch))).backward()
            losses.append(loss)
        if self._shards:
            self._shards.gather_gradients()
        if self.head:
            self._ranks.average_gradients(self.head)
        return Losses.join(losses)

    def step(self, mean_loss: Tensor) -> None:
        """Skipped where the mean loss [] over all ranks or a gradient is not finite."""
        self.steps.take(self.optimiser, mean_loss)
        self.optimiser.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Everything by name, not copied: writing into these tensors before `launch` restores a state.

        Of shards, it is gathered from all ranks, and whole on the first alone.
        """
        named = {f"network/{name}": tensor for name, tensor in self.denoiser.state_dict().items()}
        named |= {f"head/{name}": tensor for name, tensor in (self.head.state_dict() if self.head else {}).items()}
        named |= {f"optimiser/{name}": tensor for name, tensor in optimiser_tensors(self.optimiser).items()}
        named |= {f"steps/{name}": tensor for name, tensor in self.steps.state().items()}
        named |= {f"classical/{name}/{i}": tensor for name, ts in self.classical.averages.items() for i, tensor in enumerate(ts)}
        named |= {f"ema/{w}/{i}": tensor for w, tensors in self.ema.averages.items() for i, tensor in enumerate(tensors)}
        return self._gathered(named) if self._shards else named

    def whole(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Something of each parameter of the denoiser, in their order; of shards, gathered from all ranks, which all ask at once."""
        if not self._shards:
            return list(tensors)
        return [self._shards.whole(mine, p) for mine, p in zip(tensors, self.denoiser.parameters(), strict=True)]

    @property
    def parameters(self) -> list[Tensor]:
        """Of the denoiser; of shards, this rank's rows."""
        return self._shards.parameters() if self._shards else list(self.denoiser.parameters())

    def _share_out(self) -> None:
        from trainables.training.shards import Shards  # torch.distributed.fsdp takes a second

        self._shards = self.steps.shards = shards = Shards(self.denoiser, self._ranks)
        shards.share_out(self.optimiser)
        parameters = shards.parameters()
        self.ema.share_out(parameters, shards.part)
        self.classical.share_out(parameters, shards.part)
        shards.forget_whole()
        self._forced_norm = ForcedNorm(self.denoiser, *([self.head] if self.head else []), rows=shards.rows)

    def _gathered(self, named: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state of all ranks, of parts of it."""
        assert self._shards
        ours = list(self.denoiser.parameters())
        by_name = {f"network/{name}": p for name, p in self.denoiser.named_parameters()}
        optimised = [p for group in self.optimiser.param_groups for p in group["params"]]
        found = {}
        for name, tensor in named.items():
            kind, _, rest = name.partition("/")
            if kind == "optimiser":
                parameter: Tensor | None = optimised[int(rest.partition("/")[0])]
            elif kind in ("ema", "classical"):
                parameter = ours[int(rest.rpartition("/")[2])]
            else:
                parameter = by_name.get(name)
            if parameter is not None:
                mine = self._shards.rows(parameter) if kind == "network" else tensor
                tensor = self._shards.whole(mine, parameter)
            if self._ranks.rank == 0:
                found[name] = tensor
        return found

    def _build_head(self) -> nn.Module | None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(self._recipe.seed, "weighting head"))
            head = self._recipe.weighting.head()
        return head.to(self._ranks.device) if head else None
