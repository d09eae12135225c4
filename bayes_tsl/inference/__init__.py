"""From a design to a posterior: ``fit``, the sampler below it, convergence diagnostics, and the file that keeps a fit.

Import ``fit``, ``fit_each``, ``Fit`` and ``load_fit`` from here. Nothing here looks past the last checkpoint.
"""

from bayes_tsl.inference.batch import fit_each
from bayes_tsl.inference.diagnostics import ConvergenceError, Diagnostics
from bayes_tsl.inference.fitting import fit
from bayes_tsl.inference.posterior import Fit, example_fit, load_fit
from bayes_tsl.inference.scaling import ScalingFit, fit_scaling, load_scaling
from bayes_tsl.inference.task_link import TaskFit, fit_task, load_task

__all__ = [
    "ConvergenceError",
    "Diagnostics",
    "Fit",
    "ScalingFit",
    "TaskFit",
    "example_fit",
    "fit",
    "fit_each",
    "fit_scaling",
    "fit_task",
    "load_fit",
    "load_scaling",
    "load_task",
]
