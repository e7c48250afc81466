"""The fast transform against PyWavelets (agreement), and the layouts by properties: round trips, places, energy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.models.wavelet.design import Design, named_design
from harness.models.wavelet.front_end import FrontEnd, coloured, largest
from harness.models.wavelet.layouts import bands_of, groups_of
from harness.models.wavelet.transform import decompose, recompose, reference_decomposition

WAVELETS = ("haar", "db1", "db2", "db4", "sym4", "coif1", "bior2.2")
TOLERANCE = 1e-6
"""Double precision; what is left are orders of summation."""


def images(height: int = 64, width: int = 64, channels: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((2, channels, height, width))) * 255


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_the_fast_transform_equals_pywavelets(wavelet: str) -> None:
    x = images(64, 32)
    ours, ours_details = decompose(x, wavelet, 2)
    theirs, theirs_details = reference_decomposition(x.numpy(), wavelet, 2)
    assert np.abs(ours.numpy() - theirs).max() < TOLERANCE * 255
    for our, their in zip(ours_details, theirs_details, strict=True):
        for a, b in zip(our, their, strict=True):
            assert np.abs(a.numpy() - b).max() < TOLERANCE * 255


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_the_inverse_gives_the_image_back(wavelet: str) -> None:
    x = images()
    assert torch.allclose(recompose(*decompose(x, wavelet, 3), wavelet), x, atol=1e-9 * 255)


def test_haar_doubles_the_scale_of_a_smooth_region_at_each_level() -> None:
    approximation, _ = decompose(torch.ones(1, 1, 32, 32), "haar", 5)
    assert approximation.item() == pytest.approx(32.0)


@pytest.mark.parametrize("layout", ["block", "comb", "rows"])
@pytest.mark.parametrize("wavelet", ["haar", "db2"])
def test_the_image_comes_back_from_the_tokens(layout: str, wavelet: str) -> None:
    x = images(64, 64)
    groups = groups_of(*decompose(x, wavelet, 3), layout)
    assert [g.shape[-1] for g in groups] == [144, 36, 12]
    assert torch.allclose(recompose(*bands_of(groups, 8, 8, 3, layout), wavelet), x, atol=1e-9 * 255)


def test_the_tokens_of_a_wide_image_come_back_too() -> None:
    x = images(48, 128, channels=1)
    groups = groups_of(*decompose(x, "haar", 3), "block")
    assert torch.allclose(recompose(*bands_of(groups, 6, 16, 1, "block"), "haar"), x, atol=1e-9 * 255)


def tokens_touched(layout: str, row: int, column: int) -> set[int]:
    plain, marked = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    marked[0, 0, row, column] = 1
    design = Design(levels=3, colour="grey", layout=layout, normalise="none", centre=False, projection="dense")
    end = FrontEnd(design, 64, 64, 8)
    change = (end.raw_features(marked) - end.raw_features(plain)).abs().sum(-1)[0]
    return set(torch.nonzero(change > 1e-9).flatten().tolist())


def test_one_pixel_changes_only_the_token_of_its_cell_in_block_layout() -> None:
    assert tokens_touched("block", 20, 45) == {(20 // 8) * 8 + 45 // 8}


@pytest.mark.parametrize("layout", ["comb", "rows"])
def test_one_pixel_changes_tokens_of_other_places_in_the_published_layouts(layout: str) -> None:
    assert tokens_touched(layout, 20, 45) - {(20 // 8) * 8 + 45 // 8}


def test_a_comb_token_has_a_column_of_the_finest_band_and_a_rows_token_a_row() -> None:
    x = torch.zeros(1, 1, 512, 512)
    _, details = decompose(x, "haar", 5)
    finest = torch.arange(256.0 * 256).reshape(1, 1, 256, 256)
    details[-1] = (finest, finest, finest)
    comb = groups_of(torch.zeros(1, 1, 16, 16), details, "comb")[0][0, 7, :256]
    rows = groups_of(torch.zeros(1, 1, 16, 16), details, "rows")[0][0, 7, :256]
    assert torch.equal(comb, finest[0, 0, :, 7])
    assert torch.equal(rows, finest[0, 0, 7])


def test_haar_block_tokens_are_a_rotation_of_patch_tokens() -> None:
    x = images()
    shared = {"levels": 3, "colour": "rgb", "normalise": "none", "projection": "dense"}
    patches = FrontEnd(Design(wavelet=None, **shared), 64, 64, 8).double().raw_features(x).flatten(0, 1)
    haar = FrontEnd(Design(wavelet="haar", **shared), 64, 64, 8).double().raw_features(x).flatten(0, 1)
    assert torch.allclose(patches @ patches.T, haar @ haar.T, atol=1e-9)


def test_all_coefficients_kept_is_lossless() -> None:
    decomposition = decompose(images(), "haar", 3)
    kept = largest(*decomposition, 1.0)
    assert torch.equal(kept[0], decomposition[0])
    assert all(
        torch.equal(a, b) for x, y in zip(kept[1], decomposition[1], strict=True) for a, b in zip(x, y, strict=True)
    )


@pytest.mark.parametrize("keep", [0.2, 0.25, 0.75])
def test_the_share_of_coefficients_kept_is_the_one_asked_for(keep: float) -> None:
    approximation, details = largest(*decompose(images(), "haar", 3), keep)
    total = sum(m.numel() for m in (approximation, *(b for d in details for b in d)))
    kept = sum(int(m.count_nonzero()) for m in (approximation, *(b for d in details for b in d)))
    assert kept / total == pytest.approx(keep, abs=1e-3)


def test_the_published_v3_widths_follow_from_the_inverse_rule() -> None:
    design = named_design("wavelet-v3")
    assert design.group_sizes() == (2304, 576, 144, 36, 12)
    assert design.level_widths(896) == (3, 13, 52, 207, 621)
    end = FrontEnd(design, 512, 512, 896)
    assert sum(p.numel() for p in end.projection.parameters()) == 37_688


def test_the_published_v1_mapping_has_its_number_of_parameters() -> None:
    end = FrontEnd(named_design("wavelet-v1"), 512, 512, 1536)
    places = end.projection.places.numel()
    assert places == 256 * 3072
    assert sum(p.numel() for p in end.projection.parameters()) == 17_307_648


def test_v12_gives_sixteen_by_sixteen_tokens() -> None:
    end = FrontEnd(named_design("wavelet-v1.2"), 512, 512, 896)
    assert end.tokens == 256
    assert end(torch.rand(1, 3, 512, 512) * 255).shape == (1, 256, 896)


def test_grey_ground_has_no_colour_after_centring() -> None:
    planes = coloured(torch.full((1, 3, 8, 8), 127.5), Design())
    assert planes.abs().max() < 1e-6


def test_standardised_features_have_mean_zero_and_deviation_one_on_what_was_measured() -> None:
    end = FrontEnd(Design(projection="dense"), 64, 64, 8)
    x = images(seed=1).float().repeat(8, 1, 1, 1) * torch.rand(16, 3, 64, 64)
    end.measure([x])
    rows = end.features(x).flatten(0, 1)
    assert rows.mean(0).abs().max() < 1e-4
    assert (rows.std(0) - 1).abs().max() < 0.02


def test_whitened_features_are_uncorrelated() -> None:
    end = FrontEnd(Design(wavelet=None, levels=2, normalise="zca", projection="dense"), 64, 64, 8)
    x = torch.rand(64, 3, 64, 64) * 255
    end.measure([x])
    covariance = torch.cov(end.features(x).flatten(0, 1).T)
    assert (covariance - torch.eye(len(covariance))).abs().max() < 0.05
