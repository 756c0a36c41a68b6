"""Figures: colours, scale bars, geometry, what is drawn where, and what is refused."""

from itertools import combinations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from skimage.color import rgb2lab
from torch import nn

from srlib import models, viz
from srlib.viz import fields, style

PHASES = ["pore", "nickel", "ceramic"]
FIXED = {  # Machado et al. 2009: what a dichromat sees of linear RGB
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.fixture(autouse=True)
def close_figures():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def lab(colours, seen_by=None):
    rgb = np.array([to_rgb(colour) for colour in colours])
    if seen_by:
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        linear = np.clip(linear @ np.array(FIXED[seen_by]).T, 0, 1)
        rgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb2lab(rgb[None])[0]


def colours_at(figure, ax, places):
    figure.canvas.draw()
    image = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3].astype(int)
    return [image[int(row), int(column)] for column, row in ax.transData.transform(places)]


@pytest.mark.parametrize(("n", "gap"), [(2, 60), (3, 35), (4, 20), (5, 15)])
def test_phases_go_from_dark_to_light_in_even_steps(n, gap):
    lightness = lab(viz.phase_colours(n))[:, 0]
    assert lightness[0] < 12
    assert np.diff(lightness).min() > gap


@pytest.mark.parametrize("eyes", [None, *FIXED])
@pytest.mark.parametrize(
    ("colours", "least"),
    [
        (viz.phase_colours(3), 30),
        (viz.phase_colours(4), 20),
        (viz.line_colours(3), 20),
        (viz.pair_colours(3), 20),
        (viz.SOURCES, 20),
    ],
)
def test_colours_stay_apart_for_colour_blind_readers(colours, least, eyes):
    points = lab(colours, eyes)
    assert min(np.linalg.norm(a - b) for a, b in combinations(points, 2)) > least


def test_lines_are_dark_enough_for_a_white_page():
    assert lab(viz.line_colours(5))[:, 0].max() < 70
    assert lab(viz.pair_colours(3))[:, 0].max() < 75


@pytest.mark.parametrize(
    ("width", "voxel_nm", "bar", "text"),
    [
        (1024, None, 200, "200 px"),
        (62, None, 10, "10 px"),
        (2, None, 1, "1 px"),
        (256, 400, 50, "20 µm"),
        (100, 50, 20, "1 µm"),
        (64, 10, 10, "100 nm"),
        (1000, 10_000, 200, "2 mm"),
        (100, 1 / 3, 30, "10 nm"),
        (10, 100 / 3, 3, "100 nm"),
    ],
)
def test_scale_bar_is_round_and_at_most_a_third(width, voxel_nm, bar, text):
    length, words = viz.scale_bar(width, voxel_nm)
    assert words == text
    assert length == pytest.approx(bar)


def test_bar_is_drawn_at_its_length_and_a_stretched_image_has_the_same():
    fine = np.tile(np.array([[0, 1, 2, 1]], np.uint8), (40, 10))
    coarse = fine[::4, ::4]
    figure = viz.panel([fine, coarse], ["fine", "coarse"], PHASES, voxel_nm=25)
    for ax in figure.axes:
        (bar,) = ax.lines
        assert bar.get_xdata()[1] - bar.get_xdata()[0] == pytest.approx(8 / 40)
        assert ax.texts[0].get_text() == "200 nm"
    assert [ax.images[0].get_extent() for ax in figure.axes] == [[0, 1, 1, 0]] * 2
    unknown = viz.panel([fine, coarse], ["fine", "coarse"], PHASES)
    assert [ax.texts[0].get_text() for ax in unknown.axes] == ["10 px", "10 px (fine)"]


def test_a_slice_is_drawn_in_its_colours_the_right_way_round():
    figure, axes = viz.new_figure(height=4, width=4)
    viz.show_slice(axes[0, 0], np.array([[0, 1], [2, 0]], np.uint8), PHASES)
    pore, nickel, ceramic = fields.palette(PHASES)
    wanted = {(0.25, 0.25): pore, (0.75, 0.25): nickel, (0.25, 0.75): ceramic, (0.8, 0.8): pore}
    seen = colours_at(figure, axes[0, 0], list(wanted))
    assert [colour.tolist() for colour in seen] == [c.tolist() for c in wanted.values()]


def test_phases_of_a_coarse_image_take_the_colour_of_their_name():
    image = fields.colour_image(
        np.array([[0, 1]]), ["pore", "active", "binder"], ["binder", "pore"], "x"
    )
    pore, _, binder = fields.palette(["pore", "active", "binder"])
    assert image.tolist() == [[binder.tolist(), pore.tolist()]]
    with pytest.raises(ValueError, match="'metal' is not one of"):
        fields.palette(PHASES, ["metal"])


def test_cube_shows_its_first_z_last_y_and_last_x_slices_joined_at_the_edges():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[:, -1, :] = 1
    labels[:, :, -1] = 2
    labels[0] = 0
    labels[0, -1, 0] = 1
    labels[0, 0, -1] = 2
    labels[-1, -1, -1] = 1
    figure, axes = viz.new_figure(height=4, width=4)
    viz.cube(axes[0, 0], labels, PHASES)
    colours = fields.palette(PHASES)
    c = np.cos(np.pi / 6)
    top, left, right = (0, -0.5), (-c / 2, -1.1), (c / 2, -1.1)
    left_corner, right_corner, lowest = (-0.8 * c, -0.5), (0.8 * c, -0.5), (0.05, -1.85)
    wanted = {
        top: (0, 1.0),
        left_corner: (1, 1.0),
        right_corner: (2, 1.0),
        left: (1, 0.9),
        right: (2, 0.78),
        lowest: (1, 0.78),
    }
    seen = colours_at(figure, axes[0, 0], list(wanted))
    for (place, (phase, shade)), colour in zip(wanted.items(), seen, strict=True):
        assert abs(colour - shade * colours[phase]).max() <= 2, place


def test_inputs_and_output_cuts_both_volumes_at_the_same_place():
    sr = np.zeros((8, 12, 16), np.uint8)
    sr[:, 6:8] = 1
    lr, hr = np.pad(sr[::2, ::2, ::2], 1), np.full((30, 20), 2, np.uint8)
    figure = viz.inputs_and_output(hr, lr, sr, PHASES, scale_factor=2, axis=1, position=0.55)
    shown = {ax.get_title(): ax for ax in figure.axes}
    assert list(shown)[:3] == [
        "fine image, 30×20",
        "coarse volume, 4×6×8",
        "super-res volume, 8×12×16",
    ]
    for title in ("coarse slice", "super-res slice, same place"):
        picture = shown[title].images[0].get_array()
        assert (picture == fields.palette(PHASES)[1]).all()
    assert shown["fine image, middle"].images[0].get_extent()[2] == pytest.approx(8 / 16)


def test_same_field_undoes_the_crop_of_the_edge():
    lr = np.arange(6 * 7 * 8, dtype=np.uint16).reshape(6, 7, 8)
    assert (viz.same_field(lr, np.zeros((24, 28, 32)), 4) == lr).all()
    assert (viz.same_field(lr, np.zeros((16, 20, 24)), 4) == lr[1:-1, 1:-1, 1:-1]).all()
    assert (viz.same_field(lr, np.zeros((4, 5, 6)), 4) == lr[1:-1, 1:-1, 1:-1]).all()
    assert (viz.same_field(lr, np.zeros((24, 28, 32))) == lr).all()
    assert viz.same_field(np.zeros((9, 9, 9)), np.zeros((45, 45, 45)), 64 / 13).shape == (9, 9, 9)


@pytest.mark.parametrize(
    ("shape", "factor"), [((24, 28, 31), 4), ((25, 29, 33), 4), ((16, 20, 24), None)]
)
def test_different_fields_are_refused(shape, factor):
    with pytest.raises(ValueError, match="do not show the same field of view"):
        viz.same_field(np.zeros((6, 7, 8)), np.zeros(shape), factor)


def test_grey_values_in_a_mask_lie_from_zero_to_one():
    image, mask = np.array([[-1.0, 0.5], [1.0, 1.0]]), np.array([[True, True], [True, False]])
    assert viz.in_mask(image, mask).tolist() == [[0, 0.75], [1, 0]]
    assert viz.in_mask(np.stack([image, -image]), mask).tolist()[1] == [[1, 0.25], [0, 0]]


def test_entropy_is_zero_in_agreement_and_log2_of_the_phases_in_full_disagreement():
    samples = np.array([[[0, 0, 1]], [[0, 1, 1]], [[0, 2, 2]]])
    thirds = np.log2(3) - 2 / 3
    assert viz.entropy_map(samples, 3)[0] == pytest.approx([0, np.log2(3), thirds])
    volumes = np.stack([samples, samples[:, :, ::-1]], 1)  # of two slices, the second mirrored
    assert viz.entropy(volumes, 3)[1, 0] == pytest.approx([thirds, np.log2(3), 0])
    with pytest.raises(ValueError, match="at least two samples"):
        viz.entropy_map(samples[:1], 3)


def test_disagreement_shows_inputs_samples_and_the_map():
    samples = np.stack([np.zeros((8, 8), int), np.eye(8, dtype=int)])
    figure = viz.disagreement(samples, PHASES, lr=samples[0, ::2, ::2], original=samples[1])
    titles = [ax.get_title() for ax in figure.axes if ax.images]
    assert titles[:4] == ["coarse", "original", "super-res, noise 0", "super-res, noise 1"]
    drawn = next(ax for ax in figure.axes if ax.get_title() == "disagreement of 2 noises")
    assert (drawn.images[0].get_array() == np.eye(8)).all()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((2, 2, 2), int), "should be an image"),
        (np.zeros((0, 4), int), "with voxels in it"),
        (np.array([[0, 3]]), "holds the label 3"),
        (np.array([[0, -1]]), "holds the label -1"),
        (np.array([["a", "b"]]), "not numbers"),
        (np.array([[0.5, np.nan]]), "between 0 and 1"),
        (np.array([[0.5, 2.0]]), "between 0 and 1"),
    ],
)
def test_a_bad_image_gives_one_sentence(labels, words):
    _, axes = viz.new_figure()
    with pytest.raises(ValueError, match=words):
        viz.show_slice(axes[0, 0], labels, PHASES, title="the slice")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: viz.panel([np.zeros((4, 4), int)], [], PHASES), "one title for each image"),
        (lambda: viz.panel([np.eye(4, 8), np.eye(4)], ["a", "b"], PHASES), "not show the same"),
        (lambda: viz.phase_colours(11), "1 to 10"),
        (lambda: viz.scale_bar(10, 0), "above 0"),
        (lambda: viz.slice_at(np.zeros((2, 2, 2)), 3, 0.5), "axis 0, 1 or 2"),
        (lambda: fields.check_labels(np.full((2, 2), np.nan), 3, 2), "holds NaN"),
        (lambda: fields.check_labels(np.full((2, 2), 0.5), 3, 2), "holds fractions"),
    ],
)
def test_bad_arguments_give_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_labels_of_other_types_are_taken_as_they_are():
    for labels in (torch.tensor([[0, 2]]), np.array([[0.0, 2.0]]), np.array([[False, True]])):
        checked = fields.check_labels(labels, 3, 2)
        assert checked.dtype == np.uint8
        assert checked.tolist() == np.asarray(labels, int).tolist()


def test_layer_rows_count_what_a_run_makes():
    body = nn.Sequential(nn.Conv3d(2, 5, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2))
    body.add_module("head", nn.Conv3d(5, 5, 1))
    rows = viz.layer_rows(nn.Sequential(body), torch.zeros(1, 2, 3, 4, 5))
    assert rows == [
        ("input", (2, 3, 4, 5), 0),
        ("Conv3d", (5, 3, 4, 5), 2 * 5 * 27 + 5),
        ("Upsample", (5, 6, 8, 10), 0),
        ("head", (5, 6, 8, 10), 5 * 5 + 5),
    ]
    assert not any(layer._forward_hooks for layer in body)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (models.SuperRes(3, 3, 4), (1, 4, 4, 4, 4)),
        (models.SuperRes(2, 3, 8), (1, 3, 2, 2, 2)),
        (models.SuperResCritic(3), (1, 3, 56, 56)),
        (models.SuperResLite(3, 3, 4), (1, 4, 12, 12, 12)),
        (models.SuperResLiteCritic(3), (1, 3, 40, 40)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_layer_rows_miss_no_parameter_of_our_networks(model, shape):
    rows = viz.layer_rows(model.eval(), torch.zeros(shape))
    assert sum(count for _, _, count in rows) == sum(p.numel() for p in model.parameters())


def test_architecture_draws_every_layer_and_the_sum():
    figure = viz.architecture([("conv", (64, 16, 16, 16), 1200), ("head", (3, 6, 4), 34)], "G")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"G", "conv", "64 × 16³", "1,200", "3 × 6 × 4", "34", "1,234"} <= set(texts)
    with pytest.raises(ValueError, match="at least one layer"):
        viz.architecture([])


def test_in22_the_workflow_shows_the_fields_and_every_state():
    grey = [np.full((8, 8), k / 9) for k in range(8)]
    figure = viz.restoration_workflow(
        grey[0], grey[1], grey[2:5], grey[5:8], (100.0, 50.0), ["T0", "T1", "T2"]
    )
    (ax,) = figure.axes
    shown = [float(inset.images[0].get_array().mean()) for inset in ax.child_axes]
    assert len(shown) == 8 and len(set(shown)) == 8, "every picture once"
    words = " ".join(text.get_text() for text in ax.texts)
    for part in ("LQ: 100 nm, 1 µm wide", "HQ: 50 nm", "LQ, T2", "InDI, T0", "register", "restore"):
        assert part in words, part
    (circle,) = (line for line in ax.lines if len(line.get_xdata()) == 100)
    wide = circle.get_xdata()
    assert np.ptp(wide) == pytest.approx(10, abs=0.1), "half of the 20 units of the LQ field"


def test_training_loop_names_its_parts_and_shows_the_data():
    sr = np.random.default_rng(0).integers(0, 3, (8, 8, 8))
    figure = viz.training_loop(sr[0], sr[::2, ::2, ::2] % 2, sr, PHASES, lr_phases=PHASES[:2])
    texts = " ".join(text.get_text() for text in figure.axes[0].texts)
    for part in ("generator", "critic", "voxel-wise loss", "fine image", "gradient penalty"):
        assert part in texts
    insets = figure.axes[0].child_axes
    assert len(insets) == 7
    assert style.PAGE_INCHES == figure.get_figwidth()
