"""The contents of the image, and its reproducible build."""

import hashlib
import io
import json
import os
import re
import stat
import struct
import tarfile

import pytest

from conftest import ROOT

pytestmark = pytest.mark.timeout(900)     # the first of them builds the image

MIB = 1 << 20
CAP_NET_BIND_SERVICE = 1 << 10


class Archive:
    """An image as the engine saves it: its files, and its configuration."""

    def __init__(self, engine, image, path):
        engine.run("save", "-o", str(path), image)
        self.files = {}
        self.data = {}
        with tarfile.open(path) as archive:
            manifest, = json.load(archive.extractfile("manifest.json"))
            self.config = json.load(archive.extractfile(manifest["Config"]))["config"]
            for layer in manifest["Layers"]:
                with tarfile.open(fileobj=io.BytesIO(archive.extractfile(layer).read())) as files:
                    for member in files:
                        self.files[member.name.strip("/")] = member
                        if member.isfile():
                            self.data[member.name.strip("/")] = files.extractfile(member).read()


@pytest.fixture(scope="module")
def archive(engine, image, tmp_path_factory):
    return Archive(engine, image, tmp_path_factory.mktemp("image") / "image.tar")


def test_files_are_program_ca_certificates_and_configuration(archive):
    assert set(archive.data) == {"dot-proxy", "etc/ssl/certs/ca-certificates.crt",
                                   "app/config.yml"}
    assert all(member.isfile() or member.isdir() for member in archive.files.values())
    with open(os.path.join(ROOT, "config.yml"), "rb") as file:
        assert archive.data["app/config.yml"] == file.read()
    assert archive.data["etc/ssl/certs/ca-certificates.crt"].count(b"BEGIN CERTIFICATE") > 50


def test_is_under_six_mib(archive):
    assert sum(map(len, archive.data.values())) < 6 * MIB


def test_files_belong_to_root_and_are_not_setuid(archive):
    for name, member in archive.files.items():
        assert member.uid == member.gid == 0, name
        assert not member.mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX | stat.S_IWOTH), name
        assert member.mode & stat.S_IROTH, name
    assert archive.files["dot-proxy"].mode & stat.S_IXOTH


def test_file_capability_is_permitted_and_not_effective(archive):
    key = "SCHILY.xattr.security.capability"
    assert [n for n, member in archive.files.items() if key in member.pax_headers] == ["dot-proxy"]
    data = archive.files["dot-proxy"].pax_headers[key].encode("utf-8", "surrogateescape")
    version, permitted, inheritable, *high = struct.unpack("<5I", data[:20])
    assert version & 1 == 0, "an effective one keeps the program from starting under --cap-drop ALL"
    assert (permitted, inheritable, *high) == (CAP_NET_BIND_SERVICE, 0, 0, 0)


def test_program_needs_no_other_file(archive):
    """No interpreter (PT_INTERP) in an ELF file that is position-independent (ET_DYN)."""
    data = archive.data["dot-proxy"]
    kind, = struct.unpack_from("<H", data, 16)
    start, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<2H", data, 54)
    types = [struct.unpack_from("<I", data, start + n * size)[0] for n in range(count)]
    assert data[:4] == b"\x7fELF" and kind == 3 and 3 not in types


def test_configuration_of_the_image(archive):
    config = archive.config
    assert config["User"] == "65532:65532"
    assert config["WorkingDir"] == "/app"
    assert set(config["ExposedPorts"]) == {"53/tcp", "53/udp"}
    assert config["Entrypoint"] == ["/dot-proxy"] and not config.get("Cmd")
    assert config["StopSignal"] == "SIGTERM"


def test_labels(engine, image, archive):
    labels = archive.config["Labels"]
    with open(os.path.join(ROOT, "Makefile")) as file:
        version = re.search(r"^VERSION\s*:= (.*)$", file.read(), re.M)[1]
    assert labels["org.opencontainers.image.version"] == version
    assert labels["org.opencontainers.image.title"] == "dot-proxy"
    assert labels["org.opencontainers.image.description"]
    said = engine.run("run", "--rm", image, "--version").stdout
    assert said.startswith(f"dot-proxy {version} ")


def test_configuration_of_the_image_is_valid(engine, image):
    assert "cloudflare-dns.com" in engine.run("run", "--rm", image, "check").stdout


def test_build_is_reproducible(engine, archive, name, tmp_path):
    # podman would keep each step of it as an image.
    layers = ("--layers=false",) if engine.is_podman else ()
    engine.build("--no-cache", *layers, "-t", name, ".", cwd=ROOT)
    try:
        again = Archive(engine, name, tmp_path / "again.tar")
    finally:
        engine.run("rmi", name)
    one, other = (hashlib.sha256(made.data["dot-proxy"]).hexdigest()
                  for made in (archive, again))
    assert one == other
