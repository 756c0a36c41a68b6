"""``srlib segment``: phases from grey values."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from srlib.cli.errors import one_sentence

METHODS = ("otsu", "multi-otsu", "random-forest")


@click.command()
@click.argument("grey")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path))
@click.option("--phases", type=int, help="How many; 2 by default, or as many as are painted.")
@click.option("--method", type=click.Choice(METHODS), help="By default Otsu's thresholds.")
@click.option("--painted", help="Labels for the forest: 0 is not painted, 1, 2 ... are phases.")
@click.option("--median", default=0, help="Edge of a median filter in each section: 3, 5 ...")
@click.option("--seed", default=0, show_default=True, help="Of the forest.")
@click.option("--overwrite", is_flag=True, help="Replace an output that is there.")
def segment(grey, out, phases, method, painted, median, seed, overwrite) -> None:
    """Segment a grey volume into phases 0, 1, 2 ..., the darkest first, or as they are painted.

    OUT is of the size of GREY, 8 bits a voxel; what was not measured becomes 255. Sections are
    segmented one by one, so a volume may be larger than memory.
    """
    from srlib.cli.restore import read_grey
    from srlib.data import io
    from srlib.data.fill import find_fill
    from srlib.inference import segmentation

    with one_sentence():
        method = method or ("random-forest" if painted else "multi-otsu")
        _check_options(phases, method, painted, median)
        io.check_output([p for p in (grey, painted) if p], out, overwrite)
        image = read_grey(grey)
        fill = find_fill(image.values)
        if fill:
            click.echo(f"{', '.join(f'{v:g}' for v in fill)} marks what was not measured: 255")
        if painted:
            paint = io.read(painted).values
            made = segmentation.by_forest(image.values, paint, median, seed, fill)
            if phases not in (None, made.phases):
                raise ValueError(f"{made.phases} phases are painted, not {phases}")
        else:
            made = segmentation.by_threshold(image.values, phases or 2, median, fill)
        about = f"srlib segment: {made.about}"
        options: dict[str, Any] = dict(fill=fill, description=about)
        counts = segmentation.segment_file(made, image.values, out, image.voxel_size, **options)
        _report(made, counts)


def _check_options(phases, method, painted, median) -> None:
    from srlib.inference.segmentation import check_phases

    if phases is not None:
        check_phases(phases)
    if method == "otsu" and phases not in (None, 2):
        raise ValueError(f"otsu separates 2 phases, not {phases}: use --method multi-otsu")
    if (method == "random-forest") != bool(painted):
        raise ValueError(
            "a random forest learns from painted pixels: give --method random-forest and "
            "--painted together"
        )
    if median and (median < 3 or median % 2 == 0 or median > 15):
        raise ValueError(f"--median {median} should be odd, from 3 to 15, or 0 for none")


def _report(made, counts: np.ndarray) -> None:
    shares = counts / max(counts.sum(), 1)
    click.echo(made.about)
    words = ", ".join(f"{k}: {share:.4f}" for k, share in enumerate(shares))
    click.echo(f"volume fractions {words}")
    if not made.valleys:
        click.echo(f"{made.separation:.1%} of painted pixels are right by trees that saw them not")
        return
    click.echo(f"the phases explain {made.separation:.1%} of the variance of the grey values")
    for k, valley in enumerate(made.valleys):
        if valley > 0.8:
            click.echo(
                f"phases {k} and {k + 1} have no valley between them ({valley:.0%} of the lower "
                "peak): their fractions hang on the threshold; try --median 3, or paint some "
                "pixels and use --method random-forest"
            )
        else:
            click.echo(f"between {k} and {k + 1}: a valley of {valley:.0%} of the lower peak")
