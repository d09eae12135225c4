"""Helpers that know nothing of losses or models: validation, names of axes, files, parallel tasks.

Import the module that you need, e.g. ``from bayes_tsl._common.validation import require``. Nothing here is public.
"""
