"""The generator for scale factor 8 spread over processes, as the rock paper spreads it over GPUs.

``python -m benchmarks.pipeline --processes 3`` runs one training step of micro-batches, checks its
gradients against those of one process and prints what each process took.
"""

import argparse
import contextlib
import os
import socket
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from benchmarks.bench_models import peak_gb
from srlib.inference.memory import peak_bytes
from srlib.losses import voxelwise_loss
from srlib.models import SuperResLite
from srlib.models.layers import upsample, upsample_block
from srlib.precision import autocast

PHASES, SCALE = 4, 8
CHECKED = 2  # coarse voxels an edge of the windows for which gradients are compared
SPLITS = {1: [5], 2: [3, 5], 3: [3, 4, 5]}  # first of the five steps that is not in a stage


def build(seed: int = 0, **changes) -> SuperResLite:
    """The laptop generator of the rock, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SuperResLite(PHASES, PHASES, SCALE, grid_alignment="centre", **changes)


def batch(windows: int, edge: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Coarse windows with noise ``(B, 5, d, d, d)``, and their phases ``(B, 4, d, d, d)``."""
    rng = torch.Generator().manual_seed(seed)
    lr = torch.rand((windows, PHASES, *(edge,) * 3), generator=rng)
    lr = torch.zeros_like(lr).scatter_(1, lr.argmax(1, keepdim=True), 1)
    noise = torch.randn((windows, 1, *(edge,) * 3), generator=rng)
    return torch.cat([lr, noise], 1), lr


def loss(sr: Tensor, lr: Tensor) -> Tensor:
    """The anchor: fine phases ``(B, 4, 8*d, ...)`` against coarse ones ``(B, 4, d, ...)``.

    At temperature 1, where no weight has the gradient zero; at 100 a new network has no others.
    """
    return voxelwise_loss(sr, lr, SCALE, inverse_temperature=1.0)


class Stage(nn.Module):
    """Some of the five steps of a generator, and no weights of the others.

    The steps: coarse grid, twice as fine, four times, eight times, last layers. Between stages go
    features and the phases that skip the network, both of the coarsest size at hand.
    """

    def __init__(self, generator: SuperResLite, first: int, last: int) -> None:
        super().__init__()
        g, self.first, self.grid_alignment = generator, first, generator.grid_alignment
        self.numbers = autocast()
        steps = [
            [g.mix, g.first, g.coarse, g.norms[0]],
            [g.up[0], g.fine[0], g.norms[1]],
            [g.up[1], g.fine[1], g.norms[2]],
            [g.head],
            [g.finish],
        ]
        self.steps = nn.ModuleList(nn.ModuleList(step) for step in steps[first:last])

    def forward(self, x: Tensor, skip: Tensor | None = None) -> tuple[Tensor, Tensor] | Tensor:
        """From a window, or the features and skipping phases of the stage before, to the next."""
        with self.numbers:
            for number, parts in enumerate(self.steps, self.first):
                if number == 0:
                    mix, first, coarse, norm = parts
                    x, skip = norm(coarse(first(x))), mix(x[:, :PHASES])
                elif number < 3:
                    up, fine, norm = parts
                    x = norm(fine(upsample_block(up, x)))
                elif number == 3:
                    x = upsample_block(parts[0], x).float() + upsample(
                        skip, SCALE, self.grid_alignment
                    )
                else:
                    return (x + parts[0](x).float()).softmax(1)
            return (x.contiguous(), skip.contiguous()) if number < 3 else x.contiguous()


def stages(generator: SuperResLite, processes: int) -> list[Stage]:
    """The stages for two or three processes; they share the weights of the generator."""
    ends = SPLITS[processes]
    return [Stage(generator, a, b) for a, b in zip([0, *ends], ends, strict=False)]


def predicted(processes: int, edge: int, windows: int, generator=None) -> list[int]:
    """Peak bytes in every process; a stage holds as many windows as stages follow it, and its own.

    Args:
        processes: 1, 2 or 3.
        edge: Of a window, in coarse voxels.
        windows: Micro-batches of one window.
        generator: From :func:`build`, which is the default; gradients may come to hang on it.
    """
    kinds, found = [((1, PHASES + 1, *(edge,) * 3), torch.float32)], []
    lr = torch.zeros(1, PHASES, *(edge,) * 3)
    for rank, stage in enumerate(stages(generator or build(), processes)):
        made = []

        def work(stage=stage, rank=rank, kinds=kinds, made=made) -> None:
            held = []
            for _ in range(min(windows, processes - rank)):
                inputs = [torch.empty(shape, dtype=dtype) for shape, dtype in kinds]
                if rank:
                    inputs = [x.requires_grad_() for x in inputs]
                out = stage(*inputs)
                held.append((inputs, [out] if isinstance(out, Tensor) else list(out)))
            made += [(x.shape, x.dtype) for x in held[0][1]]
            while held:
                inputs, out = held.pop(0)
                if rank == processes - 1:
                    loss(out[0], lr).backward()
                else:
                    torch.autograd.backward(out, [torch.zeros_like(x) for x in out])
                del inputs, out

        found.append(peak_bytes(work))
        kinds = made
    return found


def alone(edge: int, windows: int) -> dict[str, Tensor]:
    """Gradients of the mean loss of the windows, by name, from one process in 32-bit numbers."""
    generator, (x, lr) = build(), batch(windows, edge)
    for one, target in zip(x.split(1), lr.split(1), strict=True):
        (loss(generator(one), target) / windows).backward()
    return {name: p.grad for name, p in generator.named_parameters()}


def work(rank: int, processes: int, edge: int, windows: int, port: int, folder: str) -> None:
    """One process of the pipeline: a step, and then what it took, written to the folder."""
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=processes)
    generator = build()
    own = stages(generator, processes)[rank]

    def step(edge: int, windows: int) -> float:
        stage = PipelineStage(own, rank, processes, torch.device("cpu"))
        schedule = Schedule1F1B(stage, windows, loss)
        x, lr = batch(windows, edge)
        dist.barrier()
        start = time.perf_counter()
        last = {"target": lr} if rank == processes - 1 else {}
        schedule.step(*([] if rank else [x]), **last)
        return time.perf_counter() - start

    own.numbers = contextlib.nullcontext()
    step(CHECKED, processes)  # in 32-bit numbers, for the gradients; loads the libraries, too
    names = {id(p): name for name, p in generator.named_parameters()}
    grads = {names[id(p)]: p.grad.clone() for p in own.parameters()}
    own.numbers = autocast()
    step(CHECKED, processes)
    before, seconds = peak_gb(), step(edge, windows)
    found = {"bytes": 1e9 * (peak_gb() - before), "seconds": seconds, "grads": grads}
    torch.save(found, Path(folder, f"{rank}.pt"))
    dist.destroy_process_group()


def run(processes: int, edge: int = 8, windows: int = 4) -> dict:
    """One step over some processes.

    Args:
        processes: 2 or 3.
        edge: Of a window, in coarse voxels.
        windows: In the step, one after another through the pipeline; at least ``processes``.

    Returns:
        ``bytes``, measured peak of each process above what it had with its libraries;
        ``predicted``, the same; ``seconds``; ``error``, the largest difference of a gradient from
        that of one process, over the largest gradient of that weight.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        arguments = processes, edge, windows, port, folder
        torch.multiprocessing.spawn(work, arguments, processes)
        each = [torch.load(Path(folder, f"{rank}.pt")) for rank in range(processes)]
    wanted = alone(CHECKED, processes)
    grads = {name: grad for one in each for name, grad in one["grads"].items()}
    if grads.keys() != wanted.keys():
        raise RuntimeError(f"stages and generator differ in {grads.keys() ^ wanted.keys()}")
    if not all(v.any() for v in wanted.values()):
        raise RuntimeError("gradients that are all zero show nothing: choose another loss")
    errors = [(grads[k] - v).abs().max() / v.abs().max() for k, v in wanted.items()]
    return {
        "bytes": [one["bytes"] for one in each],
        "predicted": predicted(processes, edge, windows),
        "seconds": max(one["seconds"] for one in each),
        "error": float(max(errors)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="One training step over several processes.")
    parser.add_argument("--processes", type=int, default=3, choices=(2, 3))
    parser.add_argument("--edge", type=int, default=8, help="of a window, in coarse voxels")
    parser.add_argument("--windows", type=int, default=4, help="in the step")
    chosen = parser.parse_args()
    found = run(chosen.processes, chosen.edge, chosen.windows)
    for rank, (took, said) in enumerate(zip(found["bytes"], found["predicted"], strict=True)):
        print(f"process {rank}: peak {took / 1e6:.0f} MB, predicted {said / 1e6:.0f} MB")
    print(f"{found['seconds']:.2f} s; gradients differ by {found['error']:.1e} of the largest")
    return 0 if found["error"] < 1e-4 else 1


if __name__ == "__main__":
    raise SystemExit(main())
