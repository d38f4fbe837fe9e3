"""The sidecars of deploy/kubernetes in podman, with an application that resolves through them."""

import json
import os
import subprocess

import pytest
import yaml

import dnsmsg
import kustomize
from engine import Container
from rows import table

pytestmark = pytest.mark.timeout(900)     # the first of them builds the image


class Pod:
    """
    A pod template, as far as podman plays it. It starts no sidecar before the others, has no
    shell in the image to run probes by, and leaves out sysctls: those are set here.
    """

    def __init__(self, engine, name, template, config_map, path):
        self.engine = engine
        self.name = name
        self.path = path
        spec = template["spec"]
        containers = [*filter(kustomize.is_sidecar, spec.pop("initContainers", ())),
                      *spec["containers"]]
        for container in containers:
            for key in [key for key in container if key.endswith("Probe")]:
                del container[key]
            container.pop("restartPolicy", None)
        spec["containers"] = containers
        self.sysctls = spec["securityContext"].pop("sysctls")
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        path.write_text(yaml.safe_dump_all([config_map, pod]))

    def start(self):
        self.engine.run("kube", "play", "--network", "podman", "--start=false", str(self.path))
        infra = json.loads(self.engine.run("pod", "inspect", self.name).stdout)["InfraContainerID"]
        self.engine.run("start", infra)
        pid = Container(self.engine, infra).inspect()["State"]["Pid"]
        for sysctl in self.sysctls:
            path = "/proc/sys/" + sysctl["name"].replace(".", "/")
            subprocess.run(["nsenter", "-t", str(pid), "-n", "tee", path], check=True,
                           input=sysctl["value"], text=True, capture_output=True)
        self.engine.run("pod", "start", self.name)

    def container(self, name):
        return Container(self.engine, f"{self.name}-{name}")

    def remove(self):
        self.engine.run("pod", "kill", self.name, check=False)
        self.engine.run("pod", "rm", "-f", self.name, check=False)
        # What podman makes of the ConfigMap.
        self.engine.run("volume", "rm", "-f", self.name, check=False)


@pytest.fixture
def pod(engine, image, name, tmp_path):
    if not engine.is_podman:
        pytest.skip("needs podman, which plays the manifests of pods")
    if os.geteuid() != 0 or engine.is_rootless:
        pytest.skip("needs root to set what podman leaves out")
    made = []

    def make(base, configuration, files):
        objects = kustomize.render(kustomize.BASES / base)
        config_map = kustomize.only(objects, "ConfigMap")
        config_map["metadata"]["name"] = name
        template = kustomize.only(objects, "Deployment")["spec"]["template"]
        config_map["data"] = {"config.yml": configuration(config_map["data"]["config.yml"]),
                              **files}
        volume, = template["spec"]["volumes"]
        volume["configMap"]["name"] = name
        assert [c["image"] for c in _containers(template) if c["name"] == "dot-proxy"] == [image]
        made.append(Pod(engine, name, template, config_map, tmp_path / "pod.yaml"))
        made[-1].start()
        made[-1].container("dot-proxy").serve()
        return made[-1]
    yield make
    for each in made:
        print(f"The log of the sidecar:\n{each.container('dot-proxy').log()}")
        each.remove()


def _containers(template):
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


@table("base, options, listener",
       ("sidecar-udp", "sidecar", "", {"tcp": False}),
       ("sidecar-tcp", "sidecar", "use-vc", {"udp": False}),
       ("plain-udp", "sidecar-plain", "", {"tcp": False}),
       ("plain-tcp", "sidecar-plain", "use-vc", {"udp": False}))
def test_application_resolves_with_glibc(pod, server, authority, base, options, listener):
    """The other protocol has no listener, so only this one can have been used."""
    upstream = server()

    def configuration(text):
        settings = yaml.safe_load(text)
        settings.update(upstreams=[upstream.config()], tls={"ca_file": "/app/ca.pem"},
                        local_names=False,
                        listen=[{"address": settings["listen"], **listener}])
        return yaml.safe_dump(settings)

    with open(authority.path) as file:
        made = pod(base, configuration, {"ca.pem": file.read()})
    application = made.container("application")
    lines = application.execute("cat", "/etc/resolv.conf").stdout.splitlines()
    assert [line for line in lines if line.startswith("nameserver")] == ["nameserver 127.0.0.1"]
    assert any(line.startswith("options") and "ndots:5" in line for line in lines), lines
    assert any("svc.cluster.local" in line for line in lines), lines
    asked = f"{base}.test"
    # Of a whole name nothing is asked that the list of domains to search would add.
    got = application.execute("getent", "ahostsv4", f"{asked}.",
                              options=("-e", f"RES_OPTIONS={options}"))
    assert got.returncode == 0, f"{got}\n{made.container('dot-proxy').log()}"
    assert got.stdout.split()[0] == ".".join(map(str, dnsmsg.rdata_for(dnsmsg.labels(asked),
                                                                       dnsmsg.A)))
    assert upstream.queries_for(asked)
