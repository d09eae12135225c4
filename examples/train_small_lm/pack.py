"""Finished runs as a data set of a few megabytes: losses as whole numbers of .0001 nats in NetCDF, and a table of the runs.

python examples/train_small_lm/pack.py --runs RUNS --out FOLDER
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd
import train
import xarray as xr
from runs import all_finished

AXES = ["run", "test_set", "position", "step"]  # steps last: neighbours alike are packed best
UNITS = {"loss": ("int32", 1e-4), "loss_se": ("int16", 1e-3)}  # nats; a hundredth of the error of a position, and less
PACKING = {"_FillValue": -1, "zlib": True, "complevel": 9, "shuffle": True}
KEPT = ["mixture", "weighting", "seed", "layers", "width", "heads", "context", "batch", "sequences"]


def main() -> None:
    """Pack what is finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of runs, made by runs.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for losses.nc and runs.csv")
    asked = parser.parse_args()
    folders = all_finished(asked.runs)
    if not folders:
        raise SystemExit(f"runs must have ended; got none in {asked.runs}. Make them with runs.py.")
    asked.out.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([about(folder) for folder in folders]).to_csv(asked.out / "runs.csv", index=False)
    packed(folders).to_netcdf(asked.out / "losses.nc", engine="h5netcdf")


def about(folder: Path) -> dict:
    """What a run was asked for and what came of it: a row of the table of runs."""
    settings = json.loads((folder / "settings.json").read_text())
    asked = argparse.Namespace(**settings["arguments"])
    known = {name: settings[name] for name in ("parameters", "tokens_per_step", "vocab", "corpus", "device", "precision")}
    return {"run": folder.name, "schedule": train.planned(asked).text} | {name: vars(asked)[name] for name in KEPT} | known


def packed(folders: list[Path]) -> xr.Dataset:
    """Losses of runs that were measured at the same steps and positions (run, test_set, position, step)."""
    table = pd.concat(pd.read_csv(folder / "losses.csv.gz", usecols=[*AXES, *UNITS]) for folder in folders)
    losses = table.set_index(AXES).to_xarray().transpose(*AXES)
    for name, (kind, unit) in UNITS.items():
        losses[name].attrs["units"] = "nats/token"
        chunks = (1, *losses[name].shape[1:])
        losses[name].encoding = {"dtype": kind, "scale_factor": unit, "chunksizes": chunks, **PACKING}
    return losses


if __name__ == "__main__":
    main()
