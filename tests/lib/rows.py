"""Ids of tests: test_x[C-01]. tests/README.md says what each id means."""

import pytest


def row(*names):
    """Runs the test once for each id: test_x[C-01]."""
    return pytest.mark.parametrize("row", names, indirect=True)


# The test asks the same again, and counts what reaches the upstreams: never with a cache.
asks_again = pytest.mark.asks_again


def table(arguments, *rows):
    """Parametrizes a test: each row has its id first, then the arguments."""
    return pytest.mark.parametrize(arguments, [pytest.param(*values, id=name)
                                               for name, *values in rows])
