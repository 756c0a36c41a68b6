"""The ``srlib`` command: train, super-resolve and restore from the shell.

The one place that joins training, inference and files.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Errors of the library as one sentence and exit code 1, without a traceback."""
    try:
        yield
    except (ValueError, OSError, MemoryError) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        raise click.ClickException("interrupted; the same command goes on from there") from None


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="srlib")
def main() -> None:
    """Super-resolution of materials: coarse volumes made finer than they were measured."""


@main.command()
@click.argument("case")
@click.option("--profile", default="laptop", show_default=True, help="smoke, laptop or full.")
@click.option("--source", default="auto", show_default=True, help="auto, real or twin.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="_build/weights",
    show_default=True,
    help="Folder of the weights.",
)
@click.option("--device", help="cpu or cuda; the default is cuda if there is one.")
@click.option("--seconds", type=float, help="Stop after so many seconds.")
def train(case, profile, source, seed, out, device, seconds) -> None:
    """Train a CASE of srlib.datasets.load, such as case1; write its weights and their JSON."""
    from srlib import datasets, models
    from srlib.training import fit_superres

    with _one_sentence():
        inputs = datasets.load(case, source)
        model = fit_superres(inputs, profile, seed, device, seconds, out=out)
        path = out / f"{inputs.name}-{inputs.source}-{seed}.safetensors"
        if int(os.environ.get("RANK", 0)) == 0:
            models.export(model, path)
            click.echo(f"{path}: {model.meta['seconds']} s, best at {model.meta['best_iteration']}")


@main.command()
@click.argument("weights")
@click.argument("lr")
@click.argument("out")
@click.option("--seed", default=0, show_default=True)
@click.option("--tile", type=int, help="Coarse voxels an edge; 128 fine ones by default.")
@click.option("--crop", default=1, show_default=True, help="Coarse voxels left out at each face.")
def superres(weights, lr, out, seed, tile, crop) -> None:
    """Super-resolve a volume on disk; the same command goes on after an interruption.

    WEIGHTS is a .safetensors file or the name of shipped ones, LR an uncompressed .tif, or .zarr,
    of coarse phases 0, 1, 2 ..., and OUT the result, .tif or .zarr.
    """
    import torch

    from srlib import models
    from srlib.inference.streaming import superres_to_file

    with _one_sentence():
        model = models.load(weights).to("cuda" if torch.cuda.is_available() else "cpu")
        click.echo(superres_to_file(model, lr, out, seed, tile, crop, progress=True))


@main.command()
@click.argument("stack")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--n", type=int, required=True, help="Spacing of the sections over the size of a pixel, whole."
)
@click.option("--axis", default=0, show_default=True, help="The depth.")
@click.option("--weights", help="A file, or the name of shipped ones; none: learn from the stack.")
@click.option("--save", help="File for what is learnt: for --weights on further stacks.")
@click.option("--steps", type=int, help="Of the training; fewer for a first look.")
@click.option("--seed", default=0, show_default=True)
def depth(stack, out, n, axis, weights, save, steps, seed) -> None:
    """Restore the depth of a stack; without weights, learn from the stack itself first.

    STACK holds the measured sections, an uncompressed .tif, or .zarr; OUT is the result, .tif or
    .zarr.
    """
    import numpy as np

    from srlib import models, training
    from srlib.data.io import check_output, open_volume
    from srlib.inference.depth import restore_file
    from srlib.physics.sectioning import check_stack

    with _one_sentence():
        check_output(stack, out)
        unfinished = out.with_name(f".training-{out.name}")
        if weights:
            model = models.load(weights)
            if getattr(model, "n", n) != n:
                raise ValueError(f"{weights} is for n={model.n}, not {n}")
        else:
            sections = open_volume(stack)
            check_stack(sections, n, axis)
            options = dict(axis=axis, out=unfinished, save_every=100)
            recipe = training.DepthRecipe(steps=steps)
            model = training.fit_depth(np.asarray(sections), n, "SRGAN", seed, recipe, **options)
            if save:
                models.save(model, save, model.meta)
        click.echo(restore_file(model, stack, out, axis))
        if not weights:
            unfinished.unlink()


if __name__ == "__main__":
    main()
