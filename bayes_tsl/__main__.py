"""``python -m bayes_tsl`` is the command line."""

from bayes_tsl.cli.main import main

main()
