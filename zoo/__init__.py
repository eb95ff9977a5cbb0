"""The model zoo. :mod:`zoo.api` has its verbs for Python: ``from zoo import api``."""
