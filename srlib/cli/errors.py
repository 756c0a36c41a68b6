"""Errors of the library as one sentence on the screen."""

from collections.abc import Iterator
from contextlib import contextmanager

import click


class _Unusable(click.ClickException):
    """Input or options that cannot be used."""

    exit_code = 2


@contextmanager
def one_sentence() -> Iterator[None]:
    """Errors of the library as one sentence, without a traceback.

    The exit code is 2 for input or options that cannot be used, 1 for a run that was stopped.
    """
    try:
        yield
    except (ValueError, OSError, MemoryError) as error:
        raise _Unusable(str(error)) from None
    except KeyboardInterrupt:
        raise click.ClickException(
            "interrupted; the same command goes on from what was saved last"
        ) from None
