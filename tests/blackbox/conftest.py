"""The fixtures of the black-box tests."""

import os

import pytest
from _pytest.runner import runtestprotocol

import caching
import certs
import clock
from env import Env
import netns
import proxy


_loops = []


def pytest_sessionstart(session):
    if not os.access(proxy.BINARY, os.X_OK):
        pytest.exit(f"{proxy.BINARY} is not there: run `make', or set DOT_PROXY", 2)


@pytest.fixture(scope="session")
def loop():
    made = clock.Loop()
    _loops.append(made)
    yield made
    _loops.remove(made)
    made.close()


@pytest.fixture(scope="session")
def authority():
    """The only certificate authority that the proxy trusts."""
    return certs.Authority()


@pytest.fixture(autouse=True)
def row(request):
    """The id of the test; see tests/README.md."""
    return getattr(request, "param", None)


@pytest.fixture
def env(request, loop, authority, tmp_path):
    made = Env(loop, authority, tmp_path)
    if request.node.get_closest_marker("asks_again"):
        made.default_cache = False
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
def namespace(_namespaces, env):
    """A network namespace that contains the whole environment of the test."""
    if _namespaces:
        pytest.skip(_namespaces)
    made = netns.Namespace()
    env.enter(made)
    return made


@pytest.fixture
def any_address(namespace):
    """A network in which any address can be listened on, as a function that calls inside."""
    for family in ("ipv4", "ipv6"):
        namespace.run("sysctl", "-qw", f"net.{family}.ip_nonlocal_bind=1")
    return namespace.call


@pytest.fixture
def boottime(env):
    """The clock of the cache, which jumps when it is told to."""
    return caching.Boottime(env.directory)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Repeats a test that failed while the machine was too busy for a reliable result."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(3):
        begin = clock.now()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if not any(report.failed for report in reports) or not _was_busy(begin):
            break
        item.warn(pytest.PytestWarning("failed while the machine was busy, and ran again"))
        item._initrequest()
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _was_busy(begin):
    return bool(_loops) and _loops[0].late(begin, clock.now()) > 0.1


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.passed = report.passed


@pytest.hookimpl
def pytest_runtest_setup(item):
    item.passed = False
