from __future__ import annotations

import math

import numpy as np
import pytest

from exporters.errors import DatasetError
from exporters.metrics.haze_effect import haze_effect
from exporters.metrics.restoration import mean_ci95, psnr_db, quality, ssim, ssim_pooled

RNG = np.random.default_rng(0)
CLEAR = RNG.random((3, 40, 52))
NOISY = np.clip(CLEAR + RNG.normal(0.0, 0.1, CLEAR.shape), 0.0, 1.0)

SSIM_OF_SCIKIT_IMAGE = 0.945757384267
"""Of the two, by scikit-image 0.26.0: structural_similarity(channel_axis=0, data_range=1, gaussian_weights=True,
sigma=1.5, use_sample_covariance=False)."""


def test_an_error_of_a_tenth_everywhere_is_twenty_decibel() -> None:
    assert psnr_db(np.full((3, 4, 4), 0.6), np.full((3, 4, 4), 0.5)) == pytest.approx(20.0)
    assert psnr_db(np.uint8([[[51]]]), np.uint8([[[0]]])) == pytest.approx(-20.0 * math.log10(0.2))
    assert psnr_db(CLEAR, CLEAR) == math.inf


def test_what_was_restored_is_clamped_first() -> None:
    assert psnr_db(np.full((1, 4, 4), 1.7), np.full((1, 4, 4), 0.9)) == pytest.approx(20.0)


def test_ssim_is_that_of_scikit_image() -> None:
    assert ssim(NOISY, CLEAR) == pytest.approx(SSIM_OF_SCIKIT_IMAGE, abs=1e-6)
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image compares where it is installed")
    for seed in range(3):
        rng = np.random.default_rng(seed)
        one, other = rng.random((3, 33, 48)), rng.random((3, 33, 48))
        peer = metrics.structural_similarity(
            one, other, channel_axis=0, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert ssim(one, other) == pytest.approx(peer, abs=1e-7)
        assert psnr_db(one, other) == pytest.approx(metrics.peak_signal_noise_ratio(other, one, data_range=1.0))


def test_ssim_of_two_flat_images_follows_from_their_means() -> None:
    one, other = np.full((1, 16, 16), 0.4), np.full((1, 16, 16), 0.6)
    assert ssim(one, other) == pytest.approx((2 * 0.24 + 1e-4) / (0.16 + 0.36 + 1e-4))
    assert ssim(CLEAR, CLEAR) == pytest.approx(1.0)


def test_pooling_halves_a_large_image_and_leaves_a_small_one() -> None:
    large = np.kron(CLEAR[:, :40, :40], np.ones((1, 13, 13)))  # 520 px
    blurred = large.reshape(3, 260, 2, 260, 2).mean(axis=(2, 4))
    assert ssim_pooled(large * 0.9, large) == pytest.approx(ssim(blurred * 0.9, blurred))
    assert ssim_pooled(NOISY, CLEAR) == ssim(NOISY, CLEAR)


def test_quality_holds_all_three() -> None:
    found = quality(NOISY, CLEAR)
    assert (found.psnr_db, found.ssim) == (psnr_db(NOISY, CLEAR), ssim(NOISY, CLEAR))


def test_images_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(DatasetError, match="cannot be compared"):
        psnr_db(CLEAR, CLEAR[:, :20])
    with pytest.raises(DatasetError, match="more than 10 px, the image is 8 x 8"):
        ssim(np.zeros((3, 8, 8)), np.zeros((3, 8, 8)))


def test_the_interval_of_a_mean_covers_it_and_narrows() -> None:
    few, many = (mean_ci95(np.random.default_rng(1).normal(5.0, 1.0, n)) for n in (8, 800))
    for mean in (few, many):
        assert mean.ci95[0] < mean.value < mean.ci95[1]
    assert many.ci95[1] - many.ci95[0] < (few.ci95[1] - few.ci95[0]) / 4
    assert mean_ci95([3.0]).ci95 == (3.0, 3.0)
    with pytest.raises(DatasetError, match="nothing to average"):
        mean_ci95([])


def test_the_share_that_dehazing_brings_back_is_of_what_haze_cost() -> None:
    effect = haze_effect(
        0.9, haze=lambda score: score - 0.4, dehaze=lambda score: min(0.9, score + 0.3), score=lambda score: score
    )
    assert (effect.clear, effect.hazed, effect.dehazed, effect.clear_dehazed) == pytest.approx((0.9, 0.5, 0.8, 0.9))
    assert effect.recovered_frac == pytest.approx(0.75)
    harmless = haze_effect(0.9, haze=lambda score: score, dehaze=lambda score: score, score=lambda score: score)
    assert harmless.recovered_frac == 0.0
