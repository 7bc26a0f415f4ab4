"""What a finished run says at the end: accuracy before and after, what earned the credit, where everything is."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from spancredit.report.means import drop_keys, exchanged, mean_of, unit_of
from spancredit.report.records import right_of
from spancredit.report.runfolder import RunFolder, in_words
from spancredit.report.terminal import explanation
from spancredit.report.visible import visible


def summary(folder: RunFolder) -> RenderableType:
    metrics, held_out = folder.rows(folder.metrics), folder.rows(folder.held_out)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    if held_out:
        table.add_row("held-out accuracy before", Text(visible(in_words(held_out[0]))))
        table.add_row("held-out accuracy after", Text(visible(in_words(held_out[-1]))))
    unit = unit_of(metrics)
    instead = "with another's in its place" if exchanged(metrics) else "without one"
    for key in drop_keys(metrics):
        kind = key.rpartition("/")[2]
        drop, share = mean_of(metrics, key) or 0.0, mean_of(metrics, f"credit/weight_share/{kind}") or 0.0
        table.add_row(
            Text(visible(f"credit of {kind} spans")),
            f"{instead} the outcome falls by {drop:.2f} {unit} on average; {share:.0%} of the weight",
        )
    scored = mean_of(metrics, "credit/scored")
    if scored is not None:
        table.add_row("rollouts with weights of their own", f"{scored:.0%}")
    table.add_row("run folder", Text(visible(str(folder.path))))
    parts: list[RenderableType] = [Text(), table]
    right = [record for record in folder.rows(folder.records) if record["reason"] is None and right_of(record)]
    if right:
        title = f"\nA right completion of step {right[-1]['step']}, and what its spans earned:\n"
        parts += [Text(title, style="bold"), explanation(right[-1])]
    return Group(*parts)
