"""Names tests after the rows of the fault table."""

import pytest


def row(*names):
    """The test runs once for each name, which stands in its id: test_x[C-01]."""
    return pytest.mark.parametrize("row", names, indirect=True)


def table(arguments, *rows):
    """A parametrized test: each row is its name and then the arguments."""
    return pytest.mark.parametrize(arguments, [pytest.param(*values, id=name)
                                               for name, *values in rows])
