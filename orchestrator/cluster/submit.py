"""A study as a Ray job: the driver runs on the cluster, and the laptop may be closed."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from pydantic import BaseModel

from orchestrator.cluster.ray_cluster import prepare_environment
from search_spaces.distributions import Categorical
from search_spaces.study import Study
from trainables.errors import UserError
from trainables.plugins.loading import is_path, load

PACKAGES = ("orchestrator", "trainables", "search_spaces", "reports")


def submit_study(definition: Study, address: str, workdir: str, tracking_uri: str | None, search_storage: str | None,
                 further_files: Mapping[str, str]) -> str:
    """Send our packages, the study with its plug-ins, and `further_files` (texts by name) to the cluster; returns the job's id.

    The cluster's environment must hold the dependencies (of requirements.lock); the code is that of this checkout.
    Addresses that may hold passwords go into the job's environment, not into its command, which everybody may list.
    """
    prepare_environment()
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    command = ["python", "-c", "from orchestrator.cli.app import main; main()", "run", "study.yaml",
               "--workdir", workdir, "--address", "auto"]
    addresses = {"SNRLAB_TRACKING_URI": tracking_uri, "SNRLAB_SEARCH_STORAGE": search_storage}
    environment = {name: value for name, value in addresses.items() if value}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(__file__).parents[2]
        for package in PACKAGES:
            shutil.copytree(root / package, Path(folder) / package, ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in further_files.items():
            (Path(folder) / name).write_text(text)
        (Path(folder) / "study.yaml").write_text(yaml.safe_dump(_with_plugins_in(Path(folder), definition), sort_keys=False))
        try:
            # Ray's client prefers what the environment names (RAY_API_SERVER_ADDRESS, then RAY_ADDRESS) to its argument.
            with patch.dict(os.environ, RAY_API_SERVER_ADDRESS=address):
                client = JobSubmissionClient(address)
            settings = {"working_dir": folder, "env_vars": environment}
            return str(client.submit_job(entrypoint=shlex.join(command), runtime_env=settings))
        except (ConnectionError, RuntimeError, AuthenticationError) as error:
            raise UserError(f"--address {address}: the job was not accepted ({str(error).splitlines()[0]})") from None


def _with_plugins_in(folder: Path, study: Study) -> dict[str, Any]:
    """The study's fields, with its plug-ins named as they lie in the folder, where they are written."""
    fields, names = study.model_dump(mode="json"), []
    for number, name in enumerate(study.plugins):
        plugin = load(name)
        one_file = plugin.files.keys() == {f"{plugin.label}.py"}
        place = Path("plugins", str(number)) if is_path(name) else Path()
        for file, text in plugin.files.items():
            path = folder / place / ("" if one_file else plugin.label) / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        names.append(f"./{place}/{plugin.label}{'.py' if one_file else ''}" if is_path(name) else name)
    if names:
        fields["plugins"] = fields["base"]["plugins"] = names
    return fields


def files_to_share(study: Study) -> list[tuple[str, Path]]:
    """Files and folders of this machine that a study names, with the field that names each."""
    choices = [(f"space.{path}", Path(choice)) for path, axis in study.space.items() if isinstance(axis, Categorical)
               for choice in axis.choices if isinstance(choice, str) and Path(choice).is_absolute()]
    return [*_files(study.base_recipe, "base"), *choices]


def _files(settings: BaseModel, where: str) -> Iterator[tuple[str, Path]]:
    for name, value in settings:
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Path):
                yield f"{where}.{name}", part
            elif isinstance(part, BaseModel):
                yield from _files(part, f"{where}.{name}")
