"""What credit costs: prices by hand, floors against every prefix, and each command from end to end. Nothing timed."""

import errno
import json
import random
from pathlib import Path

import pytest
import torch
from toy_models import record_calls
from typer.testing import CliRunner

import spancredit as sc
from spancredit.bench import plot
from spancredit.bench.contestants import credit, policy_forward, published
from spancredit.bench.floor import Item, credit_need, policy_need, rows_of
from spancredit.bench.jobs import word_tokenizer
from spancredit.bench.models import SHAPES, Shape, Source, prices_of, read_shape
from spancredit.bench.price import Need, Piece, Prices, price
from spancredit.bench.show import tables_of
from spancredit.bench.timing import peak_bytes, ratios, rounds
from spancredit.bench.work import Sizes, gsm8k_work, random_work
from spancredit.cli import app
from spancredit.commands.bench_report import give

SMALL = Shape(hidden=16, layers=1, heads=2, vocab=64)
SHAPE = ["--shape", "hidden=16,layers=1,heads=2,vocab=64"]
INTERVENTIONS = ["pad", "attention", "delete", "filler"]


def test_a_piece_counts_the_keys_that_its_tokens_see():
    assert Piece(0, 4).keys() == 1 + 2 + 3 + 4
    assert Piece(3, 5).keys(window=2) == 2 + 2
    assert Piece(0, 3).keys(window=2) == 1 + 2 + 2
    assert Piece(4, 6, hidden=(1, 4)).keys() == (5 - 3) + (6 - 3)
    assert Piece(4, 6, hidden=(1, 4)).keys(window=3) == 1 + 2  # keys 2, 3, 4 and 3, 4, 5 without 1, 2, 3
    assert Piece(3, 4, hidden=(1, 4)).keys() == 1  # a hidden token that asks sees only what stands before the span
    assert Piece(5, 5).keys() == 0


def test_a_price_is_tokens_keys_and_logits_added_up():
    prices = Prices(token=1000, key=10, logits=77, windows=(None, None, 2))
    need = Need((Piece(0, 3), Piece(4, 5)), logits=2)
    keys = 2 * (1 + 2 + 3 + 5) + (1 + 2 + 2 + 2)
    assert price(need, prices) == 4 * 1000 + keys * 10 + 2 * 77
    assert price(Need(), prices) == 0


def test_prices_of_a_model_leave_embeddings_out_and_know_windows():
    model, _ = Source(shape=Shape(hidden=16, layers=2, heads=2, kv_heads=1, intermediate=24, vocab=64)).load()
    attention = 16 * 16 + 16 + 2 * (16 * 8 + 8) + 16 * 16  # q, k and v with biases, o
    layer = attention + 3 * 16 * 24 + 2 * 16
    assert prices_of(model) == Prices(token=2 * layer + 16, key=2 * 16, logits=16 * 64, windows=(None, None))
    gemma, _ = Source(shape=Shape(hidden=16, layers=6, heads=2, vocab=64, window=4)).load()
    assert prices_of(gemma).windows == (4, 4, 4, 4, 4, None)


def some_items(seed: int, count: int = 3) -> list[Item]:
    """Completions of two prompts; no token stands twice in a row's completion, nor in two of them."""
    draw = random.Random(seed)
    prompts = [tuple(range(10_000, 10_007)), tuple(range(20_000, 20_004))]
    items = []
    for i in range(count):
        size, answer = draw.randint(12, 20), draw.randint(1, 3)
        marker = draw.choice([0, 0, 2])
        last = size - answer - marker
        cuts = sorted(draw.sample(range(1, last), 3))
        spans = tuple(zip([0, *cuts], [*cuts, last], strict=True))
        completion = tuple(range(100 * (i + 1), 100 * (i + 1) + size))
        end = draw.choice([0, 1])  # the completion may go on after its answer
        items.append(Item(prompts[min(i, 1)], (*completion, 99) if end else completion, spans, (size - answer, size)))
    return items


REPLACEMENT = {"pad": [0], "filler": [1, 2], "attention": [], "delete": []}


def contexts(row):
    """For every token that a row reads what its state depends on: itself, and all that it sees."""
    stop = len(row.input_ids) if row.resume is None else row.resume
    hidden = range(*row.hidden) if row.hidden else range(0)
    found = {}
    for position in range(len(row.input_ids) - 1):
        if stop <= position < row.answer_start - 1:
            continue  # read as it was
        seen = []
        for key in range(position + 1):
            if key in hidden and not (position in hidden and key == position):
                if position not in hidden:
                    continue
                seen.append((key, row.input_ids[key], "unchanged"))
            elif stop <= key < row.answer_start - 1:
                seen.append((key, row.original[key], "read as it was"))
            else:
                seen.append((key, row.input_ids[key], "unchanged"))
        if position in hidden and position == row.answer_start - 1:
            seen = [*((key, row.input_ids[key], "unchanged") for key in range(hidden.start)), "asks"]
        found[position] = tuple(seen)
    return found


@pytest.mark.parametrize("horizon", [None, 0, 3])
@pytest.mark.parametrize("intervention", INTERVENTIONS)
@pytest.mark.parametrize("seed", range(6))
def test_the_floor_is_the_number_of_distinct_contexts(intervention, horizon, seed):
    if intervention == "delete" and horizon is not None:
        return  # refused by CreditConfig
    items = some_items(seed)
    rows = [row for item in items for row in rows_of(item, intervention, REPLACEMENT[intervention], horizon)]
    distinct = {context for row in rows for context in contexts(row).values()}
    need = credit_need(items, intervention, REPLACEMENT[intervention], horizon)
    assert need.tokens == len(distinct)
    assert sum(piece.keys() for piece in need.pieces) == sum(len([k for k in c if k != "asks"]) for c in distinct)
    assert need.logits == sum(row.scored[-1][1] - row.scored[-1][0] for row in rows)


def test_a_group_pays_its_prompt_once():
    shared, own = (random_work(Sizes(group=group), 64, 0, seed=0).items for group in (4, 1))
    assert credit_need(own, "pad", [0]).tokens - credit_need(shared, "pad", [0]).tokens >= 3 * 100
    assert policy_need(own).tokens == policy_need(shared).tokens == 4 * 228
    assert policy_need(own).logits == 4 * 128
    uneven = [Item((1,) * 5, (2,) * 9, (), (8, 9)), Item((1,) * 7, (2,) * 3, (), (2, 3))]
    assert (policy_need(uneven).tokens, policy_need(uneven).logits) == (2 * (7 + 9), 2 * 9)


def test_random_work_has_the_shape_that_was_asked_for():
    work = random_work(Sizes(prompt=5, completion=20, spans=3, rollouts=4, group=2), 64, pad=7, seed=0)
    assert {(len(item.prompt_ids), len(item.completion_ids), len(item.spans)) for item in work.items} == {(5, 20, 3)}
    assert work.facts()["prompts"] == 2
    assert not any(7 in (*item.prompt_ids, *item.completion_ids) for item in work.items)
    assert work == random_work(Sizes(5, 20, 3, 4, 2), 64, pad=7, seed=0)


def test_the_policy_forward_is_trls_padded_batch():
    model, _ = Source(shape=SMALL).load()
    calls = record_calls(model)
    items = [Item((5, 6), (7, 8, 9), ((0, 1),), (2, 3)), Item((5,), (7, 8), ((0, 1),), (1, 2))]
    policy_forward(model, items)()
    (call,) = calls
    assert call["input_ids"].tolist() == [[5, 6, 7, 8, 9], [0, 5, 7, 8, 0]]
    assert call["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [0, 1, 1, 1, 0]]
    assert (call["logits_to_keep"], call["use_cache"]) == (4, False)


def test_the_published_cost_is_all_rows_of_a_rollout_whole():
    model, _ = Source(shape=SMALL).load()
    calls = record_calls(model)
    published(model, [Item((5, 6), (7, 8, 9), ((0, 1), (1, 2)), (2, 3)), Item((5,), (7, 8), ((0, 1),), (1, 2))], 0)()
    assert [call["input_ids"].tolist() for call in calls] == [
        [[5, 6, 7, 8, 9], [5, 6, 0, 8, 9], [5, 6, 7, 0, 9]],
        [[0, 5, 7, 8, 0], [0, 5, 0, 8, 0]],
    ]
    assert all("logits_to_keep" not in call for call in calls)


@pytest.mark.parametrize(
    ("scorers", "horizons", "reference"),
    [
        ("packed,sequential", "2", "sequential"),
        ("batched,packed", "2", "batched"),
        ("published", "2,4", "packed, horizon 2"),
        ("published", "", None),
    ],
)
def test_numbers_are_held_to_the_definition_wherever_it_stands_and_the_table_says_to_what(scorers, horizons, reference):
    sizes = ["--completion", "12", "--spans", "3", "--prompt", "4", "--rollouts", "1", "--repeats", "1"]
    report = json.loads(run("scorers", *SHAPE, *sizes, "--scorers", scorers, "--horizons", horizons, "--json"))
    assert report["reference"] == reference
    assert (f"each with {reference}." in tables_of(report)[0][0]) == (reference is not None)
    for row in report["rows"]:
        if reference and row["name"].startswith(f"{reference}, "):
            assert row.get("difference", 0.0) == 0.0
            assert row.get("spearman", 1.0) == 1.0


def test_rounds_time_everyone_as_often_and_ratios_are_of_medians():
    order = []
    seconds = rounds({name: lambda name=name: order.append(name) for name in "ab"}, 3, "cpu")
    assert order == ["a", "b"] * 3
    assert all(len(runs) == 3 for runs in seconds.values())
    assert ratios({"a": [1.0, 9.0, 2.0], "b": [4.0, 4.0, 1.0]}, "a") == {"a": 1.0, "b": 2.0}


def test_peak_memory_sees_what_was_there_for_a_moment():
    peak = peak_bytes(lambda: torch.ones(2**24).sum(), "cpu")
    if peak is None:
        pytest.skip("this machine does not say what a process takes; ends on Linux")
    assert 2**25 < peak < 2**28


def test_a_word_tokenizer_reads_what_it_writes():
    tokenizer = word_tokenizer(64)
    assert tokenizer("w5 w63")["input_ids"] == [5, 63]
    assert tokenizer.decode([5, 63]) == "w5 w63"


def test_shapes_are_read_by_name_or_by_size():
    assert read_shape("0.5b") is SHAPES["0.5b"]
    assert read_shape("hidden=32,vocab=100") == Shape(hidden=32, vocab=100)


def run(*arguments):
    result = CliRunner().invoke(app, ["bench", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_scorers_from_end_to_end(tmp_path):
    sizes = ["--completion", "12", "--spans", "3", "--prompt", "4", "--rollouts", "2", "--group", "2"]
    shown = run(
        "scorers", *SHAPE, *sizes, "--horizons", "2,0", "--repeats", "1", "--json", "--out", str(tmp_path / "x")
    )
    report = json.loads(shown)
    assert report == json.loads((tmp_path / "x").read_text())
    names = [row["name"] for row in report["rows"]]
    assert names[:5] == ["policy forward", "published", "sequential, pad", "batched, pad", "packed, pad"]
    assert len(names) == 2 + 2 * (3 + 2)
    assert report["work"]["spans"] == [3, 3]
    assert {"processor", "versions", "threads"} <= report["machine"].keys()
    for row in report["rows"]:
        assert row["ratio"] > 0
        assert len(row["seconds"]) == 1
        if row["name"].startswith("packed"):
            assert 0 < row["floor"] < 3
        if "difference" in row:
            assert row["difference"] < 1e-4
    ((_, _, rows),) = tables_of(report)
    assert [row[0] for row in rows] == names


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk that every user may write to")
@pytest.mark.parametrize("as_json", [True, False])
def test_what_was_measured_is_printed_where_its_file_cannot_be_written(as_json):
    sizes = ["--completion", "6", "--spans", "2", "--prompt", "2", "--rollouts", "2", "--horizons", ""]
    ways = ["--scorers", "packed", "--interventions", "pad", "--repeats", "1", "--out", "/dev/full"]
    result = CliRunner().invoke(app, ["bench", "scorers", *SHAPE, *sizes, *ways, *(["--json"] if as_json else [])])
    assert isinstance(result.exception, sc.ConfigError)
    assert "No space left" in str(result.exception)
    table, brace, rest = result.stdout.partition("{\n")
    assert ("One policy forward takes" in table) is not as_json
    assert json.loads(brace + rest)["rows"][0]["name"] == "policy forward"


def test_a_picture_that_cannot_be_written_loses_nothing_that_was_measured(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(plot, "plot_growth", full)
    row = dict.fromkeys(("value", "ratio", "floor", "over_floor", "bytes", "policy_bytes"), 1)
    report = {"kind": "growth", "source": {"model": "m", "dtype": "float32", "device": "cpu"}}
    report |= {"tables": {"spans": {"what": "spans", "sizes": {}, "rows": [row]}}}
    with pytest.raises(sc.ConfigError, match="No space left"):
        give(report, True, tmp_path / "x.json", tmp_path / "x.svg")
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "x.json").read_text()) == report


@pytest.mark.slow
def test_gsm8k_solutions_are_read_without_their_calculator_marks(tmp_path):
    lines = []
    for i in range(6):
        steps = " ".join(f"Then {j} + {i} = <<{j}+{i}={i + j}>>{i + j} eggs are there." for j in range(2, 5 + i))
        lines.append(json.dumps({"question": f"How many eggs has {i}?", "answer": f"{steps}\n#### {9 + i}"}))
    path = tmp_path / "gsm8k.jsonl"
    path.write_text("\n".join(lines))
    model, tokenizer = Source().load()
    work = gsm8k_work(path, tokenizer)
    assert len(work.items) == 4
    texts = [tokenizer.decode(item.completion_ids) for item in work.items]
    assert not any("<<" in text for text in texts)
    credits = credit(model, work, sc.CreditConfig())()
    assert [len(one.spans) for one in credits] == [len(item.spans) for item in work.items]
    shown = run("scorers", "--work", f"gsm8k:{path}", "--repeats", "1", "--interventions", "pad", "--horizons", "")
    assert "packed, pad" in shown


@pytest.mark.slow
def test_growth_from_end_to_end(tmp_path):
    arguments = ["--tables", "group,vocabulary", "--quick", "--rollouts", "2", "--repeats", "1"]
    shown = run("growth", *SHAPE, *arguments, "--horizon", "4", "--json", "--plot", str(tmp_path / "x.svg"))
    tables = json.loads(shown)["tables"]
    assert [row["value"] for row in tables["group"]["rows"]] == [1, 2]
    assert [row["value"] for row in tables["vocabulary"]["rows"]] == [1024, 4096, 16384]
    for row in (*tables["group"]["rows"], *tables["vocabulary"]["rows"]):
        assert row["over_floor"] == pytest.approx(row["ratio"] / row["floor"])
        assert {"bytes", "policy_bytes", "seconds", "policy_seconds"} <= row.keys()
    floors = [row["floor"] for row in tables["vocabulary"]["rows"]]
    assert floors == sorted(floors, reverse=True)  # credit needs fewer logits than the policy
    assert "vocabulary" in (tmp_path / "x.svg").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("random_work", [True, False])
def test_step_from_end_to_end(random_work):
    sizes = ["--batch", "4", "--generations", "2", "--steps", "1"]
    if random_work:
        sizes += [*SHAPE, "--prompt", "4", "--completion", "14", "--spans", "3"]
    report = json.loads(run("step", *sizes, "--json"))
    (row,) = report["rows"]
    parts = [row[f"{name}_seconds"] for name in ("generation", "credit", "training")]
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(row["step_seconds"])
    if random_work:
        assert (report["completion"], row["measured"]) == (14, 1)
        assert 0 < row["floor_share"] <= row["predicted_share"] < 1
    ((_, _, lines),) = tables_of(report)
    assert [line[0] for line in lines] == ["generation", "credit", "loss and backward"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scorers", "--work", "maths"], "--work is 'maths'"),
        (["scorers", "--work", "gsm8k:/nowhere"], "expected a file of JSON lines"),
        (["scorers", *SHAPE, "--work", "gsm8k:/nowhere"], "needs a tokenizer"),
        (["scorers", "--shape", "huge"], "unknown shape 'huge'"),
        (["scorers", "--shape", "hidden=16,wings=2"], "unknown size in --shape 'wings'"),
        (["scorers", "--shape", "hidden=x"], "expected hidden= and an integer"),
        (["scorers", "--shape", "hidden=18,heads=4"], "multiple of twice its 4 heads"),
        (["scorers", "--shape", "tiny", "--model", "bundled"], "expected one of the two"),
        (["scorers", "--model", "/nowhere"], "there is no such folder"),
        (["scorers", "--interventions", "pat"], "Did you mean 'pad'"),
        (["scorers", "--horizons", "4,x"], "--horizons has 'x'"),
        (["scorers", "--dtype", "int8"], "unknown dtype"),
        (["scorers", "--device", "tpu"], "unknown device"),
        (["scorers", "--repeats", "0"], "--repeats is 0"),
        (["scorers", "--rollouts", "3", "--group", "2"], "a multiple of --group"),
        (["scorers", "--spans", "200"], "--spans is 200"),
        (["scorers", "--completion", "600"], "could not be scored (over_model_limit)"),
        (["scorers", "--out", "/nowhere/x.json"], "a folder that exists"),
        (["scorers", "--out", "/"], "and no folder"),
        (["growth", "--out", "/"], "and no folder"),
        (["growth", "--plot", "/"], "and no folder"),
        (["step", "--out", "/"], "and no folder"),
        (["growth", "--tables", "wings"], "unknown table 'wings'"),
        (["growth", "--model", "bundled", "--tables", "vocabulary"], "expected --shape"),
        (["growth", "--plot", "x.pdf"], "ends in .svg or .png"),
        (["growth", "--rollouts", "0"], "--rollouts is 0"),
        (["step", "--steps", "0"], "--steps is 0"),
        (["step", "--batch", "6", "--generations", "4"], "a multiple of --generations"),
        (["step", *SHAPE, "--completion", "8", "--spans", "9"], "--spans is 9"),
    ],
)
def test_bad_input_is_one_clear_sentence(arguments, said):
    with pytest.raises(sc.SpanCreditError) as error:
        run(*arguments)
    assert said in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here; ends where there is none")
def test_a_missing_device_is_one_clear_sentence():
    with pytest.raises(sc.ConfigError, match="torch finds no such device"):
        run("scorers", "--device", "cuda")


@pytest.mark.parametrize("command", ["scorers", "growth", "step"])
def test_help_has_an_example(command):
    assert f"spancredit bench {command}" in run(command, "--help")
