"""Forecast the test loss of a language-model training run, with honest intervals.

Public names are those of ``__init__.pyi``, each imported when it is first used (PEP 562): JAX and NumPyro take a second, which
``bayes-tsl --help`` and whoever only reads losses need not wait for.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("bayes_tsl")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
