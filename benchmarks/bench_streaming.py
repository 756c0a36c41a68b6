"""A volume larger than memory, from zarr to zarr, and what a killed run costs.

``python -m benchmarks.bench_streaming 1920`` makes a volume as large as the paper's and
writes ``results/full/streaming-1920.json``.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

from benchmarks.bench_models import peak_gb
from srlib import datasets, models, precision, results
from srlib.inference import superres
from srlib.inference.streaming import superres_to_file

WEIGHTS, SCALE = "case3x8-twin-0", 8


def coarse(size: int, path: Path) -> Path:
    """Write the coarse volume of ``size``^3 fine voxels: a twin's, again and again."""
    lr, edge = datasets.load("case3x8", "twin").lr, size // SCALE + 2
    lr = np.pad(lr, [(0, max(edge - n, 0)) for n in lr.shape], mode="wrap")[:edge, :edge, :edge]
    zarr.create_array(path, data=lr, chunks=(32,) * 3)
    return path


def stream(lr_path: str, out_path: str, tile: int) -> tuple[float, float]:
    """Seconds to stream a volume, and peak resident memory (GB); called in a new process."""
    model = models.load(WEIGHTS)
    start = time.perf_counter()
    superres_to_file(model, lr_path, out_path, tile=tile)
    return time.perf_counter() - start, peak_gb()


def _command(lr_path: Path, out_path: Path, tile: int) -> list[str]:
    call = f"stream({str(lr_path)!r}, {str(out_path)!r}, {tile})"
    return [sys.executable, "-c", f"from benchmarks.bench_streaming import stream; print(*{call})"]


def _after_a_kill(folder: Path, size: int) -> tuple[int, int, int]:
    """Tiles that a killed run leaves to the next, and voxels that differ from those of a run that
    was not killed: with the same tiles, and with all in one tile."""
    lr_path, out_path = coarse(size, folder / "lr.zarr"), folder / "sr.zarr"
    tile, noted = size // SCALE // 2, folder / ".journal-sr.zarr"
    process = subprocess.Popen(_command(lr_path, out_path, tile), stdout=subprocess.DEVNULL)
    while not noted.exists() or len(noted.read_text().splitlines()) < 4:
        if process.poll() is not None:
            raise RuntimeError("the run ended before it could be killed: choose a larger size")
        time.sleep(0.01)
    process.kill()
    process.wait()
    kept = len(noted.read_text().splitlines()) - 1
    model = models.load(WEIGHTS)
    found = zarr.open_array(superres_to_file(model, lr_path, out_path, tile=tile))[:]
    lr = zarr.open_array(lr_path)[:]
    same, one = (superres.superres(model, lr, tile=edge) for edge in (tile, 2 * tile))
    return kept, int((found != same).sum()), int((found != one).sum())


def whole(size: int, tile: int = 16) -> dict[str, float]:
    """Seconds, peak memory and gigabytes on disk of a volume of ``size``^3 voxels."""
    with tempfile.TemporaryDirectory() as folder:
        lr_path = coarse(size, Path(folder, "lr.zarr"))
        out_path = Path(folder, "sr.zarr")
        command = _command(lr_path, out_path, tile)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds, peak = map(float, done.stdout.split())
        stored = sum(path.stat().st_size for path in out_path.rglob("*") if path.is_file())
    return {"seconds": seconds, "peak_gb": peak, "disk_gb": stored / 1e9}


def run(size: int = 1024, small: int = 256) -> dict[str, float]:
    """Speed and memory at ``size``^3 voxels, and a killed and resumed run of ``small``^3."""
    seconds, peak, _ = whole(size).values()
    with tempfile.TemporaryDirectory() as folder:
        kept, differ, rounded = _after_a_kill(Path(folder), small)
    return {
        f"{size}^3 from zarr to zarr (s)": seconds,
        "streaming (voxels/s)": size**3 / seconds,
        "streaming, peak (GB)": peak,
        "1920^3 at this speed (minutes)": 1920**3 / size**3 * seconds / 60,
        f"{small}^3, tiles of 8 that a killed run keeps": kept,
        f"{small}^3, voxels that differ after a kill and a resume": differ,
        f"{small}^3, voxels that differ in one tile (rounding)": rounded,
    }


if __name__ == "__main__":
    edge = int(sys.argv[1]) if len(sys.argv) > 1 else 1920
    found = whole(edge) | {"numbers": str(precision.number_format()).removeprefix("torch.")}
    how = dict(profile="laptop", source="twin", seed=0, seconds=found["seconds"])
    folder = Path(__file__).resolve().parents[1] / "results" / "full"
    print(results.write(f"streaming-{edge}", found, **how, out_dir=folder))
