"""``srlib superres``: a coarse volume made finer."""

import click

from srlib.cli.errors import one_sentence


@click.command()
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

    with one_sentence():
        model = models.load(weights).to("cuda" if torch.cuda.is_available() else "cpu")
        click.echo(superres_to_file(model, lr, out, seed, tile, crop, progress=True))
