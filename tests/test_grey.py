"""Measures of grey slices: closed forms on asymmetric images."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from srlib.metrics import image_quality, segmentation


def scene(edge: int = 160) -> np.ndarray:
    """Labels: three discs of different sizes and a speck."""
    y, x = np.mgrid[:edge, :edge]
    labels = np.zeros((edge, edge), np.uint8)
    for cy, cx, r in ((50, 45, 26), (110, 100, 34), (36, 125, 20)):
        labels[np.hypot(y - cy, x - cx) < r] = 1
    return labels


def picture(labels: np.ndarray, sigma: float, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    image = gaussian_filter(np.where(labels == 1, -0.5, 0.5), sigma)
    return image + noise * np.random.default_rng(seed).standard_normal(labels.shape)


def texture(edge: int = 128, seed: int = 0) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).standard_normal((edge, edge)), 3)
    return 0.4 * field / field.std() / 2


@pytest.mark.parametrize(("sigma", "noise"), [(2.0, 0), (4.0, 0), (4.0, 0.05)])
def test_in25_width_of_a_blurred_edge_is_that_of_the_blur(sigma, noise):
    labels = scene()
    edges = image_quality.find_edges(labels)
    widths = image_quality.edge_widths(picture(labels, sigma, noise), edges, 50.0)
    assert len(edges) > 20 and np.isfinite(widths).mean() > 0.9
    assert np.nanmedian(widths) == pytest.approx(2.355 * sigma * 50, rel=0.1)


def test_in25_edges_are_free_and_normals_point_outwards():
    labels = scene()
    for y, x, ny, nx in image_quality.find_edges(labels, seed=1):
        assert np.hypot(ny, nx) == pytest.approx(1)
        inner, outer = (labels[int(round(y + k * ny)), int(round(x + k * nx))] for k in (-10, 10))
        assert (inner, outer) == (1, 0)
    with pytest.raises(ValueError, match="no free edge"):
        image_quality.find_edges(np.zeros((40, 40), np.uint8))


def test_in25_an_inverted_or_empty_image_has_no_width():
    labels = scene()
    edges = image_quality.find_edges(labels)
    assert np.isnan(image_quality.edge_widths(-picture(labels, 3.0), edges, 50.0)).all()
    noise = np.random.default_rng(0).standard_normal(labels.shape)
    assert np.isnan(image_quality.edge_widths(noise, edges, 50.0)).mean() > 0.9


def test_common_edges_are_those_of_all():
    nan = np.nan
    found = image_quality.common({"a": np.array([1, nan, 3, 4]), "b": np.array([nan, 2, 30, 40])})
    assert found["a"].tolist() == [3, 4] and found["b"].tolist() == [30, 40]


def test_in26_cnr_is_contrast_over_noise_of_the_matrix():
    labels = scene()
    image = picture(labels, 0.0, 0.1)
    image[labels == 1] += 0.3 * np.random.default_rng(1).standard_normal((labels == 1).sum())
    assert image_quality.cnr(image, labels) == pytest.approx(10, rel=0.05)
    blurred = picture(labels, 3.0)
    assert image_quality.cnr(blurred, labels, border=9) > 1.5 * image_quality.cnr(
        blurred, labels, border=1
    )
    with pytest.raises(ValueError, match="smaller border"):
        image_quality.cnr(image, labels, border=40)


def test_psnr_in_closed_form_and_only_inside_of_the_mask():
    image, mask = np.zeros((20, 30)), np.zeros((20, 30), bool)
    mask[:10] = True
    other = np.where(mask, 0.2, 5.0)
    assert image_quality.psnr(image, other, mask) == pytest.approx(20)
    assert image_quality.psnr(image, image) == float("inf")


def test_ssim_is_one_for_equals_and_falls_with_blur():
    image = texture()
    assert image_quality.ssim(image, image) == pytest.approx(1)
    a, b = (image_quality.ssim(gaussian_filter(image, s), image) for s in (1, 3))
    assert 1 > a > b > 0


def test_in27_blur_and_shift_lose_features():
    image = texture(192)
    same, blurred = (
        image_quality.sift_matches(gaussian_filter(image, s) if s else image, image) for s in (0, 4)
    )
    moved = shift(image, (0, 12), mode="wrap")
    assert same > 30 and blurred < 0.5 * same
    assert (
        image_quality.sift_matches(moved, image)
        < 0.1 * same
        < image_quality.sift_matches(moved, image, within=13)
    )
    assert image_quality.sift_matches(np.zeros_like(image), image) == 0


def test_middle_band_is_the_mean_of_the_images():
    image = np.random.default_rng(4).standard_normal((64, 64))
    mask = np.ones((64, 64), bool)
    soft = gaussian_filter(image, 2)
    both = [image_quality.band_power(x, image, mask)[0] for x in (soft, 2 * soft)]
    found = image_quality.middle_band([soft, 2 * soft], [image, image], mask)
    assert both[1] == pytest.approx(4 * both[0]) and found == pytest.approx(np.mean(both))


def test_band_power_is_that_of_the_amplitude():
    image = texture()
    assert image_quality.band_power(image, image) == pytest.approx((1, 1))
    assert image_quality.band_power(0.5 * image + 0.1, image) == pytest.approx(
        (0.25, 0.25), rel=0.01
    )
    mid, high = image_quality.band_power(gaussian_filter(image, 2), image)
    assert 1 > mid > 2 * high


def test_in43_audit_counts_by_hand():
    truth, found = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
    truth[2:10, 2:10] = truth[2:10, 30:40] = truth[40:42, 2:4] = True  # the last is too small
    found[2:10, 2:10] = found[30:40, 30:36] = True
    found[8:10, 30:40] = True  # 20 of 80 pixels of the second: just enough
    counts = segmentation.detection_errors(found, truth)
    assert counts == {"true": 2, "found": 3, "missed": 0, "false": 1}
    found[8:10, 30:40] = False
    assert segmentation.detection_errors(found, truth) == {
        "true": 2,
        "found": 2,
        "missed": 1,
        "false": 1,
    }
    both = segmentation.per_thousand([counts, segmentation.detection_errors(found, truth)])
    assert both == {"missed": 250, "false": 400}


def test_threshold_parts_particles_from_the_matrix():
    labels = scene()
    assert abs(segmentation.threshold(picture(labels, 1.0, 0.1))) < 0.15


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: image_quality.psnr(np.zeros((4, 4)), np.zeros((4, 5))), "alike"),
        (lambda: image_quality.psnr(np.full((4, 4), np.nan), np.zeros((4, 4))), "finite"),
        (
            lambda: image_quality.psnr(np.zeros((4, 4)), np.ones((4, 4)), np.zeros((4, 4), bool)),
            "empty",
        ),
        (lambda: image_quality.ssim(np.zeros((4, 4, 4)), np.ones((4, 4, 4))), "alike"),
    ],
)
def test_images_that_do_not_fit_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_me27_a_ring_correlation_says_to_which_fineness_an_image_is_right():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((128, 160))
    spectrum = np.fft.fft2(truth)
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, truth.shape), indexing="ij"))
    invented = np.fft.fft2(rng.standard_normal(truth.shape))
    half = np.fft.ifft2(np.where(frequency < 0.1, spectrum, invented)).real
    _, likeness = image_quality.ring_correlation(half, truth)
    assert likeness[:17].min() > 0.9 and np.abs(likeness[21:]).max() < 0.3
    assert image_quality.frc_resolution(half, truth) == pytest.approx(5.0, rel=0.1)
    assert image_quality.frc_resolution(gaussian_filter(truth, 3), truth) < 4, (
        "a blur alone loses nothing"
    )
    assert image_quality.frc_resolution(truth, truth) < 2.6
    assert image_quality.frc_resolution(np.roll(truth, 40, 1), truth) > 30


def test_in43_cracks_are_narrow_bright_gaps():
    image = np.full((60, 80), 0.6)
    image[10:50, 20:60] = -0.6
    image[12:48, 38:41] = 0.6  # a crack
    image[20:40, 48:58] = 0.6  # a hole, too wide
    found = segmentation.cracks(image, np.ones(image.shape, bool))
    assert found[20:40, 39].all() and not found[30, 50:56].any() and not found[:, :15].any()
    dark = image < 0
    assert segmentation.gaps(dark)[30, 39] and not (segmentation.gaps(dark) & dark).any()


def test_a_regular_pattern_stands_out():
    noise = np.random.default_rng(0).standard_normal((64, 96))
    y, x = np.indices(noise.shape)
    assert 0.5 < image_quality.checkerboard_power(noise) < 2.5
    assert image_quality.checkerboard_power(noise + ((y % 8 == 3) & (x % 8 == 1)) * 3.0) > 10
    assert (
        image_quality.checkerboard_power(noise + ((y % 2 == 1) & (x % 2 == 0)) * 1.0, period=2) > 10
    )
    with pytest.raises(ValueError, match="does not divide"):
        image_quality.checkerboard_power(noise, period=7)
