"""Commands for what was found: `snrlab results|compare|report|track|ui|export`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from orchestrator.cli.completion import studies_that_were_run
from orchestrator.cli.operations import ANOTHER_FILE, StudyName, WorkdirOption, name_of
from orchestrator.cluster.addresses import without_password
from orchestrator.records.folders import WorkFolder
from trainables.errors import ConfigError
from trainables.files.storage import is_local, writable

if TYPE_CHECKING:
    from reports.results import StudyResults

findings = typer.Typer()
_SECONDS_BETWEEN_PAGES = 10.0

TrackingOption = Annotated[str | None, typer.Option(
    "--tracking-uri", envvar="SNRLAB_TRACKING_URI", show_envvar=True,
    help="MLflow server (default: SQLite in the work folder); an address with a password belongs in the environment variable",
)]


@findings.command()
def results(study: StudyName, workdir: WorkdirOption = Path("runs"),
            format_: Annotated[str, typer.Option("--format", help="table, json, csv or parquet")] = "table",
            output: Annotated[Path | None, typer.Option(help="file to write (needed for parquet)")] = None,
            by: Annotated[str, typer.Option(help="a row per trial, or per variant, comparison, speed-up or effect of a design")] = "trial",
            tracking_uri: TrackingOption = None) -> None:
    """A row per trial: parameters, best score over EMA lengths, cost."""
    from reports.tables import BY, FORMATS, render

    _allowed("--by", by, BY)
    _allowed("--format", format_, FORMATS)
    if format_ == "parquet" and output is None:
        raise ConfigError("--format parquet: is binary; name a file with --output results.parquet")
    loaded = _load(study, WorkFolder(workdir), tracking_uri, samples=False)
    _warn(loaded)
    content = render(loaded, format_, by)
    if output:
        from trainables.files import atomic

        with writable(output, ANOTHER_FILE):
            atomic.write_bytes(output, content)
    else:
        sys.stdout.write(content.decode())


@findings.command()
def compare(studies: Annotated[list[str], typer.Argument(metavar="STUDY STUDY...", parser=name_of, help="two studies or more")],
            workdir: WorkdirOption = Path("runs"),
            baseline: Annotated[str, typer.Option(help="'STUDY: VARIANT' (default: the first study's baseline, or its best)")] = "",
            smallest_effect: Annotated[float, typer.Option("--smallest-effect", help="relative difference that matters")] = 0.05,
            format_: Annotated[str, typer.Option("--format", help="table, json or csv")] = "table",
            by: Annotated[str, typer.Option(help="a row per variant or comparison")] = "variant",
            tracking_uri: TrackingOption = None) -> None:
    """Variants of several studies with the verdicts of one; refused where their scores were made in different ways."""
    from reports.compare import compare_studies
    from reports.tables import render_comparison

    _allowed("--by", by, ("variant", "comparison"))
    _allowed("--format", format_, ("table", "json", "csv"))
    loaded = [_load(study, WorkFolder(workdir), tracking_uri, samples=False) for study in studies]
    sys.stdout.write(render_comparison(compare_studies(loaded, baseline, smallest_effect), format_, by).decode())


@findings.command()
def report(study: Annotated[str | None, typer.Argument(parser=name_of, metavar="STUDY", help="name of a study",
                                                     autocompletion=studies_that_were_run)] = None,
           all_: Annotated[bool, typer.Option("--all", help="the reports of all studies, and a page of all of them")] = False,
           single: Annotated[bool, typer.Option("--single", help="the study's page as one file, to mail: STUDY-report.html here")] = False,
           watch: Annotated[bool, typer.Option("--watch", help="write again whenever something is new, until the study ends")] = False,
           workdir: WorkdirOption = Path("runs"), tracking_uri: TrackingOption = None) -> None:
    """Write the report of a study, from its tracked results: a page, one per trial, and the data of every figure."""
    from orchestrator.records.findings import load_for_report, tracking_address, write_all, write_folder
    from reports.pages.study_page import write_page

    if (study is None) != all_ or (all_ and (single or watch)) or (single and watch):
        raise ConfigError("report: name a study, alone or with one of --single and --watch; or give --all alone")
    work = WorkFolder(workdir)
    if study is None:
        page, wrong = write_all(work, tracking_uri)
        for line in wrong:
            typer.echo(f"warning: {line}", err=True)
        typer.echo(page)
        return
    loaded = load_for_report(study, work, tracking_uri)
    if single:
        _warn(loaded)
        page = Path(f"{study}-report.html")
        with writable(page, "move it away"):
            typer.echo(write_page(loaded, page))
        return
    if not watch or loaded.status != "RUNNING":
        _warn(loaded)
    typer.echo(write_folder(loaded, work, tracking_address(work, tracking_uri)))
    while watch and loaded.status == "RUNNING":
        time.sleep(_SECONDS_BETWEEN_PAGES)
        loaded = load_for_report(study, work, tracking_uri)
        write_folder(loaded, work, tracking_address(work, tracking_uri))
    if watch and loaded.status == "KILLED":
        typer.echo(f"warning: study {study}: was stopped, and nobody runs it now; snrlab run goes on with it", err=True)


@findings.command()
def track(study: StudyName, workdir: WorkdirOption = Path("runs"), tracking_uri: TrackingOption = None) -> None:
    """Write what an MLflow server lacks of a study that is not running; twice is as good as once."""
    from orchestrator.records.findings import attach, tracking_address, write_folder

    work = WorkFolder(workdir)
    bring_up_to_date(study, work, tracking_uri)
    loaded, uri = _load(study, work, tracking_uri), tracking_address(work, tracking_uri)
    write_folder(loaded, work, uri)
    attach(loaded, uri)
    typer.echo(f"study {study}: {len(loaded.trials)} trials are in MLflow ({without_password(uri)})")


@findings.command()
def export(study: StudyName, trial: Annotated[int | None, typer.Option(help="number of a trial, for its networks", min=0)] = None,
           latex: Annotated[bool, typer.Option("--latex", help="the table of variants or trials, the methods text and BibTeX")] = False,
           csv: Annotated[bool, typer.Option("--csv", help="trials, variants, and the data of every figure")] = False,
           svg: Annotated[bool, typer.Option("--svg", help="every figure")] = False,
           sigma_rel: Annotated[str, typer.Option("--sigma-rel", help="best, a length, or one per group: 0.05,0.1")] = "best",
           output: Annotated[Path | None, typer.Option(help="folder to make (default: STUDY-trial-N or STUDY-export here)")] = None,
           workdir: WorkdirOption = Path("runs"), tracking_uri: TrackingOption = None) -> None:
    """Write a trial's networks as a folder of safetensors and JSON (--trial), or a study's tables and figures (--latex --csv --svg)."""
    if (trial is None) == (not (latex or csv or svg)):
        raise ConfigError("export: give --trial N for a trial's networks, or some of --latex, --csv and --svg for tables and figures")
    work = WorkFolder(workdir)
    if trial is not None:
        _export_networks(study, trial, sigma_rel, output, work)
        return
    from reports.export import export_study

    loaded = _load(study, work, tracking_uri, samples=False)
    _warn(loaded)
    target = output or Path(f"{study}-export")
    with writable(target, "name another folder with --output"):
        files = export_study(loaded, target, latex, csv, svg)
    for file in files:
        typer.echo(file)


def _export_networks(study: str, trial: int, sigma_rel: str, output: Path | None, work: WorkFolder) -> None:
    from orchestrator.cli.export import export_trial
    from orchestrator.records.definition import recall

    folder = work.study(study)
    recall(folder)
    target, lengths = export_trial(folder, trial, sigma_rel, output or Path(f"{study}-trial-{trial}"), work.cache)
    said = ", ".join(f"{length:g}" for length in lengths)
    typer.echo(f"{target}: EMA length sigma_rel {said}; {target / 'README.md'} says how to sample")


@findings.command()
def ui(study: Annotated[str | None, typer.Argument(parser=name_of, metavar="STUDY", help="study to open (default: the last one)")] = None,
       workdir: WorkdirOption = Path("runs"), host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
       port: Annotated[int, typer.Option(min=1, max=65535)] = 5000) -> None:
    """Open MLflow's own pages on the results (localhost only, unless told otherwise): a study's trials, best first."""
    from orchestrator.records.findings import tracking_address
    from reports.mlflow_client import comparison

    work = WorkFolder(workdir)
    page = comparison(tracking_address(work, None), study)
    address = f"http://{host}:{port}{page}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", host, "--port", str(port),
               "--artifacts-destination", work.artifacts.as_uri()]
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_BACKEND_STORE_URI": work.tracking_uri}
    server = subprocess.Popen(command, env={**os.environ, **settings})
    typer.echo(f"MLflow: {address}\n(Ctrl-C stops it)")
    if sys.stdout.isatty():
        threading.Thread(target=_open_when_up, args=(host, port, address), daemon=True).start()
    try:
        raise typer.Exit(server.wait())
    finally:
        server.terminate()
        server.wait()


def _open_when_up(host: str, port: int, address: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            socket.create_connection((host, port), timeout=1).close()
            webbrowser.open(address)
            return
        except OSError:
            time.sleep(0.3)


def bring_up_to_date(study: str, work: WorkFolder, tracking_uri: str | None) -> None:
    """Write to MLflow what it lacks of a study; UserError where the study is being run."""
    from orchestrator.records.definition import recall
    from orchestrator.records.tracking import track_study

    folder = work.study(study)
    definition = recall(folder)
    with folder.held():
        track_study(folder, definition, tracking_uri or work.tracking_uri, work.artifacts)


def conclude(console: Console, study: str, work: WorkFolder, tracking_uri: str | None) -> None:
    """Write the report, attach it to the study's run, and say what was found and where to look."""
    from orchestrator.records.findings import conclude as concluded
    from reports.mlflow_client import comparison_of

    loaded, lines = concluded(study, work, tracking_uri)
    command = os.path.relpath(sys.argv[0]) if os.path.sep in sys.argv[0] else "snrlab"
    where = f"{command} ui --workdir {os.path.relpath(work.root) if is_local(work.root) else work.root}"
    if tracking_uri:
        page_there = comparison_of(loaded.experiment_id) if tracking_uri.startswith("http") else ""
        where = without_password(tracking_uri).rstrip("/") + page_there
    for line in [*lines, f"open MLflow:   {where}"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _allowed(option: str, given: str, known: Collection[str]) -> None:
    if given not in known:
        raise ConfigError(f"{option} {given}: is not known. Allowed: {', '.join(known)}.")


def _load(study: str, work: WorkFolder, tracking_uri: str | None, samples: bool = True) -> StudyResults:
    from orchestrator.records.findings import load_results

    return load_results(study, work, tracking_uri, samples)


def _warn(loaded: StudyResults) -> None:
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
