"""The examples in docs/cluster are valid, and follow the rules that the project states."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import ray
import yaml

DOCUMENTS = Path(__file__).parent.parent / "docs/cluster"


def test_the_cluster_file_fits_rays_own_schema() -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())
    cluster = yaml.safe_load((DOCUMENTS / "ray-cluster.yaml").read_text())
    jsonschema.validate(cluster, schema)
    starts = [c for c in cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"] if "ray start" in c]
    assert len(starts) == 2 and "--dashboard-host=127.0.0.1" in starts[0]


def test_the_kuberay_manifest_fits_the_locked_versions() -> None:
    manifest = yaml.safe_load((DOCUMENTS / "kuberay.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayCluster")
    spec = manifest["spec"]
    assert spec["rayVersion"] == importlib.metadata.version("ray")
    assert spec["headGroupSpec"]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        pod = group["template"]["spec"]
        names = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert {mount["name"] for mount in container["volumeMounts"]} <= names
        if "replicas" in group:
            assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_the_image_takes_the_locked_versions_and_every_package() -> None:
    recipe, makefile = (DOCUMENTS / "Containerfile").read_text(), (DOCUMENTS.parents[1] / "Makefile").read_text()
    uv = re.search(r"UV_VERSION := (\S+)", makefile)
    assert uv and f"uv=={uv[1]}" in recipe and "--require-hashes -r /opt/snrlab/requirements.lock" in recipe
    for source in re.findall(r"^COPY (.+) /opt/snrlab/\S*$", recipe, re.MULTILINE):
        assert all((DOCUMENTS.parents[1] / name).exists() for name in source.split()), source
    packages = tomllib.loads((DOCUMENTS.parents[1] / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert all(f"COPY {package.removesuffix('*')} " in recipe for package in packages)
    assert f"snrlab:{importlib.metadata.version('snrlab')}" in recipe and "USER ray" in recipe


def test_the_script_is_valid_bash_and_opens_nothing_to_the_network() -> None:
    script = DOCUMENTS / "stack.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    assert "listen_addresses= " in text and "--host 127.0.0.1" in text and "0.0.0.0" not in text
    assert subprocess.run([str(script), "dance", "/tmp"], capture_output=True).returncode == 2
