"""``srlib superres``: a coarse volume and a fine image to a fine volume, with a report."""

import hashlib
from pathlib import Path
from typing import Any

import click

from srlib.cli.errors import one_sentence
from srlib.cli.unfinished import unfinished


def _numbers(kind: type):
    """Turns ``0,85,170`` into numbers."""

    def parse(context, option, text: str | None) -> list | None:
        try:
            return None if text is None else [kind(part) for part in text.split(",")]
        except ValueError:
            raise click.BadParameter(f"{text!r} should be numbers such as 0,1,2") from None

    return parse


@click.command()
@click.argument("coarse")
@click.argument("fine", nargs=-1)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, help="The fine volume."
)
@click.option("--model", "weights", help="Trained weights, for a further volume: no training.")
@click.option("--scale-factor", type=float, help="Fine voxels per coarse voxel edge, 1 to 10.")
@click.option("--phase-map", callback=_numbers(int), help="Coarse phase of each fine one: 0,1,0.")
@click.option("--voxel-size", type=float, help="Of COARSE, micrometres, if it does not say it.")
@click.option(
    "--mode",
    type=click.Choice(["blur", "nearest"]),
    help="Coarse voxels average (scans), or copy one.",
)
@click.option("--labels", callback=_numbers(float), help="Value of each coarse phase: 0,128,255.")
@click.option("--fine-labels", callback=_numbers(float), help="The same for the fine images.")
@click.option("--names", help="Of the fine phases: pore,metal,binder.")
@click.option("--normals", callback=_numbers(int), help="Axis normal to each fine image: 0,1,2.")
@click.option(
    "--iterations",
    type=click.IntRange(1),
    default=1500,
    show_default=True,
    help="60: a first look.",
)
@click.option(
    "--profile", default="laptop", show_default=True, help="Network: smoke, laptop or full."
)
@click.option(
    "--samples",
    type=click.IntRange(2),
    default=5,
    show_default=True,
    help="Of random input, for the report.",
)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--tile", type=click.IntRange(1), help="Coarse voxels an edge; less takes less memory."
)
@click.option("--report/--no-report", default=True, show_default=True, help="Write OUT.html.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that are there.")
@click.pass_context
def superres(
    context,
    coarse,
    fine,
    out,
    weights,
    samples,
    seed,
    tile,
    report,
    overwrite,
    iterations,
    profile,
    **given,
) -> None:
    """Make a COARSE volume finer, with a model learned from FINE images of the same material.

    What is not given is proposed from the files. OUT.safetensors is the model, and OUT.html a
    report that says how far to believe the volume. After an interruption the same command goes on.
    """
    from srlib import models
    from srlib.data import io
    from srlib.inference.streaming import superres_to_file
    from srlib.training import fit_superres
    from srlib.training.distributed import choose_device

    with one_sentence():
        io.check_output(coarse, out)
        kept, page = (out.with_name(out.name + ending) for ending in (".safetensors", ".html"))
        if not fine and not weights:
            raise ValueError("name a fine image after the coarse volume, or a trained --model")
        if weights and (idle := _of_a_training(context)):
            raise ValueError(f"{', '.join(idle)} belong to a training: leave out --model, or these")
        mine: Any = _own_case(coarse, fine, given) if fine else None
        if mine:
            _check_cuts(mine, tile)
        outputs = [out] + [kept] * (not weights) + [page] * bool(report and mine)
        with unfinished(context, outputs, overwrite):
            if weights:
                model = models.load(weights).to(choose_device(None))
                _check_model(model, mine, given["scale_factor"])
            else:
                folder = _training_folder(mine, out, profile, seed, iterations)
                model = fit_superres(mine.case, profile, seed, out=folder, iterations=iterations)
                models.save(model, kept, model.meta)
                click.echo(f"model: {kept}")
            labels = mine.labels if mine else given["labels"]
            edge = given["voxel_size"]
            sizes = mine.coarse.voxel_size if mine else edge and (edge,) * 3
            how: dict[str, Any] = dict(labels=labels, voxel_size=sizes)
            superres_to_file(model, coarse, out, seed, tile, **how)
            click.echo(f"volume: {out}")
            if report and not mine:
                click.echo("no report: name the fine images, too, to get one")
            if report and mine:
                _write_report(page, model, mine, out, samples, seed)
                click.echo(f"report: {page}")
        if not weights:
            io.remove(folder)


def _of_a_training(context) -> list[str]:
    """Options that were given and that only a training has."""
    given = click.core.ParameterSource.COMMANDLINE
    names = ["iterations", "profile"]
    return [f"--{n}" for n in names if context.get_parameter_source(n) == given]


def _own_case(coarse, fine, given: dict):
    """The case of the files, after saying what was found and proposed."""
    from srlib.cli.inspect import said
    from srlib.data.own_files import own_case

    names = given["names"].split(",") if given["names"] else None
    mine = own_case(
        coarse,
        fine,
        given["scale_factor"],
        labels=given["labels"],
        fine_labels=given["fine_labels"],
        phases=names,
        phase_map=given["phase_map"],
        mode=given["mode"],
        normals=given["normals"],
        voxel_size=given["voxel_size"],
    )
    case = mine.case
    assert case.lr is not None and case.phase_map is not None  # made of a coarse volume
    rows = case.phase_map.argmax(1)
    click.echo("\n".join(said(mine.pair.findings)))
    pairs = ", ".join(f"{p} -> {case.lr_phases[k]}" for p, k in zip(case.phases, rows, strict=True))
    click.echo(f"scale factor {case.scale_factor:g}, mode {case.mode}, phases {pairs}")
    if case.lr.shape != mine.coarse.values.shape:
        click.echo(f"trained on the {' x '.join(map(str, case.lr.shape))} voxels in the middle")
    return mine


def _check_cuts(mine, tile: int | None) -> None:
    """Raise a ValueError, before any training, if the volume cannot be cut into tiles."""
    from srlib.inference.tiling import check_cuts
    from srlib.physics.downsampling import exact_scale

    scale = exact_scale(mine.case.scale_factor)
    check_cuts(scale.denominator, float(scale), mine.coarse.values.shape, 1, tile)


def _check_model(model, mine, scale_factor: float | None) -> None:
    """Raise a ValueError if a model is for other phases or another scale factor."""
    from srlib.inference.tiling import check_volume

    if scale_factor and abs(model.scale_factor / scale_factor - 1) > 1e-3:
        raise ValueError(
            f"the model is for a scale factor of {float(model.scale_factor):g}, not "
            f"{scale_factor:g}: leave --scale-factor out, or train one without --model"
        )
    check_volume(model, (9, 9, 9) if mine is None else mine.coarse.values.shape, 1, None)
    if mine is None:
        return
    there = (float(model.scale_factor), model.n_lr)
    wanted = (float(mine.case.scale_factor), len(mine.labels))
    if there != wanted:
        raise ValueError(
            f"the model is for a scale factor of {there[0]:g} and {there[1]} coarse phases, the "
            f"files have {wanted[0]:g} and {wanted[1]}: train one without --model"
        )


def _training_folder(mine, out: Path, profile: str, seed: int, iterations: int) -> Path:
    """Where a training is kept until it is done; another name of the output finds it again."""
    about = repr((mine.case.key(), profile, seed, iterations))
    return out.absolute().with_name(f".training-{hashlib.sha256(about.encode()).hexdigest()[:12]}")


def _write_report(page: Path, model, mine, out: Path, samples: int, seed: int) -> None:
    """The report, on the part of the volume that belongs to the block that was trained on."""
    from srlib.data.io import read
    from srlib.inference.streaming import fine_voxel_size
    from srlib.viz.report import report

    scale = mine.case.scale_factor
    part = tuple(slice(round(scale * b.start), round(scale * (b.stop - 2))) for b in mine.block)
    volume, whole = read(out), mine.block == tuple(slice(0, n) for n in mine.coarse.values.shape)
    inputs = {
        "coarse volume": str(mine.coarse.path),
        "values of its phases": ", ".join(f"{v:g}" for v in mine.labels),
        f"fine image{'s' * (len(mine.fine) != 1)}": ", ".join(map(str, mine.fine)),
        "values of the fine phases": ", ".join(f"{v:g}" for v in mine.fine_labels),
        "scale factor used": f"{scale:g}",
        "output": str(out),
    }
    inputs |= {
        f"warning, {f.kind}": f.message for f in mine.pair.findings if f.severity == "warning"
    }
    report(
        page,
        model,
        mine.case,
        volume.values if whole else volume.values[part],
        voxel_size=fine_voxel_size(mine.coarse.voxel_size, scale),
        inputs=inputs,
        samples=samples,
        edge=128,
        progress=True,
        seed=seed,
    )
