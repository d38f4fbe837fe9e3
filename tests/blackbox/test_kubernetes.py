"""The bases in deploy/kubernetes are complete and grant no unneeded privilege."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

import kustomize
import proxy

README = (kustomize.ROOT / "README.md").read_text()
BASES = sorted(path for path in kustomize.BASES.iterdir())
WORKLOADS = "Deployment", "DaemonSet"
HEALTHCHECK_SECONDS = 2
# Containers with capabilities: to add an address to the node; to bind port 53 of the node.
RANKS = {("node-local", "address"): "NET_ADMIN", ("node-local", "dot-proxy"): "NET_BIND_SERVICE"}

every_base = pytest.mark.parametrize("base", BASES, ids=lambda base: base.name)


def _template(objects):
    return kustomize.only(objects, *WORKLOADS)["spec"]["template"]


def _containers(objects):
    spec = _template(objects)["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]


def _dot_proxy(objects):
    found, = (c for c in _containers(objects) if c["name"] == "dot-proxy")
    return found


def _listens(objects):
    return yaml.safe_load(kustomize.only(objects, "ConfigMap")["data"]["config.yml"])["listen"]


def _cluster(objects):
    """The route to the cluster's DNS."""
    route, = yaml.safe_load(kustomize.only(objects, "ConfigMap")["data"]["config.yml"])["routes"]
    return route


@every_base
def test_names_of_the_cluster_go_to_its_dns(base):
    """With the range of its services only where the cluster's DNS does not forward here."""
    route = _cluster(kustomize.render(base))
    services = ["10.96.0.0/12"] if base.name.startswith("sidecar") else []
    assert route["domains"] == ["cluster.local", *services]
    assert route["upstreams"] == {"address": "10.96.0.10", "cleartext": True}


def test_bases_match_the_readme():
    names = re.search(r"apply -k deploy/kubernetes/sidecar.*?\n\n(.*?)\n\n", README, re.S)[1]
    assert sorted(re.findall(r"^\| `([\w-]+)`", names, re.M)) == [base.name for base in BASES]


@every_base
def test_every_file_is_used(base):
    kustomization, = kustomize.load(base / "kustomization.yaml")
    used = [*kustomization["resources"],
            *(name for made in kustomization["configMapGenerator"] for name in made["files"])]
    assert sorted([*used, "kustomization.yaml"]) == sorted(os.listdir(base))


@every_base
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_rendered_by_kubectl(base):
    done = subprocess.run(["kubectl", "kustomize", str(base)], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr

    def by_kind(objects):
        return sorted(objects, key=lambda made: made["kind"])
    assert by_kind(yaml.safe_load_all(done.stdout)) == by_kind(kustomize.render(base))


@every_base
def test_configuration_is_valid(base, any_address):
    done = any_address(subprocess.run, [proxy.BINARY, "-c", str(base / "config.yml"), "check"],
                       capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr


@every_base
def test_containers_have_minimal_privileges(base):
    for container in _containers(kustomize.render(base)):
        rights = container["securityContext"]
        rank = RANKS.get((base.name, container["name"]))
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
        assert rights["capabilities"] == {"drop": ["ALL"], **({"add": [rank]} if rank else {})}
        assert rights["runAsNonRoot"] is (rank != "NET_ADMIN")
        assert (rights["runAsUser"] == 0) is (rank == "NET_ADMIN")
        assert rights["allowPrivilegeEscalation"] is False


@every_base
def test_port_53_can_be_bound(base):
    """With the sysctl of the pod or, in the node's network, with the file capability."""
    objects = kustomize.render(base)
    spec = _template(objects)["spec"]
    sysctls = spec.get("securityContext", {}).get("sysctls", [])
    if spec.get("hostNetwork"):
        assert not sysctls
        assert _dot_proxy(objects)["securityContext"]["capabilities"]["add"] == ["NET_BIND_SERVICE"]
    else:
        assert sysctls == [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "53"}]


@every_base
def test_resources_are_bounded(base):
    for container in _containers(kustomize.render(base)):
        resources = container["resources"]
        assert set(resources["requests"]) == {"cpu", "memory"}
        assert set(resources["limits"]) == {"memory"}, "a limit of CPU delays answers"


@every_base
def test_volumes_exist(base):
    objects = kustomize.render(base)
    volumes = {volume["name"]: volume for volume in _template(objects)["spec"]["volumes"]}
    mounted = {mount["name"] for c in _containers(objects) for mount in c.get("volumeMounts", ())}
    assert mounted == set(volumes)
    mount, = _dot_proxy(objects)["volumeMounts"]
    assert mount == {"name": mount["name"], "mountPath": "/app", "readOnly": True}
    assert volumes[mount["name"]]["configMap"]["name"] \
        == kustomize.only(objects, "ConfigMap")["metadata"]["name"]


@every_base
def test_probes_run_healthcheck(base):
    probes = {key: probe for key, probe in _dot_proxy(kustomize.render(base)).items()
              if key.endswith("Probe")}
    for key, probe in probes.items():
        ready = ["--ready"] if key == "readinessProbe" else []
        assert probe["exec"]["command"] == ["/dot-proxy", "healthcheck", *ready], key
        assert probe["timeoutSeconds"] > HEALTHCHECK_SECONDS, key
    assert set(probes) == {"readinessProbe", "livenessProbe",
                           *(["startupProbe"] if base.name != "sidecar-plain" else [])}


@every_base
def test_image_matches_the_readme(base):
    image = re.search(r"docker build -t (\S+) ", README)[1]
    assert _dot_proxy(kustomize.render(base))["image"] == image


@every_base
def test_selectors_match_their_pods(base):
    objects = kustomize.render(base)
    labels = _template(objects)["metadata"]["labels"]
    for made in objects:
        selector = made.get("spec", {}).get("selector", labels)
        assert selector.get("matchLabels", selector) == labels, made["kind"]


@pytest.mark.parametrize("name", ("sidecar", "sidecar-plain"))
def test_application_uses_the_sidecar(name):
    objects = kustomize.render(kustomize.BASES / name)
    spec = _template(objects)["spec"]
    assert spec["dnsPolicy"] == "None"
    assert [f"{address}:53" for address in spec["dnsConfig"]["nameservers"]] == [_listens(objects)]
    searches = spec["dnsConfig"]["searches"]
    assert searches == [f"{prefix}{_cluster(objects)['domains'][0]}"
                        for prefix in ("default.svc.", "svc.", "")]
    assert spec["dnsConfig"]["options"] == [{"name": "ndots", "value": "5"}]
    assert kustomize.is_sidecar(_dot_proxy(objects)) == (name == "sidecar")
    assert [c["name"] for c in spec["containers"] if c["name"] != "dot-proxy"] == ["application"]


def test_init_container_adds_the_listen_address(namespace):
    """By the command of the init container, also if repeated; with any `ip'."""
    objects = kustomize.render(kustomize.BASES / "node-local")
    command, = (c["command"] for c in _containers(objects) if c["name"] == "address")
    address = command[3].partition("/")[0]
    assert _listens(objects) == f"{address}:53"
    for _ in range(2):
        namespace.run(*command)
    assert f" {address}/32 " in namespace.call(
        subprocess.run, ["ip", "address", "show", "dev", "lo"], capture_output=True,
        text=True).stdout


def test_service_ports_match_its_pods():
    objects = kustomize.render(kustomize.BASES / "service")
    ports = {(port["name"], port["containerPort"], port["protocol"])
             for port in _dot_proxy(objects)["ports"]}
    assert {(port["targetPort"], port["port"], port["protocol"])
            for port in kustomize.only(objects, "Service")["spec"]["ports"]} == ports
    assert {protocol for _, _, protocol in ports} == {"UDP", "TCP"}


def test_service_can_be_scaled():
    objects = kustomize.render(kustomize.BASES / "service")
    deployment = kustomize.only(objects, "Deployment")
    spec = kustomize.only(objects, "HorizontalPodAutoscaler")["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": deployment["apiVersion"], "kind": "Deployment",
                                      "name": deployment["metadata"]["name"]}
    assert "replicas" not in deployment["spec"], "each `apply' would undo what the scaler did"
    assert spec["minReplicas"] > kustomize.only(objects, "PodDisruptionBudget")["spec"][
        "maxUnavailable"]
