"""The commands of the README, and the behaviour of containers."""

import os
import shutil
import socket
import subprocess

import pytest

import dnsmsg
import proxy
from client import Client
from clock import now, wait_until
from datagram import Datagrams
from engine import Container
from rows import table
from upstream import Script

pytestmark = pytest.mark.timeout(900)     # the first of them builds the image

HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
PUBLISHED = ("-p", "127.0.0.1::53/tcp", "-p", "127.0.0.1::53/udp")
TRANSPORTS = (("UDP", "+notcp"), ("TCP", "+tcp"))


def dig(address, name, *options):
    """The output of dig for an address: one record a line, without messages about retries."""
    done = subprocess.run(["dig", f"@{address[0]}", "-p", str(address[1]), name, "A", "+short",
                           "+time=3", "+tries=3", *options], capture_output=True, text=True,
                          timeout=20)
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith(";"))


def right(name):
    return ".".join(map(str, dnsmsg.rdata_for(dnsmsg.labels(name), dnsmsg.A)))


def answers(container, name):
    """Both of its published ports give the expected answers."""
    for transport, option in TRANSPORTS:
        asked = f"{transport.lower()}.{name}.test"
        assert dig(container.address(transport.lower()), asked, option) == right(asked), asked


def configure(directory, *servers, ca="/app/ca.pem", **settings):
    """
    Puts a configuration into a directory in the way that editors do. Names below `test' are
    forwarded.
    """
    new = directory / "config.yml.new"
    proxy.write_config(new, {"upstreams": [server.config() for server in servers],
                             "local_names": False,
                             **({"tls": {"ca_file": ca}} if ca else {}), **settings})
    new.chmod(0o644)
    new.rename(directory / "config.yml")
    return directory


def port_53_is_free():
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as sock:
                sock.bind(("0.0.0.0", 53))
    except OSError:
        return False
    return True


def engine_options(engine, options):
    """Docker lets every container bind low ports; podman needs the option in the README."""
    bare = "--cap-drop" in options and engine.is_podman
    return ("--sysctl", "net.ipv4.ip_unprivileged_port_start=53") if bare else ()


@table("options", ("plain", ()), ("hardened", HARDENED))
def test_commands_of_the_readme(engine, image, readme, server, directory, name, options):
    """Unchanged, except for the port if port 53 of the host is in use."""
    configure(directory, server(), ca=None)
    if os.geteuid() == 0:       # the file is that of an ordinary user, as it usually is
        os.chown(directory / "config.yml", 1000, 1000)
    command = [word.replace("$PWD", str(directory)) for word in readme["run"]]
    assert command[-1] == image and "dot_proxy" in command
    if not port_53_is_free():
        print("port 53 of this host is taken: another one is published")
        command = [word.replace("53:53", "127.0.0.1::53") for word in command]
    # The authority of the test replaces the trust store of the image.
    command[-1:] = ["-v", f"{directory}/ca.pem:/etc/ssl/certs/ca-certificates.crt",
                    *options, *engine_options(engine, options), image]
    assert engine.run("container", "inspect", "dot_proxy", check=False).returncode != 0, \
        "there is a container named dot_proxy already"
    try:
        engine.run(*command)
        made = Container(engine, "dot_proxy")
        answers(made.serve(), name)
        assert {line.split()[0] for line in made.log().splitlines()} == {"level=info"}
    finally:
        Container(engine, "dot_proxy").remove()


@table("options", ("root", ("--user", "0")),
       ("root-without-capabilities-but-that", ("--user", "0", "--cap-drop", "ALL", "--cap-add",
                                               "NET_BIND_SERVICE")),
       ("another-user", ("--user", "12345:12345")))
def test_any_user_can_run_it(run, server, directory, name, options):
    made = run(*PUBLISHED, *options, "-v", f"{configure(directory, server())}:/app")
    answers(made, name)


def test_stop_answers_queries_in_flight(engine, run, loop, server, directory, name):
    upstream = server()
    made = run(*PUBLISHED, "-v", f"{configure(directory, upstream)}:/app")
    clients = [Client(made.address("tcp"), loop), Datagrams(made.address("udp"), loop)]
    for client, kind in zip(clients, ("tcp", "udp")):
        client.send(*(dnsmsg.Query(f"delay-700.{n}.{kind}.{name}.test") for n in range(50)))
    wait_until(lambda: len(upstream.queries) >= 100, 5, "the queries are in hand")
    begin = now()
    stopping = engine.start("stop", made.ident)
    for client in clients:
        client.receive_all()
        assert all(exchange.answer.is_correct for exchange in client.exchanges)
        client.close()
    stopping.communicate(timeout=20)
    assert now() - begin < 2 and stopping.returncode == 0
    assert made.inspect()["State"]["ExitCode"] == 0
    assert "event=stopped" in made.log()


def asks(upstream, made, name):
    """Sends queries until that server receives one."""
    def asked():
        assert dig(made.address("udp"), f"{name}.test") == right(f"{name}.test")
        return upstream.queries
    wait_until(asked, 15, "the other server gets a query")


def test_change_in_a_mounted_directory_is_reloaded(run, server, directory, name):
    one, other = server(), server()
    made = run(*PUBLISHED, "-v", f"{configure(directory, one)}:/app:ro")
    asks(one, made, name)
    configure(directory, other)
    asks(other, made, name)


def test_change_of_a_config_map_is_reloaded(run, server, directory, name):
    """As the kubelet does: all files are links through `..data', which is replaced."""
    one, other = server(), server()
    volume = directory.parent / "volume"
    volume.mkdir(mode=0o755)

    def put(version, *servers):
        where = volume / f"..{version}"
        shutil.copytree(directory, where)
        configure(where, *servers)
        (volume / "..next").symlink_to(where.name)
        (volume / "..next").rename(volume / "..data")

    put("1", one)
    for file in ("config.yml", "ca.pem"):
        (volume / file).symlink_to(f"..data/{file}")
    made = run(*PUBLISHED, "-v", f"{volume}:/app:ro")
    asks(one, made, name)
    put("2", other)
    shutil.rmtree(volume / "..1")
    asks(other, made, name)


def healthcheck(made):
    """The HEALTHCHECK of the image, as a command."""
    kind, *command = made.inspect()["Config"]["Healthcheck"]["Test"]
    assert kind == "CMD" and command == ["/dot-proxy", "healthcheck"]
    return command


def test_health(run, server, directory, name):
    upstream = server()
    made = run(*PUBLISHED, "-v", f"{configure(directory, upstream)}:/app")
    command = healthcheck(made)
    assert made.execute(*command).returncode == 0
    answers(made, name)
    for option in ((), ("--ready",), ("--upstream",)):
        done = made.execute(*command, *option)
        assert done.returncode == 0, (option, done.stdout, done.stderr)


@table("spoil", ("F-14-typo", lambda file: file.write_text("upstream: [192.0.2.1]\n")),
       ("F-14-deleted", lambda file: file.unlink()))
def test_health_with_an_invalid_file(run, server, directory, name, spoil):
    """A typo must not make an engine or Kubernetes stop a working container."""
    made = run(*PUBLISHED, "-v", f"{configure(directory, server())}:/app")
    command = healthcheck(made)
    answers(made, name)
    spoil(directory / "config.yml")
    for option in ((), ("--ready",), ("--upstream",)):
        done = made.execute(*command, *option)
        assert done.returncode == 0, (option, done.stdout, done.stderr)


def test_health_with_a_listen_option(run, server, directory):
    made = run("-v", f"{configure(directory, server())}:/app", args=("-l", "127.0.0.1:5355"))
    done = made.execute(*healthcheck(made))
    assert done.returncode == 0 and done.stdout.startswith("127.0.0.1:5355: "), done


def test_health_without_upstreams(run, server, directory):
    """During an internet outage the container is alive, but not ready."""
    made = run("-v", f"{configure(directory, server(Script(listening=False)))}:/app")
    command = healthcheck(made)
    assert made.execute(*command).returncode == 0
    for option in ("--ready", "--upstream"):
        assert made.execute(*command, option).returncode == 1


def test_processes_have_no_capabilities(run, server, directory, name):
    """The sandbox of the program works in the image too."""
    made = run(*PUBLISHED, "-v", f"{configure(directory, server())}:/app")
    answers(made, name)
    supervisor = made.inspect()["State"]["Pid"]
    with open(f"/proc/{supervisor}/task/{supervisor}/children") as file:
        workers = file.read().split()
    assert len(workers) == 2
    for pid in workers:
        with open(f"/proc/{pid}/status") as file:
            status = {key: value.split() for key, _, value in
                      (line.partition(":") for line in file)}
        assert status["Uid"] == ["65532"] * 4 and status["NoNewPrivs"] == ["1"]
        assert status["Seccomp"] == ["2"]
        assert all(int(status[kind][0], 16) == 0 for kind in ("CapPrm", "CapEff", "CapAmb"))
