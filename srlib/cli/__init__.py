"""The ``srlib`` command, a file for each of its commands.

The one place that joins training, inference and files.
"""

import click

from srlib.cli.data import data
from srlib.cli.depth import depth
from srlib.cli.inspect import inspect
from srlib.cli.restore import restore
from srlib.cli.segment import segment
from srlib.cli.superres import superres
from srlib.cli.train import train


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="srlib")
def main() -> None:
    """Super-resolution of materials: coarse volumes made finer than they were measured."""


for _command in (inspect, superres, depth, restore, segment, data, train):
    main.add_command(_command)
