"""Files of populations: whatever happens to a byte, or to a field of a file without a checksum, is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bayes_tsl as bt
from bayes_tsl.model.population import Population, Trait, base_of
from tests.conftest import refusal

KNOWN = Population(
    {"heat": Trait(0.1, 0.2, {"size": 0.3}), "floor_slope": Trait(-0.2, 0.1, {"size": -0.05})},
    {"size": (18.0, 1.5)},
    progress=1000.0,
    base=base_of(bt.Priors()),
    source={"runs": ["a", "b"], "law": "general"},
)


def test_every_flipped_bit_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "family.json"
    KNOWN.save(path)
    content, rng, reasons = path.read_bytes(), np.random.default_rng(0), []
    for at in rng.integers(len(content), size=300):
        flipped = bytearray(content)
        flipped[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            assert bt.load_population(path) == KNOWN
        except bt.DataError as error:
            reasons.append(str(error))
    assert len(reasons) > 150  # the others are in the indentation
    assert all(re.fullmatch(r"family\.json must hold a population; got .*", reason) for reason in reasons)


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "shift must be a number": lambda file: file["traits"]["heat"].update(shift=float("nan")),
    "shift must be a number above -inf; got 'x'": lambda file: file["traits"]["heat"].update(shift="x"),
    "spread must be a number above 0; got 0": lambda file: file["traits"]["heat"].update(spread=0),
    "effect of 'size' must be a number": lambda file: file["traits"]["heat"].update(effects={"size": None}),
    "effects on 'heat' must be of the covariates": lambda file: file["traits"]["heat"].update(effects={}),
    "trait must be one of": lambda file: file["traits"].update(warmth=file["traits"].pop("heat")),
    "centre of 'size' must be a number": lambda file: file["covariates"].update(size=["a", 1.0]),
    "scale of 'size' must be a number above 0; got 0": lambda file: file["covariates"].update(size=[1.0, 0.0]),
    "not enough values to unpack": lambda file: file["covariates"].update(size=[1.0]),
    "progress must be a number above 0; got -1000": lambda file: file.update(progress=-1000.0),
    "source must be a dict; got 'list'": lambda file: file.update(source=[]),
    "missing 1 required positional argument: 'source'": lambda file: file.pop("source"),
    "unexpected keyword argument 'more'": lambda file: file.update(more=1),
    "family must be one of": lambda file: file["base"]["priors"]["heat"].update(family="cauchy"),
    "sd must be a number above 0; got -1": lambda file: file["base"]["priors"]["heat"].update(sd=-1.0),
    "wide": lambda file: file.update(base={}),
    "schema must be one of 'bayes_tsl population 1'; got 'x'": lambda file: file.update(schema="x"),
}


@pytest.mark.parametrize("reason", DAMAGE)
def test_every_field_is_checked(reason: str, tmp_path: Path) -> None:
    path = tmp_path / "family.json"
    KNOWN.save(path)
    file = json.loads(path.read_text())
    del file["checksum"]
    path.write_text(json.dumps(file))
    assert bt.load_population(path) == KNOWN
    DAMAGE[reason](file)
    path.write_text(json.dumps(file))
    with pytest.raises(
        bt.DataError, match=r"^family\.json must hold a population; got .*Save it again with Population\.save\.$"
    ) as refused:
        bt.load_population(path)
    assert reason in str(refused.value)


def test_a_change_by_hand_is_refused_with_its_cure(tmp_path: Path) -> None:
    path = tmp_path / "family.json"
    KNOWN.save(path)
    path.write_text(path.read_text().replace("1000.0", "2000.0"))
    reason = "content must have its checksum; got 'another'. Leave the checksum out where it was changed by hand."
    with refusal(f"family.json must hold a population; got {reason} Save it again with Population.save."):
        bt.load_population(path)
