"""Plots: what is drawn is what was given, and bad numbers are refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import same_color

from srlib import metrics, viz
from srlib.viz import plots

PHASES = ["pore", "nickel", "ceramic"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def statistics(shift=0.0):
    rng = np.random.default_rng(0)
    return {
        "volume_fractions": rng.random((20, 3)) + shift,
        "interphase_areas": rng.random((20, 3)),
        "transport": rng.random((20, 2, 3)),
        "tpb": rng.random(20),
        "pairs": np.array([[0, 1], [0, 2], [1, 2]]),
    }


def panels(figure):
    return {ax.get_title(): ax for ax in figure.axes}


def test_violins_stand_side_by_side_with_their_means_and_the_pluses_of_the_image():
    stats = {"original": statistics(), "super-res": statistics(0.5)}
    points = {
        "volume_fractions": np.array([0.2, 0.3, 0.5]),
        "interphase_areas": {(0, 1): 0.1, (0, 2): 0.2, (1, 2): 0.3},
    }
    figure = viz.violins(stats, PHASES, points)
    shown = panels(figure)
    assert list(shown) == ["volume fraction", "interphase area", "transport efficiency"]
    ax = shown["volume fraction"]
    assert sum(isinstance(c, PolyCollection) for c in ax.collections) == 6
    lines = {round(float(np.mean(line.get_xdata())), 1): line for line in ax.lines[:6]}
    assert sorted(lines) == [-0.2, 0.2, 0.8, 1.2, 1.8, 2.2]  # two sources around each phase
    means = statistics()["volume_fractions"].mean(axis=0)
    for phase in range(3):
        assert lines[round(phase - 0.2, 1)].get_ydata() == pytest.approx(means[phase])
        assert lines[round(phase + 0.2, 1)].get_ydata() == pytest.approx(means[phase] + 0.5)
    assert ax.lines[6].get_ydata().tolist() == [0.2, 0.3, 0.5]
    assert shown["interphase area"].lines[6].get_ydata().tolist() == [0.1, 0.2, 0.3]
    names = [tick.get_text() for tick in shown["interphase area"].get_xticklabels()]
    assert names == ["pore/\nnickel", "pore/\nceramic", "nickel/\nceramic"]
    transport = shown["transport efficiency"]
    assert len(transport.lines) == 6  # no pluses: an image has no transport
    pooled = statistics()["transport"][:, :, 0].mean()
    assert transport.lines[0].get_ydata()[0] == pytest.approx(pooled)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["original", "super-res", "2D image"]


def test_violins_take_what_cube_statistics_returns():
    labels = np.random.default_rng(1).integers(0, 3, (20, 22, 24)).astype(np.uint8)
    stats = metrics.cube_statistics(labels, n=4, edge=8, transport_axes=(), workers=1)
    figure = viz.violins({"twin": stats}, PHASES, panels=["volume_fractions", "transport", "tpb"])
    assert list(panels(figure)) == ["volume fraction", "triple-phase boundary density"]
    line = panels(figure)["triple-phase boundary density"].lines[0]
    assert line.get_ydata()[0] == pytest.approx(stats["tpb"].mean())


def test_cs11_violins_of_an_anisotropic_material_keep_its_axes_apart():
    stats = statistics()
    axes = stats["transport"].shape[1]
    names = "zyx"[:axes]
    figure = viz.violins({"original": stats}, PHASES, directions=names)
    ax = panels(figure)["transport efficiency"]
    texts = [tick.get_text() for tick in ax.get_xticklabels()]
    assert texts == [f"{phase}\n{name}" for phase in PHASES for name in names]
    means = stats["transport"].mean(axis=0)  # (axes, phases)
    drawn = [line.get_ydata()[0] for line in ax.lines]
    assert drawn == pytest.approx(means.T.ravel())
    with pytest.raises(ValueError, match=f"not {axes + 1} axes"):
        viz.violins({"original": stats}, PHASES, directions="a" * (axes + 1))


def test_violins_of_few_values_are_dots():
    few = {"volume_fractions": np.random.default_rng(0).random((plots.FEW - 1, 3))}
    ax = viz.violins({"a": few}, PHASES).axes[0]
    assert not any(isinstance(c, PolyCollection) for c in ax.collections)
    assert [len(c.get_offsets()) for c in ax.collections] == [plots.FEW - 1] * 3


def test_violins_draw_a_constant_as_its_mean_only():
    stats = {"a": {"volume_fractions": np.full((5, 3), 0.25)}}
    ax = viz.violins(stats, PHASES).axes[0]
    assert len(ax.collections) == 0
    assert ax.lines[0].get_ydata().tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("stats", "options", "words"),
    [
        ({}, {}, "at least one source"),
        ({"a": {"volume_fractions": np.full((2, 3), np.nan)}}, {}, "of a holds NaN"),
        ({"a": {"volume_fractions": np.ones((2, 2))}}, {}, "not 3 columns"),
        ({"a": {}}, {"panels": ["colour"]}, "no panel 'colour'"),
    ],
)
def test_violins_refuse_what_they_cannot_draw(stats, options, words):
    with pytest.raises(ValueError, match=words):
        viz.violins(stats, PHASES, **options)


def test_curves_are_solid_for_the_original_and_dashed_for_the_mean_of_the_runs():
    original, runs = np.array([0.5, 0.3, 0.25]), np.array([[0.4, 0.2, 0.2], [0.6, 0.4, 0.2]])
    figure = viz.curves({"same": {"nickel": (original, runs)}}, PHASES)
    solid, dashed = figure.axes[0].lines
    assert solid.get_ydata().tolist() == original.tolist()
    assert dashed.get_ydata() == pytest.approx([0.5, 0.3, 0.2])
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    assert solid.get_color() == dashed.get_color() == viz.line_colours(3)[1]
    (band,) = figure.axes[0].collections
    corners = band.get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (0.2, 0.6)


def test_curves_of_pairs_do_not_take_the_colour_of_a_phase():
    pairs = {name: ([0, 1], [0, 1]) for name in ("pore/nickel", "pore/ceramic")}
    figure = viz.curves({"two": pairs}, PHASES)
    used = {line.get_color() for line in figure.axes[0].lines}
    assert len(used) == 2
    assert not used & set(viz.line_colours(3))


@pytest.mark.parametrize(
    ("given", "words"), [({}, "at least one panel"), ({"a": {"b": ([1], [np.nan])}}, "holds NaN")]
)
def test_curves_refuse_nothing_and_nan(given, words):
    with pytest.raises(ValueError, match=words):
        viz.curves(given)


def test_training_draws_records_targets_gate_and_rule():
    history = [
        {"iteration": 0, "gap": 3.0, "voxelwise": 0.1, "volume_fractions": [0.2, 0.3, 0.5]},
        {"iteration": 10, "gap": 2.0},
        {
            "iteration": 20,
            "voxelwise": 0.004,
            "volume_fractions": [0.3, 0.3, 0.4],
            "interphase_areas": {"0-1": 0.1, "0-2": 0.2, "1-2": 0.3},
            "stop": 0.04,
            "imprint": 0.05,
            "anisotropy": 0.06,
        },
    ]
    targets = {"volume_fractions": [0.31, 0.32, 0.37], "interphase_areas": {(0, 1): 0.15, (0, 2): 1,
               (1, 2): 2}}  # fmt: skip
    figure = viz.training(
        {"history": history, "best_iteration": 20}, PHASES, targets=targets, stop=0.015
    )
    gap, voxel, error, fractions, areas, signs = figure.axes
    assert gap.lines[0].get_xydata().tolist() == [[0, 3], [10, 2]]
    assert voxel.lines[0].get_xydata().tolist() == [[0, 0.1], [20, 0.004]]
    assert voxel.lines[1].get_ydata()[0] == 0.005
    assert error.lines[1].get_ydata()[0] == 0.015
    drawn = {line.get_label(): line for line in fractions.lines}
    assert drawn["ceramic"].get_xydata().tolist() == [[0, 0.5], [20, 0.4]]
    dotted = [line.get_ydata()[0] for line in fractions.lines if line.get_linestyle() == ":"]
    assert dotted == [0.31, 0.32, 0.37]
    assert {line.get_label(): line for line in areas.lines}["nickel/ceramic"].get_ydata() == [0.3]
    dotted = [line.get_ydata()[0] for line in areas.lines if line.get_linestyle() == ":"]
    assert dotted == [0.15, 1, 2]
    assert same_color(areas.lines[0].get_color(), areas.lines[1].get_color())
    assert [line.get_ydata()[0] for line in signs.lines[:2]] == [0.05, 0.06]


def test_training_without_a_coarse_volume_shows_the_two_point_error_instead_of_the_anchor():
    zeros = dict.fromkeys(("voxelwise", "anchored", "content"), 0.0)
    rest = {"gap": 1.0, "stop": 0.3, "imprint": 0.1, **zeros}
    history = [{"iteration": i, "s2": s, **rest} for i, s in ((0, 0.2), (10, 0.05))]
    figure = viz.training({"history": history}, PHASES)
    gap, voxel, *_ = figure.axes
    assert [line.get_label() for line in gap.lines] == ["critic gap"]
    (line,) = voxel.lines
    assert line.get_xydata().tolist() == [[0, 0.2], [10, 0.05]]
    assert voxel.get_yscale() == "linear" and "two-point" in voxel.get_title()


@pytest.mark.parametrize("history", [[], [{"gap": 1.0}]])
def test_training_needs_iterations(history):
    with pytest.raises(ValueError, match="each with its 'iteration'"):
        viz.training({"history": history}, PHASES)


def test_spectra_put_a_wave_of_known_length_at_its_frequency():
    wave = 0.5 + 0.5 * np.cos(2 * np.pi * np.arange(64) / 8) * np.ones((64, 1))
    figure = viz.spectra({"wave": wave}, {"wave": metrics.radial_spectrum(wave)}, PHASES)
    (line,) = figure.axes[2].lines
    assert line.get_xdata()[np.argmax(line.get_ydata())] == pytest.approx(1 / 8)
    assert line.get_xdata()[-1] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="the same names"):
        viz.spectra({"a": wave}, {}, PHASES)


def test_arms_draw_every_training_and_shade_the_first():
    rows = {"recipe": {"error": [1.0, 3.0], "lost": [0.1]}, "no noise": {"error": [5.0]}}
    figure = viz.arms(rows)
    first, second = figure.axes
    assert (first.get_title(), second.get_title()) == ("error", "lost")
    assert [t.get_text() for t in first.get_yticklabels()] == list(rows)
    dots = [line for line in first.lines if line.get_marker() == "o"]
    assert [line.get_xdata().tolist() for line in dots] == [[1, 3], [5]]
    means = [line.get_xdata().tolist() for line in first.lines if line.get_marker() == "|"]
    assert means == [[2], [5]]
    band = first.patches[0]
    assert (band.get_x(), band.get_x() + band.get_width()) == (1, 3)
    figure = viz.arms({"recipe": {"error": [1.0], "lost": []}, "no noise": {"lost": [0.1]}})
    assert not figure.axes[1].patches
    with pytest.raises(ValueError, match="NaN"):
        viz.arms({"recipe": {"error": [float("nan")]}})
    with pytest.raises(ValueError, match="at least one arm"):
        viz.arms({})


def test_trade_off_joins_the_settings_of_a_method():
    figure = viz.trade_off(
        {"cnn": ([0.1, 0.2], [0.3, 0.4], ["2", "4"]), "gan": ([0.3], [0.1], "4")}
    )
    ax = figure.axes[0]
    assert [line.get_label() for line in ax.lines] == ["cnn", "gan"]
    assert ax.lines[0].get_xydata().tolist() == [[0.1, 0.3], [0.2, 0.4]]
    assert [text.get_text() for text in ax.texts] == ["2", "4", "4"]
    with pytest.raises(ValueError, match="1 values for 2 labels"):
        viz.trade_off({"cnn": ([0.1], [0.3], ["2", "4"])})
    with pytest.raises(ValueError, match="at least one method"):
        viz.trade_off({})
