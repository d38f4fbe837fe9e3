"""What `kubectl kustomize' makes of the bases in deploy/kubernetes, as far as they go."""

import pathlib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASES = ROOT / "deploy" / "kubernetes"


def load(path):
    return list(yaml.safe_load_all(path.read_text()))


def render(base):
    """The objects of a base: its resources, and a ConfigMap for each generator."""
    kustomization, = load(base / "kustomization.yaml")
    objects = [made for name in kustomization["resources"] for made in load(base / name)]
    for generator in kustomization["configMapGenerator"]:
        objects.append({"apiVersion": "v1", "kind": "ConfigMap",
                        "metadata": {"name": generator["name"]},
                        "data": {name: (base / name).read_text() for name in generator["files"]}})
    return objects


def only(objects, *kinds):
    """The one object of these kinds."""
    found, = (made for made in objects if made["kind"] in kinds)
    return found


def is_sidecar(container):
    """Whether an init container is a sidecar."""
    return container.get("restartPolicy") == "Always"
