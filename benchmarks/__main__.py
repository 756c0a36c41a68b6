"""Run every benchmark, print one table, keep the numbers: `make bench`.

A benchmark is a file `benchmarks/bench_*.py` with a function `run()` that returns a mapping from
what was measured, with its unit, to a number or a text.
"""

import argparse
import importlib
import sys
import time
from pathlib import Path

from srlib import results

FOLDER = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure speed and memory on this machine.")
    parser.add_argument("names", nargs="*", help="benchmarks, such as inference; all if none")
    parser.add_argument("--out-dir", default=str(FOLDER.parent / "_build"))
    chosen = parser.parse_args()
    found = {path.stem.removeprefix("bench_"): path for path in sorted(FOLDER.glob("bench_*.py"))}
    if unknown := set(chosen.names) - set(found):
        print(f"There is no benchmark {unknown.pop()!r}: choose from {', '.join(found)}.")
        return 1
    begin, measured, failed = time.perf_counter(), {}, 0
    for name in chosen.names or found:
        try:
            measured[name] = importlib.import_module(f"benchmarks.bench_{name}").run()
        except Exception as error:  # one failing benchmark leaves the others their numbers
            failed += 1
            print(f"{name}: failed: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        for what, value in measured[name].items():
            text = value if isinstance(value, str) else results.number(value)
            print(f"{name:<16} {what:<58} {text:>12}", flush=True)
    path = results.write(
        "-".join(["bench", *chosen.names]),
        measured,
        profile="laptop",
        source="twin",
        seed=0,
        seconds=time.perf_counter() - begin,
        out_dir=chosen.out_dir,
    )
    print(f"Saved in {path}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
