"""A container engine: Docker, or podman, which has the same commands."""

import functools
import json
import os
import shutil
import socket
import subprocess

import upstream
from clock import wait_until

IP_FREEBIND = 15


def find():
    """The engine in $DOCKER, which must work; else docker or podman, whichever works, or None."""
    wanted = os.environ.get("DOCKER")
    if wanted:
        made = Engine(os.path.abspath(wanted) if "/" in wanted else wanted)
        made.run("version")
        return made
    for command in ("docker", "podman"):
        if shutil.which(command) and Engine(command).run("version", check=False).returncode == 0:
            return Engine(command)
    return None


class Engine:
    def __init__(self, command):
        self.command = command
        # HEALTHCHECK is not in podman's own format of images; it runs it by systemd, if at all.
        self.environment = {**os.environ, "BUILDAH_FORMAT": "docker", "DISABLE_HC_SYSTEMD": "true"}

    def start(self, *args, **options):
        """A command of the engine as a process."""
        return subprocess.Popen([self.command, *args], stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.environment, **options)

    def run(self, *args, check=True, seconds=60, **options):
        """A command of the engine to its end."""
        process = self.start(*args, **options)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise AssertionError(f"{args}: not within {seconds} s") from None
        assert not check or process.returncode == 0, f"{args}: {process.returncode}\n{out}{err}"
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def build(self, *args, **options):
        return self.run("build", *args, seconds=600, **options)

    @functools.cached_property
    def is_podman(self):
        return "podman" in self.run("version").stdout.lower()

    @functools.cached_property
    def is_rootless(self):
        """Then containers cannot reach the host by the address of the bridge."""
        said = self.run("info", "-f", "{{.Host.Security.Rootless}}" if self.is_podman
                        else "{{json .SecurityOptions}}").stdout
        return "true" in said or "rootless" in said

    @functools.cached_property
    def host(self):
        """The host's address in the network that containers are put into."""
        network, = json.loads(self.run("network", "inspect",
                                       "podman" if self.is_podman else "bridge").stdout)
        subnets = network["subnets"] if self.is_podman else network["IPAM"]["Config"]
        return next(subnet[key] for subnet in subnets for key in ("gateway", "Gateway")
                    if ":" not in subnet.get(key, ":"))

    def upstream(self, loop, authority, *scripts):
        """A scripted server that containers reach; its address may be there only later."""
        script = upstream.HEALTHY
        for other in scripts:
            script = script | other
        return upstream.Upstream(loop, authority, script, address=self.host,
                                 make_socket=_socket_before_the_address)

    def container(self, *args):
        """Runs a container and returns it; it is the caller's to remove."""
        return Container(self, self.run("run", "-d", *args).stdout.split()[-1])


def _socket_before_the_address(*args):
    made = socket.socket(*args)
    made.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    return made


class Container:
    def __init__(self, engine, ident):
        self.engine = engine
        self.ident = ident

    def log(self):
        said = self.engine.run("logs", self.ident, check=False)
        return said.stdout + said.stderr

    def serve(self):
        """Waits until dot-proxy in it serves."""
        try:
            wait_until(lambda: "event=serving" in self.log(), 10, "it serves")
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.log()}") from None
        return self

    def address(self, protocol):
        """Where on the host its port 53 is published."""
        line = self.engine.run("port", self.ident, f"53/{protocol}").stdout.split()[0]
        host, _, port = line.rpartition(":")
        return "127.0.0.1" if host == "0.0.0.0" else host, int(port)

    def execute(self, *args, options=()):
        return self.engine.run("exec", *options, self.ident, *args, check=False)

    def inspect(self):
        found, = json.loads(self.engine.run("inspect", self.ident).stdout)
        return found

    def remove(self):
        self.engine.run("kill", self.ident, check=False)
        self.engine.run("rm", "-f", self.ident, check=False)
