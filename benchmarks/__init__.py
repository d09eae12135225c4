"""Measurements of the package: their tables are in docs/benchmarks.md and docs/paper.md.

Run one from the root of the repository, e.g. ``python -m benchmarks.public.prefix --quick`` for a part of it; ``--help`` says
what it does. Whole tables go to ``benchmarks/results``, and ``python -m benchmarks.tables`` copies them into the documentation.

    public/      loss curves that others have published (``curves`` reads them): forecasts, choices, and the default priors
    bundled/     runs that the package brings along: losses by position, and which law
    simulated/   runs drawn from the model: calibration
    paper/       the experiments of the paper, on bundled runs
    cost/        seconds and memory
    common       options, the model on two short chains, and result files
    tables       tables of the documentation
    pictures     pictures of the docs that no page draws itself
"""
