"""`spancredit bench scorers | growth | step`: what credit costs on this machine, beside one policy forward."""

from pathlib import Path
from typing import Annotated, Any

import typer

from spancredit.commands.bench_report import check, give, noting, read_horizon, source_of
from spancredit.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    help="Measure what credit costs here, in policy forwards: by scorer, as work grows, and in a training step.",
)

ModelName = Annotated[str | None, typer.Option("--model", help="`bundled`, a folder, or a name on the hub.")]
ShapeName = Annotated[
    str | None,
    typer.Option("--shape", help="A random model: tiny, 0.5b, gemma-270m, or hidden=..,layers=..,heads=..,vocab=.."),
]
Dtype = Annotated[str, typer.Option(help="float32 or bfloat16.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Seed = Annotated[int, typer.Option(help="Seed of random weights and tokens.")]
Repeats = Annotated[int, typer.Option(help="Rounds; figures are medians over them.")]
Prompt = Annotated[int, typer.Option(help="Tokens of a random prompt.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Out = Annotated[Path | None, typer.Option(help="Also write the report as JSON to this file.")]


@app.command()
def scorers(
    model: ModelName = None,
    shape: ShapeName = None,
    work: Annotated[str, typer.Option(help="random, or gsm8k:FILE.jsonl for some of its solutions.")] = "random",
    prompt: Prompt = 100,
    completion: Annotated[int, typer.Option(help="Tokens of a random completion.")] = 128,
    spans: Annotated[int, typer.Option(help="Spans of a random completion.")] = 16,
    rollouts: Annotated[int, typer.Option(help="Completions.")] = 4,
    group: Annotated[int, typer.Option(help="Completions of one prompt.")] = 1,
    scorers: Annotated[
        str, typer.Option(help="Compared, with commas between.")
    ] = "published,sequential,batched,packed",
    interventions: Annotated[str, typer.Option(help="Compared, with commas between.")] = "pad,attention",
    horizons: Annotated[str, typer.Option(help="Compared, with commas between; empty: none.")] = "64,16,0",
    dtype: Dtype = "float32",
    device: Device = "cpu",
    repeats: Repeats = 5,
    seed: Seed = 0,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Compare all scorers and horizons, and the published implementation's cost, on the same work.

    The unit is one policy forward: the padded batch, with logits for every completion token. The floor prices, in
    multiply-adds, the tokens and logits that cannot be avoided. `published` is our re-creation of that cost.

    Examples:

      spancredit bench scorers

      spancredit bench scorers --model ./my-model --work gsm8k:gsm8k.jsonl --device cuda --dtype bfloat16

      spancredit bench scorers --shape 0.5b --completion 512 --group 4 --json
    """
    from spancredit.bench.scorers import bench_scorers
    from spancredit.bench.work import Sizes, gsm8k_work, random_work, vocabulary_of

    check(out, repeats)
    sizes = Sizes(prompt, completion, spans, rollouts, group)
    kind, _, path = work.partition(":")
    if kind not in ("random", "gsm8k") or (kind == "gsm8k") != bool(path):
        raise ConfigError(f"--work is {work!r}; expected random, or gsm8k: and the path of a file.")

    def make_work(loaded: Any, tokenizer: Any) -> Any:
        if kind == "gsm8k":
            return gsm8k_work(Path(path), tokenizer, rollouts, group)
        return random_work(sizes, *vocabulary_of(loaded), seed)

    source = source_of(model, shape, dtype, device, seed)
    reaches = [read_horizon(part) for part in horizons.split(",") if part]
    with noting(as_json) as note:
        report = bench_scorers(source, make_work, scorers.split(","), interventions.split(","), reaches, repeats, note)
    give(report, as_json, out)


@app.command()
def growth(
    model: ModelName = None,
    shape: ShapeName = None,
    tables: Annotated[str, typer.Option(help="What grows, with commas between.")] = "spans,completion,group,vocabulary",
    quick: Annotated[bool, typer.Option("--quick", help="The smaller sizes only.")] = False,
    rollouts: Annotated[int | None, typer.Option(help="Completions; by default 4, for groups 16.")] = None,
    intervention: Annotated[str, typer.Option(help="pad, attention, delete or filler.")] = "pad",
    horizon: Annotated[int | None, typer.Option(help="Tokens that an intervention reaches; default: all.")] = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    repeats: Repeats = 5,
    seed: Seed = 0,
    as_json: AsJson = False,
    out: Out = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw the tables into this file (.svg or .png).")] = None,
) -> None:
    """Show how packed credit grows with spans, completion length, group size and vocabulary.

    Memory is what a run takes beyond the model: allocated on CUDA; on Linux the high-water mark of the process.
    The model is random (--shape tiny by default).

    Examples:

      spancredit bench growth --quick

      spancredit bench growth --shape 0.5b --device cuda --dtype bfloat16 --plot growth.svg

      spancredit bench growth --tables spans,completion --horizon 16 --json
    """
    from spancredit.bench.growth import bench_growth
    from spancredit.config import CreditConfig

    check(out, repeats)
    check(plot, repeats)
    if plot is not None and plot.suffix not in (".svg", ".png"):
        raise ConfigError(f"--plot is {plot}; expected a file that ends in .svg or .png.")
    if rollouts is not None and rollouts < 1:
        raise ConfigError(f"--rollouts is {rollouts}; expected at least 1.")
    settings: dict[str, Any] = {"intervention": intervention, "horizon": horizon}
    config = CreditConfig(**settings)
    source = source_of(model, shape or (None if model else "tiny"), dtype, device, seed)
    with noting(as_json) as note:
        report = bench_growth(source, tables.split(","), quick, rollouts, config, repeats, note)
    give(report, as_json, out, plot)


@app.command()
def step(
    model: ModelName = None,
    shape: ShapeName = None,
    steps: Annotated[int, typer.Option(help="Optimizer steps; one more, before them, warms up.")] = 4,
    batch: Annotated[int, typer.Option(help="Completions of a step.")] = 128,
    generations: Annotated[int, typer.Option(help="Completions of a prompt.")] = 8,
    prompt: Prompt = 100,
    completion: Annotated[int, typer.Option(help="Tokens of a completion (with --shape).")] = 512,
    spans: Annotated[int, typer.Option(help="Spans of a completion (with --shape).")] = 16,
    horizon: Annotated[int | None, typer.Option(help="Tokens that an intervention reaches; default: all.")] = None,
    budget: Annotated[float | None, typer.Option(help="Share of the step that credit may take.")] = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    seed: Seed = 0,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Show what share of an optimizer step credit takes, beside the share that the tokens predict.

    The embedded task with the bundled policy; with --shape a random model, random prompts, completions of a
    forced length and a random reward. Predicted share = credit / (credit + P + 3 P) in multiply-adds, P being
    one policy forward: generation takes P, loss and backward 3 P.

    Examples:

      spancredit bench step

      spancredit bench step --shape 0.5b --completion 512 --spans 16 --batch 16 --device cuda --dtype bfloat16
    """
    from spancredit.bench.jobs import embedded_job, random_job
    from spancredit.bench.step import bench_step

    check(out, 1)
    source = source_of(model, shape, dtype, device, seed)

    def make_job(count: int) -> Any:
        return embedded_job(source, count) if shape is None else random_job(source, count, prompt, completion, spans)

    credit = {name: value for name, value in {"horizon": horizon, "budget": budget}.items() if value is not None}
    with noting(as_json) as note:
        report = bench_step(source, make_job, steps, batch, generations, credit, note)
    give(report, as_json, out)
