"""Whatever the user has set of JAX, the package computes; where JAX has no device, that is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import bayes_tsl as bt
from bayes_tsl._common.jax_settings import float64
from bayes_tsl.inference.posterior import example_fit
from bayes_tsl.inference.preconditioning import Whitening, value_and_grad
from bayes_tsl.model.single_run import model

STRICT = {
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_debug_nans": True,
    "jax_debug_infs": True,
}


def test_strict_modes_of_the_user_change_nothing() -> None:
    usual = bt.forecast(example_fit(), steps=[2500.0]).expected.to_numpy()
    before = {name: jax.config.values[name] for name in STRICT}
    try:
        for name, value in STRICT.items():
            jax.config.update(name, value)
        strict = bt.forecast(example_fit(), steps=[2500.0]).expected.to_numpy()
        design, priors = example_fit().design, example_fit().priors
        start = {name: values[0, 0].to_numpy() for name, values in example_fit().sampled().items()}
        around = Whitening({}, start, np.eye(ravel_pytree(start)[0].size))
        with float64():
            jax.make_jaxpr(partial(value_and_grad.__wrapped__, model, around, (design, priors)))(around.origin())
        jax.numpy.arange(2) + jax.numpy.arange(2)
        with pytest.raises(ValueError, match="rank_promotion"):
            jax.numpy.ones((2, 2)) + jax.numpy.ones(2)  # as the user wants it
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
    np.testing.assert_array_equal(strict, usual)


def test_a_platform_that_is_not_there_is_one_line() -> None:
    program = "import bayes_tsl as bt\nfrom bayes_tsl.inference.posterior import example_fit\n"
    program += "try: bt.forecast(example_fit(), steps=[2500])\nexcept bt.DataError as error: print(error)"
    environment = os.environ | {"JAX_PLATFORMS": "nowhere"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "JAX_PLATFORMS must name a device of this machine; got 'nowhere'. Set it to cpu, or leave it out.\n"
