"""The EDM2 network against the reference implementation: forward, gradients, five training steps."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from tests.conftest import GOLDEN
from trainables.ema.tracker import PowerEma
from trainables.log_snr import from_edm_sigma
from trainables.networks.edm2 import Edm2
from trainables.networks.modules.denoiser import SIGMA_DATA, Denoiser
from trainables.networks.modules.forced_norm import ForcedNorm
from trainables.networks.modules.magnitude import (
    MPConv,
    MPFourier,
    mp_cat,
    mp_silu,
    mp_sum,
    pixel_norm,
    rms_unit,
)
from trainables.targets import make_target
from trainables.weightings.uncertainty import Uncertainty

TINY = Edm2(channels=8, mult=(1, 2), blocks=1, attention=(4,), channels_per_head=8)


def our_name(reference: str) -> str:
    name = reference.replace("unet.", "").replace("emb_fourier", "fourier")
    name = name.replace("emb_noise", "embed_noise").replace("emb_label", "embed_label")
    name = re.sub(r"^enc\.(\d+)x\d+", r"encoder.\1", name)
    name = re.sub(r"^dec\.(\d+)x\d+", r"decoder.\1", name)
    return name.replace("conv_res", "conv").replace("conv_skip", "skip")


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / "edm2_net.npz") as file:
        return {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}


def part(golden: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {our_name(k.removeprefix(prefix)): v for k, v in golden.items() if k.startswith(prefix) and "logvar" not in k}


@pytest.fixture
def denoiser(golden) -> Denoiser:
    net = TINY.build(1, 8, 4)
    net.load_state_dict(part(golden, "init/"))
    return Denoiser(net, make_target("edm"), classes=4)


def test_forward_equals_the_reference(golden, denoiser) -> None:
    denoiser.eval()
    with torch.no_grad():
        out = denoiser.denoise(golden["eval/x"], golden["eval/sigma"], golden["eval/labels"])
        unlabelled = denoiser.denoise(golden["eval/x"], golden["eval/sigma"])
    torch.testing.assert_close(out, golden["eval/D"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(unlabelled, golden["eval/D_nolabel"], rtol=1e-5, atol=1e-6)


def test_gradients_and_five_steps_equal_the_reference(golden, denoiser) -> None:
    net = denoiser.network
    fourier, head = MPFourier(128), MPConv(128, 1)  # the reference trained with its uncertainty head
    fourier.load_state_dict({k: golden[f"init/logvar_fourier.{k}"] for k in ("freqs", "phases")})
    head.load_state_dict({"weight": golden["init/logvar_linear.weight"]})
    optimiser = torch.optim.Adam([*net.parameters(), *head.parameters()], betas=(0.9, 0.99))
    ema, norm = PowerEma(net, (0.05, 0.1)), ForcedNorm(net, head)
    for step in range(5):
        norm()
        if step == 0:
            for name, expected in part(golden, "w0_after_forced_norm/").items():
                torch.testing.assert_close(net.state_dict()[name], expected, rtol=1e-5, atol=1e-6)
        sigma = golden["train/sigma"][step].flatten()
        log_snr = from_edm_sigma(sigma)
        noisy, wanted = denoiser.corrupt(golden["train/images"][step] / 0.5, golden["train/noise"][step], log_snr)
        error = (denoiser(noisy, log_snr, golden["train/labels"][step]) - wanted) ** 2
        u = head(fourier(sigma.log() / 4)).reshape(-1, 1, 1, 1)
        loss = error / u.exp() + u
        assert loss.mean().item() == pytest.approx(golden["train/mean_loss"][step].item(), rel=1e-5)
        optimiser.zero_grad()
        (loss.sum() / len(sigma)).backward()
        if step == 0:
            for name, expected in part(golden, "grad0/").items():
                torch.testing.assert_close(dict(net.named_parameters())[name].grad, expected, rtol=1e-4, atol=1e-5)
        optimiser.param_groups[0]["lr"] = golden["train/lr"][step].item()
        optimiser.step()
        ema.update((step + 1) * 8, 8)
    for name, expected in part(golden, "final/").items():
        torch.testing.assert_close(net.state_dict()[name], expected, rtol=1e-5, atol=1e-5)
    for width in (0.05, 0.1):
        averaged = TINY.build(1, 8, 4)
        ema.copy_to(width, averaged)
        named = dict(averaged.named_parameters())
        for name, expected in part(golden, f"ema-{width:.3f}/").items():
            if name in named:
                torch.testing.assert_close(named[name].detach(), expected, rtol=1e-5, atol=1e-5)


def test_primitives_equal_the_reference(golden_edm2) -> None:
    g = golden_edm2
    torch.testing.assert_close(mp_silu(torch.tensor(g["mp_silu"]["x"])), torch.tensor(g["mp_silu"]["y"]))
    for case in g["mp_sum"]:
        torch.testing.assert_close(mp_sum(torch.tensor(case["a"]), torch.tensor(case["b"]), case["t"]), torch.tensor(case["y"]))
    for case in g["mp_cat"]:
        torch.testing.assert_close(mp_cat(torch.tensor(case["a"]), torch.tensor(case["b"]), case["t"]), torch.tensor(case["y"]))
    x = torch.tensor(g["normalize"]["x"], dtype=torch.float64)
    torch.testing.assert_close(rms_unit(x), torch.tensor(g["normalize"]["y_formula_float64"], dtype=torch.float64))
    x = torch.tensor(g["pixel_norm_dim1"]["x"], dtype=torch.float64)
    torch.testing.assert_close(rms_unit(x, (1,)), torch.tensor(g["pixel_norm_dim1"]["y_formula_float64"], dtype=torch.float64))
    fourier = MPFourier(4)
    fourier.freqs, fourier.phases = torch.tensor(g["mp_fourier"]["freqs"]), torch.tensor(g["mp_fourier"]["phases"])
    torch.testing.assert_close(fourier(torch.tensor(g["mp_fourier"]["x"])), torch.tensor(g["mp_fourier"]["y"]), rtol=1e-5, atol=1e-6)


def test_convolution_and_its_tangent_gradient_equal_the_reference(golden_edm2) -> None:
    g = golden_edm2["mp_conv3x3"]
    before = torch.tensor(g["weight_before"])
    conv = MPConv(before.shape[1], before.shape[0], 3)
    conv.weight.data = before
    ForcedNorm(conv)()
    torch.testing.assert_close(conv.weight.detach(), torch.tensor(g["weight_after_forced_norm"]), rtol=1e-5, atol=1e-6)
    y = conv(torch.tensor(g["x"]), gain=g["gain"])
    torch.testing.assert_close(y.detach(), torch.tensor(g["y"]), rtol=1e-5, atol=1e-6)
    y.square().sum().backward()
    torch.testing.assert_close(conv.weight.grad, torch.tensor(g["grad_of_sum_y2"]), rtol=1e-4, atol=1e-5)


def test_linear_layer_and_resampling_equal_the_reference(golden_edm2) -> None:
    g = golden_edm2["mp_linear_eval"]
    weight = torch.tensor(g["weight"], dtype=torch.float64)
    linear = MPConv(weight.shape[1], weight.shape[0])
    linear.weight.data = weight
    y = linear(torch.tensor(g["x"], dtype=torch.float64), gain=g["gain"])
    torch.testing.assert_close(y.detach(), torch.tensor(g["y"], dtype=torch.float64), rtol=1e-6, atol=1e-7)
    g = golden_edm2["resample_11"]
    x = torch.tensor(g["x"])
    torch.testing.assert_close(torch.nn.functional.avg_pool2d(x, 2), torch.tensor(g["down"]))
    corner = x[:, :, :2, :2]
    torch.testing.assert_close(torch.nn.functional.interpolate(corner, scale_factor=2, mode="nearest"), torch.tensor(g["up"]))


def test_uncertainty_loss_equals_the_reference(golden_edm2) -> None:
    for case in golden_edm2["edm2_loss"]:
        log_snr = from_edm_sigma(torch.tensor([case["sigma"]], dtype=torch.float64))
        # (D - y)^2 = err2 in EDM's coordinates is err2/sigma_data^2 for unit-variance data.
        weighted = Uncertainty().weight(log_snr, make_target("x0")) * case["err2"] / SIGMA_DATA**2
        u = torch.tensor(case["u"], dtype=torch.float64)
        assert float(weighted / u.exp() + u) == pytest.approx(case["loss"], rel=1e-9)
        assert float(weighted.log()) == pytest.approx(case["optimal_u"], rel=1e-9)


@pytest.mark.parametrize("norm", [lambda x: rms_unit(x, (1,)), pixel_norm])
def test_gradient_of_a_zero_pixel_is_finite(norm) -> None:
    x = torch.zeros(1, 3, 2, 2, requires_grad=True)
    norm(x).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pixel_norm_equals_rms_unit_with_its_gradient(layout) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 7, 4, 4).to(memory_format=layout).requires_grad_()
    other = x.detach().clone().requires_grad_()
    wanted = torch.randn(3, 7, 4, 4)
    a, b = pixel_norm(x), rms_unit(other, (1,))
    torch.testing.assert_close(a, b)
    (a * wanted).sum().backward()
    (b * wanted).sum().backward()
    torch.testing.assert_close(x.grad, other.grad)


def test_images_that_cannot_be_halved_are_explained() -> None:
    with pytest.raises(ValueError, match="at most 2 entries in mult"):
        Edm2(mult=(1, 2, 3)).build(1, 6, 0)
