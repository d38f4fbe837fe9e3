"""The fixtures of the black-box tests."""

import os

import pytest

import certs
import clock
import house as houses
import netns
import proxy


def pytest_sessionstart(session):
    if not os.access(proxy.BINARY, os.X_OK):
        pytest.exit(f"{proxy.BINARY} is not there: run `make', or set DOT_PROXY", 2)


@pytest.fixture(scope="session")
def loop():
    made = clock.Loop()
    yield made
    made.close()


@pytest.fixture(scope="session")
def authority():
    """The one certificate authority that the proxy is told to trust."""
    return certs.Authority()


@pytest.fixture(autouse=True)
def row(request):
    """The row of the fault table that the test is about; see rows.py."""
    return getattr(request, "param", None)


@pytest.fixture
def house(request, loop, authority, tmp_path):
    made = houses.House(loop, authority, tmp_path)
    try:
        yield made
        if request.node.passed:
            made.check()
        else:
            for running in made.proxies:
                print(f"The log of the proxy:\n{running.log_text()}")
            for error in (error for server in made.upstreams for error in server.errors):
                print(error)
    finally:
        made.clean()


@pytest.fixture(scope="session")
def _namespaces():
    return netns.missing()


@pytest.fixture
def namespace(_namespaces, house):
    """A network of the test's own, in which all of the house stands."""
    if _namespaces:
        pytest.skip(_namespaces)
    made = netns.Namespace()
    house.enter(made)
    return made


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.passed = report.passed


@pytest.hookimpl
def pytest_runtest_setup(item):
    item.passed = False
