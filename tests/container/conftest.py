"""The fixtures of the container tests."""

import os
import shutil
import uuid

import pytest

import certs
import clock
import engine as engines

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


@pytest.fixture(scope="session")
def engine():
    made = engines.find()
    if made is None:
        pytest.skip("no container engine works: neither docker nor podman")
    return made


@pytest.fixture(scope="session")
def readme(engine):
    """The commands of the README that begin with `docker', by their second word."""
    with open(os.path.join(ROOT, "README.md")) as file:
        words = [line.split() for line in file if line.startswith("    docker ")]
    return {command[1]: command[1:] for command in words}


@pytest.fixture(scope="session")
def image(engine, readme):
    """Builds the image with the command of the README; returns its name."""
    command = readme["build"]
    engine.build(*command[1:], cwd=ROOT)
    return command[command.index("-t") + 1]


@pytest.fixture(scope="session")
def loop():
    made = clock.Loop()
    yield made
    made.close()


@pytest.fixture(scope="session")
def authority():
    return certs.Authority()


@pytest.fixture
def server(engine, loop, authority):
    """Makes upstreams that containers reach; what they saw must have been TLS."""
    if engine.is_rootless:
        pytest.skip("a rootless engine does not let containers reach the host by its bridge")
    made = []

    def make(*scripts):
        made.append(engine.upstream(loop, authority, *scripts))
        return made[-1]
    yield make
    for each in made:
        each.close()
        assert not each.errors, "\n".join(each.errors)
        assert all(c.cleartext is None and c.first_byte in (None, 0x16)
                   for c in each.connections), "O4: cleartext"


@pytest.fixture
def run(engine, image):
    """Runs containers of the image, which serve when it returns, and removes them."""
    made = []

    def make(*options, args=(), serve=True, name=image):
        made.append(engine.container(*options, name, *args))
        return made[-1].serve() if serve else made[-1]
    yield make
    for each in made:
        print(f"The log of the container:\n{each.log()}")
        each.remove()


@pytest.fixture
def directory(tmp_path, authority):
    """A directory with the CA, to be mounted; others may read it."""
    made = tmp_path / "app"
    made.mkdir(mode=0o755)
    made.chmod(0o755)
    shutil.copy(authority.path, made / "ca.pem")
    (made / "ca.pem").chmod(0o644)
    return made


@pytest.fixture
def name():
    """A name that no other query, pod or image has."""
    return f"dot-proxy-test-{uuid.uuid4().hex[:12]}"
