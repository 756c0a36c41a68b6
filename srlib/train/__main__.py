"""``python -m srlib.train case3 --profile laptop --seed 0 --out DIR``."""

import argparse
import os
from pathlib import Path

from srlib import data, models
from srlib.train import PROFILES, fit_superres


def main(arguments: list[str] | None = None) -> Path:
    """Train one case and write its weights and their side-car JSON."""
    parser = argparse.ArgumentParser(prog="python -m srlib.train", description=main.__doc__)
    parser.add_argument("case", help="a name of srlib.data.load, such as case1")
    parser.add_argument("--profile", default="laptop", choices=PROFILES)
    parser.add_argument("--source", default="auto", choices=data.SOURCES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("_build/weights"), help="their folder")
    parser.add_argument("--device", help="cpu or cuda; the default is cuda if there is one")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds")
    a = parser.parse_args(arguments)
    try:
        case = data.load(a.case, a.source)
        model = fit_superres(case, a.profile, a.seed, a.device, a.seconds, out=a.out)
        path = a.out / f"{case.name}-{case.source}-{a.seed}.safetensors"
        if int(os.environ.get("RANK", 0)) == 0:
            models.export(model, path)
            print(f"{path}: {model.meta['seconds']} s, best at {model.meta['best_iteration']}")
    except (ValueError, OSError) as error:
        raise SystemExit(f"srlib.train: {error}") from None
    return path


if __name__ == "__main__":
    main()
