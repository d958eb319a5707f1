"""A study as a Ray job: the driver runs on the cluster, and the laptop may be closed."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from pathlib import Path

import yaml

from orchestrator.cluster.ray_cluster import prepare_environment
from search_spaces.overrides import parse_assignment
from search_spaces.study import load_study
from trainables.errors import UserError

PACKAGES = ("orchestrator", "trainables", "search_spaces", "reports")


def submit_study(study: str, address: str, workdir: str, assignments: list[str], tracking_uri: str | None) -> str:
    """Send our packages and the study's definition to the cluster and start it there; returns the job's id.

    The cluster's environment must hold the dependencies (of requirements.lock); the code is that of this checkout.
    """
    prepare_environment()
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    definition = load_study(study, dict(parse_assignment(text) for text in assignments))
    command = ["python", "-c", "from orchestrator.cli.app import main; main()", "run", "study.yaml",
               "--workdir", workdir, "--address", "auto"]
    if tracking_uri:
        command += ["--tracking-uri", tracking_uri]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(__file__).parents[2]
        for package in PACKAGES:
            shutil.copytree(root / package, Path(folder) / package, ignore=shutil.ignore_patterns("__pycache__"))
        (Path(folder) / "study.yaml").write_text(yaml.safe_dump(definition.model_dump(mode="json"), sort_keys=False))
        try:
            client = JobSubmissionClient(address)
            return str(client.submit_job(entrypoint=shlex.join(command), runtime_env={"working_dir": folder}))
        except (ConnectionError, RuntimeError, AuthenticationError) as error:
            raise UserError(f"--address {address}: the job was not accepted ({str(error).splitlines()[0]})") from None
