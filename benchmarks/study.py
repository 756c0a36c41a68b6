"""What the studies share: arms by seeds, one result file each; what is there is not made again."""

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from srlib import results

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "results" / "full"


def sweep(
    about: str,
    name: str,
    arms: Iterable[str],
    run: Callable[[str, int, Path], dict],
    source: str | Callable[[str], str],
    seeds: tuple[int, ...] = (0, 1),
) -> None:
    """Run what is missing of a study, as the command line says.

    Args:
        about: What ``--help`` shows.
        name: Results are ``results/full/NAME-ARM-SEED.json``.
        arms: All there are; the command line may choose some.
        run: Makes the values of one arm and seed; gets a folder for what must survive a kill.
        source: Of the data, ``"real"`` or ``"twin"``, or says so of an arm.
        seeds: Those that run if the command line names none.
    """
    arms = list(arms)
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("arms", nargs="*", default=arms, help="all if none")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds))
    parser.add_argument("--out-dir", type=Path, default=STORED)
    parser.add_argument("--work", type=Path, default=ROOT / "_build" / f"{name}_study")
    chosen = parser.parse_args()
    if unknown := set(chosen.arms) - set(arms):
        parser.error(f"there is no arm {unknown.pop()!r}: choose from {', '.join(arms)}")
    if chosen.out_dir.resolve() == STORED and not results.is_clean(results.commit()):
        parser.error("stored results name a commit: commit your changes first, or use --out-dir")
    for seed in chosen.seeds:
        for arm in chosen.arms:
            file = f"{name}-{arm}-{seed}"
            if (chosen.out_dir / f"{file}.json").exists():
                continue
            begin = time.perf_counter()
            values = run(arm, seed, chosen.work / arm)
            kind = source(arm) if callable(source) else source
            how = dict(profile="laptop", source=kind, seed=seed)
            seconds = time.perf_counter() - begin
            results.write(file, values, **how, seconds=seconds, out_dir=chosen.out_dir)
