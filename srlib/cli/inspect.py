"""``srlib inspect``: what files are, and what is wrong with them."""

import dataclasses
import json
import textwrap
from typing import Any

import click

from srlib.cli.errors import one_sentence

WIDTH = 100


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--scale-factor", type=float, help="Fine voxels along the edge of a coarse one.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.pass_context
def inspect(context, files, scale_factor, as_json) -> None:
    """Say what FILES are, what is wrong with them, and what to do.

    One file: an image, a stack or a volume. Several: a coarse volume and fine images of the same
    material; the only volume is the coarse one, or else the first file. Of each at most 17 million
    voxels from its middle are examined.

    The exit code is 2 if something makes the files unusable, else 0.
    """
    with one_sentence():
        from srlib.data import io
        from srlib.data.inspection import inspect_image
        from srlib.data.pairing import inspect_pair

        images = _coarse_first([io.read(path) for path in files])
        found = [inspect_image(image.values, image.voxel_size) for image in images]
        pair = None
        if len(images) > 1:
            values, sizes = [i.values for i in images], [i.voxel_size for i in images]
            pair = inspect_pair(values[0], values[1:], sizes[0], sizes[1:], scale_factor)
    if as_json:
        click.echo(json.dumps(_plain(images, found, pair), indent=1, allow_nan=False))
    else:
        click.echo("\n".join(_report(images, found, pair)))
    reports: list[Any] = [*found, *([pair] if pair else [])]
    if any(report.worst() == "error" for report in reports):
        context.exit(2)


def _coarse_first(images: list) -> list:
    """The only volume first; otherwise the order that was given."""
    volumes = [image for image in images if image.values.ndim == 3]
    if len(volumes) == 1 and images[0] is not volumes[0]:
        return volumes + [image for image in images if image is not volumes[0]]
    return images


def _report(images: list, found: list, pair) -> list[str]:
    lines = []
    for k, (image, report) in enumerate(zip(images, found, strict=True)):
        role = "" if pair is None else ("coarse: ", "fine: ")[k > 0]
        lines += [*_head(role, image, report), *said(report.findings), ""]
    if pair is not None:
        lines += ["together", *said(pair.findings)]
        if pair.phase_map is not None:
            choice = ", ".join(f"{f} -> {row.index(1)}" for f, row in enumerate(pair.phase_map))
            scale = "?" if pair.scale_factor is None else f"{pair.scale_factor:g}"
            lines += _folded(
                f"  proposed  scale factor {scale}, fine -> coarse phases {choice}, "
                f"mode {pair.mode or '?'}"
            )
    return lines


def _head(role: str, image, report) -> list[str]:
    from srlib.data.inspection import voxels

    axes = ", ".join("zyx"[-len(report.shape) :])
    size = " x ".join(map(str, report.shape))
    lines = [f"{role}{image.path}"]
    what = f"  {size} ({axes}), {report.dtype}, {report.kind} ({report.reason})"
    if report.voxel_size is not None:
        what += f", voxels {voxels(report.voxel_size)}"
    if report.grey is not None:
        what += f", grey {report.grey[0]:.5g} to {report.grey[1]:.5g} (0.5 to 99.5 %)"
    lines += _folded(what)
    if report.values:
        rows = zip(report.values, report.fractions, report.errors, strict=True)
        phases = [f"{k} (value {v:g}): {f:.4f} +- {e:.4f}" for k, (v, f, e) in enumerate(rows)]
        lines += _folded("  phases  " + "; ".join(phases))
    lines += [line for note in image.notes for line in _folded(f"  note  {note}")]
    return lines


def said(findings: list) -> list[str]:
    """Errors first, what is as it should be last."""
    order = ("error", "warning", "info")
    lines = []
    for finding in sorted(findings, key=lambda f: order.index(f.severity)):
        mark = {"info": "", "warning": "WARNING  ", "error": "ERROR  "}[finding.severity]
        advice = f" -> {finding.advice}" if finding.advice else ""
        lines += _folded(f"  {mark}{finding.kind}: {finding.message}{advice}")
    return lines


def _folded(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent="      ", break_long_words=False)


def _plain(images: list, found: list, pair) -> dict:
    """For JSON, where there is no NaN."""
    rows = [
        {"path": str(image.path), "notes": list(image.notes), **dataclasses.asdict(report)}
        for image, report in zip(images, found, strict=True)
    ]
    out = {"files": rows, "pair": None if pair is None else dataclasses.asdict(pair)}
    return _finite(out)


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return str(value)
    return value
