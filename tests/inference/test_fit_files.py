"""Files of fits: whatever happens to one of their bytes is noticed, and those of every earlier version still load."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import bayes_tsl as bt
from bayes_tsl.inference.fit_files import read, written
from bayes_tsl.inference.posterior import example_fit
from bayes_tsl.inference.schema import SCHEMA

OLDER = Path(__file__).parent / "older_files"
PLAN = bt.schedules.cosine(peak=2e-3, warmup=100, total=2000, final=2e-4)


@pytest.fixture(scope="module")
def content() -> bytes:
    return written(example_fit().data)


def test_every_flipped_bit_is_refused_in_one_line(content: bytes) -> None:
    rng = np.random.default_rng(0)
    ends = [0, len(content) - 84, len(content) - 1]  # the first byte, one of the mark, the last
    for at in [*ends, *rng.integers(len(content), size=200)]:
        flipped = bytearray(content)
        flipped[at] ^= 1 << int(rng.integers(8))
        with pytest.raises(bt.DataError, match=r"^fit\.nc must .*\.$") as refused:
            read(bytes(flipped), "fit.nc")
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kept", [0, 1, 1000, -1, -83, -1000])
def test_a_file_cut_off_is_refused(content: bytes, kept: int) -> None:
    with pytest.raises(bt.DataError, match=r"^fit\.nc must (be|end|hold) .*$"):
        read(content[:kept], "fit.nc")


DAMAGE = {
    ("posterior", "heat"): -0.1,
    ("posterior", "floor_slope"): np.nan,
    ("posterior", "weight"): 0.0,
    ("posterior", "drift"): np.inf,
    ("posterior", "gap"): -1.0,
    ("sample_stats", "energy"): np.nan,
    ("observed_data", "mean_loss"): np.nan,
    ("observed_data", "step"): np.inf,
    ("constant_data", "step"): 0.0,
    ("constant_data", "schedule_step"): 1e9,
    ("constant_data", "schedule_lr"): -1e-3,
    ("constant_data", "effect"): np.nan,
    ("constant_data", "effect_scale"): 0.0,
    ("constant_data", "position"): -1.0,
    ("constant_data", "position_noise"): np.nan,
    ("constant_data", "position_exponent"): 0.0,
    ("constant_data", "position_log_density"): np.nan,
    ("constant_data", "estimate_covariance"): np.inf,
    ("constant_data", "count"): -1.0,
    ("constant_data", "floor_estimate"): np.nan,
}


@pytest.mark.parametrize(("group", "name"), DAMAGE, ids="/".join)
def test_a_variable_without_a_checksum_is_checked(group: str, name: str) -> None:
    data = example_fit().data.copy(deep=True)
    data.attrs["schema"] = "bayes_tsl fit 4"
    damaged = data[group].to_dataset()
    values = damaged[name].to_numpy().copy()
    values.flat[0] = DAMAGE[group, name]
    data[group] = xr.DataTree(damaged.assign({name: (damaged[name].dims, values, damaged[name].attrs)}))
    with pytest.raises(bt.DataError, match=rf"^old\.nc, run 'mix50_cosine', {name} must .*; got .*\. Save it again"):
        read(bytes(data.to_netcdf(None, engine="h5netcdf")), "old.nc")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("origin", 10.0),
        ("origin", np.inf),
        ("time_unit", -1.0),
        ("schedule_peak", 0.0),
        ("schedule_end", 100.0),
        ("priors", '{"heat": {"family": "lognormal", "centre": -1.0, "sd": 1.0}}'),
        ("priors", "{}}"),
        ("recipe", "{}"),
        ("notices", "["),
    ],
)
def test_an_attribute_without_a_checksum_is_checked(name: str, value: object) -> None:
    data = example_fit().data.copy()
    data.attrs |= {"schema": "bayes_tsl fit 4", name: value}
    with pytest.raises(bt.DataError, match=r"must .*; got .*\.") as refused:
        read(bytes(data.to_netcdf(None, engine="h5netcdf")), "old.nc")
    assert "\n" not in str(refused.value)


def test_a_missing_group_is_refused() -> None:
    data = example_fit().data.copy()
    data.attrs["schema"] = "bayes_tsl fit 4"
    del data["constant_data"]
    with pytest.raises(bt.DataError, match=r"^old\.nc must hold a whole fit; got KeyError: .*constant_data"):
        read(bytes(data.to_netcdf(None, engine="h5netcdf")), "old.nc")


def test_a_file_changed_by_other_means_is_refused(tmp_path: Path) -> None:
    example_fit().data.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    data = example_fit().data.copy()
    assert data.attrs["schema"] == SCHEMA
    data.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    with pytest.raises(
        bt.DataError, match=r"^fit\.nc must end in its checksum; got 'none'\. Take another copy, or fit again\.$"
    ):
        bt.load_fit(tmp_path / "fit.nc")


@pytest.mark.filterwarnings("ignore::bayes_tsl.Notice")
@pytest.mark.parametrize(
    ("name", "mean", "sd"),
    [
        ("schema_3_one", 4.162374677, 0.016175974),
        ("schema_3_two", 3.705393812, 0.028481764),
        ("schema_4_one", 4.162386030, 0.016176159),
        ("schema_4_two", 3.706913650, 0.028726062),
    ],
)
def test_a_file_of_an_earlier_version_forecasts_what_it_did_then(name: str, mean: float, sd: float, tmp_path: Path) -> None:
    """Mean and standard deviation at step 2000 are those that the version which wrote it gave, but for 2e-5 (CHANGELOG)."""
    (tmp_path / "old.nc").write_bytes(gzip.decompress((OLDER / f"{name}.nc.gz").read_bytes()))
    fit = bt.load_fit(tmp_path / "old.nc")
    expected = bt.forecast(fit.select(run=fit.runs[0]), steps=[2000.0]).expected
    assert float(expected.mean()) == pytest.approx(mean, abs=2e-5)
    assert float(expected.std()) == pytest.approx(sd, abs=2e-6)
    fit.save(tmp_path / "new.nc")
    assert bt.load_fit(tmp_path / "new.nc") == fit
    if len(fit.runs) > 1:
        assert fit.population().priors(PLAN, origin=1000.0).floor_slope.centre == pytest.approx(-0.48, abs=0.01)


@pytest.mark.parametrize(("name", "centre"), [("by_length", 0.26568689), ("of_levels", 0.26875742)])
def test_a_population_of_an_earlier_version_makes_the_priors_it_did_then(name: str, centre: float, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_bytes(gzip.decompress((OLDER / f"population_{name}.json.gz").read_bytes()))
    population = bt.load_population(tmp_path / "old.json")
    assert population.priors(PLAN, origin=1000.0).heat.centre == pytest.approx(centre, rel=1e-6)
    population.save(tmp_path / "new.json")
    assert bt.load_population(tmp_path / "new.json") == population
