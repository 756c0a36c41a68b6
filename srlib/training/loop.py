"""The training loop: one step after another, a history, and checkpoints to go on from."""

import io
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.std import tqdm

from srlib import results
from srlib.precision import number_format
from srlib.storage import write_atomic
from srlib.training.distributed import all_reduce_any, flush_denormals


class Trainer:
    """What every training has: where it is, what of it is kept, and how it goes on.

    A subclass makes networks and optimisers and says what one :meth:`step` is. All randomness of
    iteration i comes from ``(seed, i)``, so that a killed training goes on as if nothing had
    happened.

    Attributes:
        iteration: Steps done.
        seconds: Spent so far, over all interruptions.
        history: An entry for each record.
        kept: Names of what a checkpoint holds beside :meth:`modules`.
    """

    kept: tuple[str, ...] = ("iteration", "seconds", "history")

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed, self.device = int(seed), device
        self.rank = int(os.environ.get("RANK", 0))
        self.iteration, self.seconds = 0, 0.0
        self.history: list[dict] = []

    def step(self) -> dict:
        """One iteration; returns its losses."""
        raise NotImplementedError

    def modules(self) -> dict:
        """Networks and optimisers by name: all that has a ``state_dict``."""
        raise NotImplementedError

    def key(self) -> str:
        """What a checkpoint must share with a training to continue it."""
        raise NotImplementedError

    def record(self, steps: list[dict]) -> dict:
        """An entry of the history, from the logs of the steps since the last one."""
        raise NotImplementedError

    def postfix(self) -> str:
        """What the bar shows of the last entry."""
        return ""

    def finished(self) -> bool:
        """Whether the training may end early."""
        return False

    def random(self, *more: int) -> torch.Generator:
        """The random numbers of this iteration; ``more`` sets other streams apart."""
        seed = hash((self.seed, self.iteration, *more)) & 0x7FFFFFFF
        return torch.Generator().manual_seed(seed)

    @flush_denormals()
    def run(
        self,
        iterations: int,
        every: int,
        path: Path | None = None,
        *,
        seconds: float | None = None,
        label: str = "training",
        progress: bool = True,
        callback: Callable[[list[dict]], None] | None = None,
    ) -> None:
        """Step until the end; every so often keep a record and a checkpoint.

        Args:
            iterations: Where the training ends.
            every: Iterations between records.
            path: File of the checkpoint; a training found there is continued.
            seconds: Stop after so many; None to count iterations only.
            label: Of the progress bar.
            progress: Show the bar.
            callback: Called with the history after every record.

        Raises:
            ValueError: if the checkpoint is of another training, or damaged.
            OSError: if a checkpoint cannot be written.
        """
        self._begin(path)
        start, done, steps = time.monotonic() - self.seconds, self.finished(), []
        hidden = not progress or self.rank > 0
        options = dict(initial=self.iteration, disable=hidden, mininterval=1)
        with tqdm(desc=label, total=iterations, **options) as bar:
            while self.iteration < iterations and not done:
                steps.append(self.step())
                bar.update()
                spent = time.monotonic() - start
                late = seconds is not None and all_reduce_any(spent > seconds, self.device)
                if self.iteration % every and self.iteration < iterations and not late:
                    continue
                entry, steps = self.record(steps), []
                self.seconds = time.monotonic() - start
                entry["seconds"] = round(self.seconds, 3)
                self.history.append(entry)
                bar.set_postfix_str(self.postfix())
                if path and self.rank == 0:
                    self.save(path)
                if callback:
                    callback(self.history)
                done = late or all_reduce_any(self.finished(), self.device)

    def _begin(self, path: Path | None) -> None:
        """Go on from a checkpoint that is there, or see that one can be written."""
        if path and path.exists():
            self.resume(path)
        elif path and self.rank == 0:
            self.save(path)

    def save(self, path: Path) -> None:
        """Write all that a continued training needs, atomically."""
        states = {name: module.state_dict() for name, module in self.modules().items()}
        kept = {name: getattr(self, name) for name in self.kept}
        file = io.BytesIO()
        torch.save({"key": self.key(), "states": states, "kept": kept}, file)
        write_atomic(path, file.getvalue())

    def resume(self, path: Path) -> None:
        """Go on from :meth:`save`.

        Raises:
            ValueError: if the file is damaged, or of another training.
        """
        try:
            saved = torch.load(path, map_location=self.device, weights_only=True)
            key, states, kept = saved["key"], saved["states"], saved["kept"]
        except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, OSError):
            raise ValueError(f"{path} is damaged: delete it to begin anew") from None
        if key != self.key():
            raise ValueError(
                f"{path} is of a training with another recipe, seed or data: choose another folder"
            )
        for name, module in self.modules().items():
            module.load_state_dict(states[name])
        for name, value in kept.items():
            setattr(self, name, value)

    def fingerprint(self) -> dict:
        """What should be known of weights beside their recipe: where and how they were made."""
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "commit": results.commit(),
            "device": str(self.device),
            "numbers": str(number_format(self.device)).removeprefix("torch."),
            "threads": torch.get_num_threads(),
        }


def straight_through(probabilities: Tensor) -> Tensor:
    """One-hot most likely phase, with the gradient of the probabilities; phases along axis 1."""
    hard = torch.zeros_like(probabilities).scatter_(1, probabilities.argmax(1, keepdim=True), 1)
    return hard + probabilities - probabilities.detach()


@torch.no_grad()
def update_average(averaged: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    r"""Exponential moving average of weights whose decay rises with the step i.

    .. math:: \bar\theta \leftarrow d\,\bar\theta + (1 - d)\,\theta,
              \qquad d = \min\big(\mathrm{decay},\ \tfrac{1 + i}{10 + i}\big)
    """
    for mean, now in zip(averaged.parameters(), model.parameters(), strict=True):
        mean.lerp_(now, 1 - min(decay, (1 + step) / (10 + step)))
