"""Figure 5a of arXiv 2305.14122 beside the paper: all points, with their deviations.

Reads what ``weightscape run learning-transfer/mnist-mlp`` wrote (the CSV behind the figure, the records of the tasks),
computes nothing itself, prints the table of ``docs/results/mnist-mlp.md`` and writes ``results/figure_5a.json``.
"""

from __future__ import annotations

import argparse

import pandas
from common import write_results

from weightscape.studies.workspace.store import Store, workspace_folder

METHODS = ("gmt", "fgmt", "oracle", "naive")


def points(numbers: pandas.DataFrame) -> pandas.DataFrame:
    """Return one row per method and step: mean and SD of ours and of the paper, in percent, and the difference."""
    ours = numbers[(numbers["kind"] == "mean") & numbers["series"].isin(METHODS)]
    paper = numbers[numbers["kind"] == "published"]
    joined = ours.merge(paper, on=["series", "x"], suffixes=("", " of the paper"))
    joined["deviation"] = joined["y"] - joined["y of the paper"]
    order = {method: rank for rank, method in enumerate(METHODS)}
    return joined.sort_values(
        ["series", "x"], key=lambda column: column.map(order) if column.name == "series" else column
    )


def markdown(table: pandas.DataFrame) -> str:
    """Return the table as Markdown."""
    lines = ["| method | step | here | paper | deviation |", "|---|---:|---:|---:|---:|"]
    for row in table.to_dict("records"):
        here = f"{row['y']:.2f} ± {row['sd']:.2f}"
        paper = f"{row['y of the paper']:.2f} ± {row['sd of the paper']:.2f}"
        lines.append(f"| {row['series']} | {row['x']:.0f} | {here} | {paper} | {row['deviation']:+.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print and write the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", default=None)
    store = Store(workspace_folder(parser.parse_args().workspace))
    numbers = pandas.read_csv(store.study_folder("mnist-mlp") / "figures" / "figure-5a.csv")
    numbers = numbers[numbers["quantity"] == "validation accuracy (%)"]
    table = points(numbers)
    trained = numbers[numbers["kind"].isin(["reference", "published reference"])]
    seconds: dict[str, list[float]] = {}
    for record in store.records():
        label = str(record.settings.get("method", record.content["operation"]))
        seconds.setdefault(label, []).append(round(record.content["seconds"]["total"], 1))
    content = {
        "points": table[["series", "x", "y", "sd", "y of the paper", "sd of the paper", "deviation"]]
        .round(3)
        .to_dict("records"),
        "trained": trained[["series", "kind", "y", "sd"]]
        .round(3)
        .astype(object)
        .where(trained.notna(), None)
        .to_dict("records"),
        "seconds per task": seconds,
    }
    write_results("figure_5a", content)
    print(markdown(table))


if __name__ == "__main__":
    main()
