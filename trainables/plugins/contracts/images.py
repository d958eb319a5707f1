"""Contracts of data sources, feature spaces and samplers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from trainables.data import DataSource, ImageData
from trainables.data.digits import Digits
from trainables.errors import ConfigError
from trainables.metrics import Features
from trainables.plugins.contracts.requirement import Broken, Contracts, close, require
from trainables.randomness import normal
from trainables.sampling import Sampler

_MEAN, _STD = 0.3, 0.5


def images_are_data(source: DataSource) -> None:
    """read gives images [N,C,H,W] with labels, the same every time"""
    data = source.read()
    require(isinstance(data, ImageData), f"read() gives {type(data).__name__}, not ImageData")
    images, labels = data.images, data.labels
    require(images.ndim == 4 and len(images) > 0, f"images have the shape {images.shape}, not [N,C,H,W]")
    require(images.dtype in (np.uint8, np.float32, np.float16), f"images are {images.dtype}: use uint8 for pictures, float32 for latents")
    require(images.shape[2] == images.shape[3], f"images are {images.shape[2]}x{images.shape[3]}: only square ones can be trained")
    require(labels.dtype == np.int64 and labels.shape == (len(images),), f"labels are {labels.dtype} {labels.shape}, not int64 [N]")
    require(not data.classes or (labels.min() >= 0 and labels.max() < data.classes), f"labels are not all in 0 .. {data.classes - 1}")
    require(not data.pictures or int(images.max()) <= data.peak, f"a value is above peak = {data.peak}")
    require((data.statistics[1] > 1e-6).all(), "a channel is constant")
    require(source.resolution in (None, images.shape[-1]), f"resolution is {source.resolution}, and images have {images.shape[-1]} pixels")
    require(source.read().key == data.key, "a second reading gives other images")


def content_counts(source: DataSource) -> None:
    """what is read is known by its files, or stated"""
    require(bool(source.stated) != bool(source.files), "give `files` (paths by field) where it reads some, or `stated` where it reads none")
    unknown = set(source.files) - set(type(source).model_fields)
    require(not unknown, f"files: there are no fields {', '.join(sorted(unknown))}")


def features_are_those_of_each_image(features: Features) -> None:
    """features are finite float32 [N, dimensions], of each image by itself, the same every time"""
    with tempfile.TemporaryDirectory() as folder:
        try:
            extractor = features.prepare(some := _digits(), Path(folder))
        except ConfigError:  # it is for latents
            extractor = features.prepare(some := _digits(latents=True), Path(folder))
        found = extractor(some.images).features
        require(found.ndim == 2 and len(found) == 256 and found.dtype == np.float32, f"features are {found.dtype} {found.shape}")
        require(np.isfinite(found).all(), "a feature is not finite")
        require(features.dimensions in (None, found.shape[1]), f"dimensions is {features.dimensions}, and there are {found.shape[1]}")
        close(extractor(some.images[10:20]).features, found[10:20], "features of an image depend on the others", 1e-3, 1e-4)
        again = features.prepare(some, Path(folder))
        close(again(some.images).features, found, "prepared a second time, features differ", 1e-5, 1e-6)
        require(extractor.hash and again.hash == extractor.hash, "hash must be the same for the same features")


def _digits(latents: bool = False) -> ImageData:
    data = Digits().load()
    images = data.images[:256]
    return ImageData(images.astype(np.float32) if latents else images, data.labels[:256], data.classes, data.peak)


def the_metric_has_a_name(features: Features) -> None:
    """its Fréchet distance has a name of its own"""
    name, ours = features.metric, ("fd_probe", "fd_pixels", "fd_latent", "fd_dinov2", "fid")
    require(name.startswith("fd_") and name == name.lower(), f"'{name}': use fd_ and small letters")
    require(name not in ours, f"'{name}' is one of ours")


def levels_are_where_the_denoiser_is_called(sampler: Sampler) -> None:
    """levels and evaluations are those of the denoiser's calls"""
    called: list[float] = []
    _sampled(sampler, called)
    require(len(called) == sampler.evaluations, f"evaluations = {sampler.evaluations}, and the denoiser was called {len(called)} times")
    close(called, sampler.levels, "levels are not those of the calls", 1e-6)


def samples_are_images(sampler: Sampler) -> None:
    """samples keep shape and dtype, are finite, and the same for the same noise"""
    images = _sampled(sampler, [])
    require(images.shape == (512, 1, 2, 2) and images.dtype == torch.float32, f"{tuple(images.shape)} {images.dtype}")
    require(torch.isfinite(images).all(), "a value is not finite")
    require(torch.equal(_sampled(sampler, []), images), "the same noise gives other images")


def samples_of_a_gaussian_are_gaussian(sampler: Sampler) -> None:
    """with the exact denoiser of a Gaussian, samples have its mean and standard deviation"""
    images = _sampled(sampler, [])
    mean, std = float(images.mean()), float(images.std())
    require(abs(mean - _MEAN) < 0.1 and abs(std - _STD) < 0.1, f"mean {mean:.3f}, standard deviation {std:.3f} instead of {_MEAN}, {_STD}")


def _sampled(sampler: Sampler, called: list[float]) -> torch.Tensor:
    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        if sigma.ndim:
            raise Broken("the denoiser takes a scalar sigma")
        called.append(float(sigma))
        s = sigma.to(x.dtype)
        return (_STD**2 * x + s**2 * _MEAN) / (_STD**2 + s**2)

    noise = normal(0, "contract", 0, 512, (1, 2, 2)).float()
    return sampler.sample(denoise, noise, lambda step: normal(1, f"contract {step}", 0, 512, (1, 2, 2)).float())


CONTRACTS: Contracts = {
    DataSource: (images_are_data, content_counts),
    Features: (features_are_those_of_each_image, the_metric_has_a_name),
    Sampler: (levels_are_where_the_denoiser_is_called, samples_are_images, samples_of_a_gaussian_are_gaussian),
}
