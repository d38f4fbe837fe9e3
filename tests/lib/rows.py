"""
Names tests after what they prove. A row is one thing that goes wrong or may be done, and what must
come of it; its letter is the group:

    C   what clients do                     P   processes, and what the system does to them
    U   upstreams that cannot be reached    F   the configuration and the command line
    T   certificates, and the rest of TLS   X   UDP, EDNS, several upstreams at once
    D   what upstreams answer

Promises that are about time and loss, where the times are those of the configuration:

    P1  every query gets an answer or SERVFAIL before its deadline, whatever the upstreams do
    P3  an upstream that is silent costs one step's time once, or less when the next is asked beside it
    P5  an upstream that comes back is asked again, at once if all were down
    P6  a reload loses no query, the death of a worker only what it had in hand
    P8  a worker that died is replaced at once
    P9  silent and slow clients keep no other from its answer

True in every row, and checked by env.py after each test but for O7:

    O1  one response for each query, or the connection is closed: never two, never silence
    O2  the response has the ID and the question of the query, and answers it
    O3  it comes before the deadline
    O4  nothing but TLS is ever sent to an upstream
    O5  when the fault has ended, a good query is answered
    O6  descriptors, threads, processes and memory return to what they were
    O7  one line of the log names the upstream, the step and the cause
    O8  no CPU is used when there is nothing to do
    O9  no zombie, no exit status that was not expected
"""

import pytest


def row(*names):
    """The test runs once for each name, which stands in its id: test_x[C-01]."""
    return pytest.mark.parametrize("row", names, indirect=True)


def table(arguments, *rows):
    """A parametrized test: each row is its name and then the arguments."""
    return pytest.mark.parametrize(arguments, [pytest.param(*values, id=name)
                                               for name, *values in rows])
