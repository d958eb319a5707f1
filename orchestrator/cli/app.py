"""The command line: `snrlab run|plan|sweep|data`; see findings.py, operations.py and plugins.py for the others."""

from __future__ import annotations

import signal
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from orchestrator.cli.completion import studies_to_run
from orchestrator.cli.findings import TrackingOption, conclude, findings
from orchestrator.cli.operations import ANOTHER_FILE, StudyName, WorkdirOption, operations
from orchestrator.cli.plugins import plugins
from orchestrator.cli.secret_arguments import hide_secret_arguments
from orchestrator.cluster.ray_cluster import RayLost, cluster_not_used
from orchestrator.records.folders import WorkFolder
from trainables.errors import UserError, in_one_line
from trainables.files.storage import make_folder, writable
from trainables.plugins.faults import fault_of_plugin
from trainables.secrets import guard_output, print_error, redact

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
                  help="Searches and ablations of diffusion-model training efficiency.")

StudyArgument = Annotated[str, typer.Argument(help="name of a bundled study, or path of a study file", autocompletion=studies_to_run)]
ScaleOption = Annotated[str | None, typer.Option("--scale", help="one of the scales that the study lists (default: the first)")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="override a field, e.g. --set search.trials=4")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"snrlab {metadata.version('snrlab')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version, help="print the version and end")] = False,
) -> None:
    """Options of no command."""


@app.command()
def run(study: StudyArgument, workdir: WorkdirOption = Path("runs"), set_: SetOption = None, scale: ScaleOption = None,
        address: Annotated[str | None, typer.Option(help="address of a running Ray cluster (default: start Ray here)")] = None,
        tracking_uri: TrackingOption = None,
        search_storage: Annotated[str, typer.Option(help="database for Optuna's copy of the search (default: a journal file in its folder)",
                                                    envvar="SNRLAB_SEARCH_STORAGE")] = "",
        no_reuse: Annotated[bool, typer.Option("--no-reuse", help="train everything anew, whatever the store has")] = False) -> None:
    """Run a study, or go on with it; prints the best variant and writes the report."""
    from orchestrator.cli.progress import ProgressDisplay
    from orchestrator.execution.run import run_study

    assignments = [*(set_ or []), *(["compute.reuse=false"] if no_reuse else [])]
    definition, work, console = _load(study, assignments, scale), _work_folder(workdir), Console()
    for warning in definition.warnings:
        console.print(f"warning: {warning}", markup=False)
    if not address and (note := cluster_not_used()):
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    try:
        with ProgressDisplay(console, definition.metric) as display:
            summary = run_study(definition, work, display, address, tracking_uri, search_storage)
    except KeyboardInterrupt:
        print("snrlab: interrupted; run the same command again to go on", file=sys.stderr)
        raise typer.Exit(130) from None
    if summary.already_done:
        console.print(f"study {definition.name} is complete already; nothing was run", markup=False)
    conclude(console, definition.name, work, tracking_uri)
    raise typer.Exit(summary.exit_code)


@app.command()
def plan(study: StudyArgument, workdir: WorkdirOption = Path("runs"), set_: SetOption = None, scale: ScaleOption = None) -> None:
    """Validate a study and print what it would run and cost, without running it."""
    from orchestrator.cli.plan import describe

    definition = _load(study, set_, scale)
    definition.base_recipe.check_files()
    Console().print(describe(definition, WorkFolder(workdir)), markup=False, highlight=False, soft_wrap=True)


@app.command()
def studies() -> None:
    """List the studies that come with snrlab: their scales, what each costs, and the published result that it asks about."""
    from orchestrator.cli.bundled import table

    typer.echo(table())


@app.command()
def schema(output: Annotated[Path | None, typer.Option(help="file to write (default: standard output)")] = None,
           plugin: Annotated[list[str] | None, typer.Option(help="your own methods: file, folder or module; may be repeated")] = None,
           ) -> None:
    """Print the JSON Schema of study files, with which editors complete and check them."""
    import json

    from search_spaces.schema import schema as of_studies
    from trainables.files import atomic

    text = json.dumps(of_studies(plugin or ()), indent=1) + "\n"
    if output:
        with writable(output, ANOTHER_FILE):
            atomic.write_text(output, text)
    else:
        typer.echo(text, nl=False)


@app.command()
def sweep(study: StudyName, trial: Annotated[int, typer.Option(help="number of the trial", min=0)],
          sigma_rel: Annotated[str, typer.Option("--sigma-rel", help="EMA lengths: 0.05, 0.03,0.08 or LOW:HIGH:COUNT")] = "",
          optimise: Annotated[bool, typer.Option(help="look for the best length in the range instead of a grid")] = False,
          time: Annotated[list[float] | None, typer.Option(help="share of the training; may be repeated")] = None,
          guidance: Annotated[list[float] | None, typer.Option(help="guidance weight; may be repeated")] = None,
          guide_sigma_rel: Annotated[list[float] | None, typer.Option(help="EMA length of the weaker network; may be repeated")] = None,
          solver: Annotated[str, typer.Option(help="robust or reference")] = "robust",
          save: Annotated[bool, typer.Option(help="also write the averages as files")] = False,
          workdir: WorkdirOption = Path("runs"),
          address: Annotated[str | None, typer.Option(help="address of a running Ray cluster")] = None,
          tracking_uri: TrackingOption = None) -> None:
    """Sweep a trial's EMA length again: other lengths, times, guidance weights; its score stays what it was."""
    from orchestrator.execution.resweep import resweep, save_averages, swept_trial, table_of
    from orchestrator.records.definition import recall
    from trainables.ema.sweep_settings import make_sweep, parse_lengths

    work = WorkFolder(workdir)
    folder = work.study(study)
    definition = recall(folder)
    fields: dict[str, Any] = {"times": sorted({*(time or ()), 1.0}), "guidance_weights": guidance or [],
                              "guide_sigma_rels": guide_sigma_rel or [], "solver": solver}
    lengths = parse_lengths(sigma_rel) if sigma_rel else None
    if optimise:
        fields["sigma_rels"] = {"low": min(lengths), "high": max(lengths)} if lengths else {}
    elif lengths:
        fields["sigma_rels"] = lengths
    wanted = make_sweep(fields, "snrlab sweep")
    record = resweep(definition, folder, work, trial, wanted, address, tracking_uri)
    saved = save_averages(swept_trial(folder, trial), wanted) if save else []
    typer.echo(table_of(record, saved))


app.add_typer(operations)
app.add_typer(plugins)
app.add_typer(findings)
data_app = typer.Typer(no_args_is_help=True, help="Data sets.")
app.add_typer(data_app, name="data")


@data_app.command("import")
def data_import(source: Annotated[str, typer.Argument(help="Parquet file or folder, EDM zip, safetensors of latents, image folder, "
                                                      "or settings such as '{kind: torchvision, name: MNIST, root: data}'")],
                output: Annotated[Path, typer.Option(help="file to write, e.g. mnist.arrow")],
                on_bad: Annotated[str, typer.Option("--on-bad", help="fail or skip an image that cannot be decoded")] = "fail",
                ) -> None:
    """Convert a data set to the fast layout that training maps into memory (data: {kind: arrow, path: ...})."""
    from trainables.data import source_of
    from trainables.data.arrow_file import write_arrow

    data = source_of(source, on_bad).read()
    with writable(output, ANOTHER_FILE):
        write_arrow(data, output)
    mean, std = data.statistics
    typer.echo(f"{output}: {len(data.images)} images {'x'.join(map(str, data.shape))}, {data.classes or 'no'} classes, "
               f"mean {mean.round(3).tolist()}, std {std.round(3).tolist()}, hash {data.key[:16]}")


def main() -> None:
    """Entry point: user errors, and those of plug-ins, become one message and exit code 2, an interruption 130, anything else 1."""
    guard_output()
    hide_secret_arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # not by way of SIGINT, which shells make background jobs ignore
    try:
        app(standalone_mode=True)
    except (UserError, RayLost) as error:
        print(f"snrlab: {redact(str(error))}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UserError) else 1)
    except Exception as error:  # Typer's own handler would print it as it is
        if fault := fault_of_plugin(error):
            print(f"snrlab: {redact(fault)}; snrlab check-plugin says more", file=sys.stderr)
            sys.exit(2)
        print_error(error)
        sys.exit(1)


def _load(study: str, assignments: list[str] | None, scale: str | None) -> Any:
    from search_spaces.overrides import parse_assignment
    from search_spaces.study import load_study

    return load_study(study, dict(parse_assignment(text) for text in assignments or []), scale)


def _work_folder(workdir: Path) -> WorkFolder:
    try:
        make_folder(workdir)
    except Exception as error:  # whatever a storage's client raises
        reason = getattr(error, "strerror", None) or in_one_line(error)
        raise UserError(f"--workdir {workdir}: cannot be made ({reason})") from None
    return WorkFolder(workdir)
