"""Commands for looking after studies: `snrlab status|logs|cancel|retry|replay|store|submit`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from orchestrator.cli.completion import studies_that_were_run
from orchestrator.records.folders import WorkFolder
from search_spaces.study_name import study_name
from trainables.errors import UserError
from trainables.files.storage import place
from trainables.files.yaml_file import load_mapping

if TYPE_CHECKING:
    from orchestrator.records.store import Store

operations = typer.Typer()
ANOTHER_FILE = "name another file with --output"


def name_of(study: str) -> str:
    """A study's name: as given, or as the file says where the path of one was given; UserError where it can be none."""
    path, what, name = Path(study), f"study {study!r}: is neither a study file nor the name of a study", study
    if path.suffix in (".yaml", ".yml") and path.is_file():
        written = load_mapping(path, "study").get("name")
        if not isinstance(written, str):
            raise UserError(f"study {path}: gives no name")
        what, name = f"study {path}: name {written!r}", written
    try:
        return study_name(name)
    except ValueError as error:
        raise UserError(f"{what}: {error}") from None


StudyName = Annotated[str, typer.Argument(parser=name_of, metavar="STUDY", autocompletion=studies_that_were_run,
                                          help="name of a study that has been run, or path of its file")]
WorkdirOption = Annotated[Path, typer.Option("--workdir", parser=place, metavar="FOLDER", envvar="SNRLAB_WORKDIR",
                                             help="folder of all results, or a URL of shared storage (s3://bucket/runs)")]


@operations.command()
def status(study: StudyName, watch: Annotated[bool, typer.Option(help="keep the table up to date until Ctrl-C")] = False,
           workdir: WorkdirOption = Path("runs")) -> None:
    """Trials, stages, images per second, time left and the best score so far."""
    from orchestrator.cli.status import status_table
    from orchestrator.records.definition import recall

    folder, console = WorkFolder(workdir).study(study), Console()
    study_now = recall(folder).study
    if not watch:
        console.print(status_table(folder, study_now))
        return
    with Live(status_table(folder, study_now), console=console) as live:
        while True:
            time.sleep(2)
            live.update(status_table(folder, study_now))


@operations.command()
def logs(study: StudyName, trial: Annotated[int, typer.Argument(help="number of the trial", min=0)],
         follow: Annotated[bool, typer.Option(help="wait for further lines until Ctrl-C")] = False,
         workdir: WorkdirOption = Path("runs")) -> None:
    """What happened to a trial: starts, warnings, failures with their traceback."""
    from orchestrator.records import events
    from orchestrator.records.definition import recall

    folder = WorkFolder(workdir).study(study)
    recall(folder)
    known, shown = folder.known_trial(trial), 0
    while True:
        lines = events.lines(known.root)
        for line in lines[shown:]:
            typer.echo(line)
        shown = len(lines)
        if not follow:
            return
        time.sleep(1)


@operations.command()
def cancel(study: StudyName, workdir: WorkdirOption = Path("runs"),
           wait: Annotated[float, typer.Option(help="seconds to wait for the end")] = 60.0) -> None:
    """Stop a running study cleanly, from any machine that sees its folder; `snrlab run` goes on with it."""
    from orchestrator.records.definition import recall

    folder = WorkFolder(workdir).study(study)
    recall(folder)
    if not folder.is_held:
        typer.echo(f"study {study} is not running")
        return
    folder.cancel_request.touch()
    end = time.monotonic() + wait
    while folder.is_held and time.monotonic() < end:
        time.sleep(0.2)
    if folder.is_held:
        raise UserError(f"study {study} has not stopped within {wait:g} s; it will at its next event, or stop its process")
    typer.echo(f"study {study} has stopped; snrlab run goes on with it")


@operations.command()
def retry(study: StudyName, trial: Annotated[int | None, typer.Option(min=0, help="only this trial (default: all that failed)")] = None,
          workdir: WorkdirOption = Path("runs")) -> None:
    """Let the next run go on with trials that failed; failed EMA sweeps are tried again by every run anyway."""
    from orchestrator.records.definition import recall
    from orchestrator.records.retry import let_run_again

    folder = WorkFolder(workdir).study(study)
    recall(folder)
    numbers = let_run_again(folder, trial)
    if numbers:
        typer.echo(f"study {study}: trials {', '.join(map(str, numbers))} go on with the next run: snrlab run")
    else:
        typer.echo(f"study {study}: no failed trial" + ("" if trial is None else f" {trial}"))


@operations.command()
def replay(study: StudyName, workdir: WorkdirOption = Path("runs")) -> None:
    """Propose every trial and decide on every early stop again, from the study's log; exit code 1 if something comes out differently."""
    from orchestrator.records.definition import recall
    from orchestrator.search.replay import replay_search
    from orchestrator.search.search_log import SearchLog

    folder = WorkFolder(workdir).study(study)
    found = replay_search(recall(folder).study, SearchLog(folder).events)
    for difference in found.differences:
        typer.echo(difference)
    outcome = f"{len(found.differences)} are different now (other versions of libraries?)" if found.differences else "the same again"
    typer.echo(f"study {study}: {found.proposals} proposals and {found.decisions} decisions on early stopping: {outcome}")
    raise typer.Exit(1 if found.differences else 0)


store = typer.Typer(no_args_is_help=True, help="What has been trained already, by the content of its recipe.")
operations.add_typer(store, name="store")


@store.command("ls")
def store_ls(workdir: WorkdirOption = Path("runs")) -> None:
    """List what is kept."""
    from datetime import datetime

    for entry in _store(workdir).entries():
        when = datetime.fromtimestamp(entry.kept).isoformat(" ", "minutes")
        use = "shared with a trial" if entry.in_use else "unused"
        typer.echo(f"{entry.key[:16]}  {entry.images:>12} images  {entry.size / 2**20:>9.1f} MiB  {when}  {use}")


@store.command("gc")
def store_gc(everything: Annotated[bool, typer.Option("--all", help="also what trials still share; their own files stay")] = False,
             workdir: WorkdirOption = Path("runs")) -> None:
    """Remove what no trial shares any more."""
    gone = _store(workdir).collect_garbage((lambda _: True) if everything else (lambda entry: not entry.in_use))
    typer.echo(f"{len(gone)} entries removed")


@store.command("verify")
def store_verify(workdir: WorkdirOption = Path("runs")) -> None:
    """Check everything that is kept against its checksums; exit code 1 if some are damaged."""
    kept = _store(workdir)
    damaged = kept.verify()
    for entry, files in damaged.items():
        for file in files:
            typer.echo(f"{entry.key[:16]}: damaged: {file}")
    typer.echo(f"{len(kept.entries())} entries, {len(damaged)} damaged")
    raise typer.Exit(1 if damaged else 0)


def _store(workdir: Path) -> Store:
    from orchestrator.records.store import Store

    return Store(WorkFolder(workdir).store)


@operations.command()
def submit(study: Annotated[str, typer.Argument(help="name of a bundled study, or path of a study file")],
           address: Annotated[str, typer.Option(help="the cluster's job server, e.g. http://head:8265", envvar="RAY_API_SERVER_ADDRESS")],
           workdir: Annotated[str, typer.Option(help="folder of all results as the cluster's machines see it")],
           set_: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="override a field")] = None,
           scale: Annotated[str | None, typer.Option("--scale", help="one of the scales that the study lists")] = None,
           tracking_uri: Annotated[str | None, typer.Option(envvar="SNRLAB_TRACKING_URI", help="MLflow server")] = None,
           search_storage: Annotated[str | None, typer.Option(envvar="SNRLAB_SEARCH_STORAGE", help="database of the search")] = None,
           ) -> None:
    """Run a study as a job on a Ray cluster; returns at once."""
    from orchestrator.cluster.submit import files_to_share, submit_study
    from orchestrator.records import provenance
    from search_spaces.overrides import parse_assignment
    from search_spaces.study import load_study

    definition = load_study(study, dict(parse_assignment(text) for text in set_ or []), scale)
    for field, path in files_to_share(definition):
        typer.echo(f"warning: {field}: the cluster's machines must see {path} under that name", err=True)
    code = {provenance.CODE_FILE: json.dumps(provenance.code())}
    job = submit_study(definition, address, workdir, tracking_uri, search_storage, code)
    typer.echo(f"submitted as {job}; follow it with: ray job logs {job} --address {address} --follow")
