"""scaling table: runs as a table, from what is no table yet."""

import argparse
from typing import TYPE_CHECKING

from scaling import folders
from scaling.commands import arguments, laws
from scaling.errors import InputError

if TYPE_CHECKING:
    from analysis.table import Table
    from analysis.truths import Grid

SYNTHETIC = "synthetic:"


def add(verbs: arguments.Verbs) -> None:
    table = arguments.verb(
        verbs,
        "table",
        _table,
        "a table of runs as a .csv or .parquet file, from logs of other tools or a surface whose exponents are known",
        "scaling table lightning_logs --columns params=n_params tokens='524288*steps' --out runs.csv",
    )
    table.add_argument(
        "source",
        nargs="+",
        help="logs, folders of logs, tables, a study, see Reading what you have in docs/table.md; or synthetic: with "
        "hutter, features, sgd, chinchilla or kaplan, see Exact truths in docs/fitting.md",
    )
    table.add_argument(
        "--out", type=arguments.out_file(".csv", ".parquet"), required=True, metavar="FILE", help=".csv or .parquet"
    )
    table.add_argument("--curves", action="store_true", help="of logs a row per run and evaluation, not a row per run")
    laws.rows(table)
    for column in ("params", "tokens"):
        table.add_argument(
            f"--{column}",
            nargs=3,
            metavar=("LOW", "HIGH", "COUNT"),
            help=f"values of {column}, evenly in the logarithm (the surface's own)",
        )
    table.add_argument("--noise", type=arguments.number, default=0.0, metavar="SHARE", help="scatter of each loss (0)")
    table.add_argument("--seed", type=int, default=0, help="of the noise (0)")
    table.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="CONSTANT=VALUE", help="of the surface, such as a=0.4"
    )
    table.add_argument("--json", action="store_true", help="JSON in place of text")


def _table(args: argparse.Namespace) -> int:
    drawn = [source for source in args.source if source.startswith(SYNTHETIC)]
    if not drawn:
        return _from_logs(args)
    if len(args.source) > 1:
        raise InputError(f"{drawn[0]} is a table of its own; give it alone")
    return _synthetic(args, drawn[0])


def _from_logs(args: argparse.Namespace) -> int:
    """Reads logs and tables, writes what they say as one table and tells what was made of them."""
    grid = [name for name in ("params", "tokens", "noise", "seed", "set") if getattr(args, name)]
    if grid:
        raise InputError(f"--{grid[0]} is for {SYNTHETIC} surfaces; name a column of logs with --columns")
    paths = [folders.on_disk(source) for source in args.source]
    if missing := [path for path in paths if not path.exists()]:
        from analysis.truths import SURFACES

        surfaces = f"{SYNTHETIC} and one of {', '.join(SURFACES)}"
        raise InputError(f"{missing[0]}: no such file or folder; wanted logs, or {surfaces}")
    rows = laws.table_of(laws.one_or_all(paths), laws.columns_of(args), args.where, args.best_of, curves=args.curves)
    notes = (*rows.notes, *(f"{len(left.rows)} rows left out: {left.reason}" for left in rows.excluded))
    said = arguments.Answer(
        "\n".join([f"{args.out}: {len(rows)} rows with {', '.join(rows)}", *(f"- {note}" for note in notes)]),
        {"rows": len(rows), "columns": list(rows), "notes": list(rows.notes), "file": str(args.out)},
    )
    return _answer(said, rows, args)


def _answer(said: arguments.Answer, rows: "Table", args: argparse.Namespace) -> int:
    return arguments.answer(said, args.json, (args.out, rows.to_csv if args.out.suffix == ".csv" else rows.to_parquet))


def _synthetic(args: argparse.Namespace, source: str) -> int:
    from analysis import truths
    from analysis.table import Table
    from scaling.config import parse

    asked = [f"--{name.replace('_', '-')}" for name in ("columns", "where", "best_of", "curves") if getattr(args, name)]
    if asked:
        raise InputError(f"{asked[0]} is for logs and tables; {source} has its columns")
    if not 0 <= args.noise < 1:
        raise InputError(f"--noise {args.noise:g}: wanted a share from 0 to 1, such as 0.01")
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: wanted 0 or more")
    name = source.removeprefix(SYNTHETIC)
    constants = {key: parse(f"--set {key}", value, float) for key, value in arguments.pairs(args.set, "--set").items()}
    truth = truths.surface(name, constants)
    grids = {**truths.SURFACES[name][1]}
    for column in ("params", "tokens"):
        if (words := getattr(args, column)) is not None:
            grids[column] = _grid(name, truth.inputs, column, words)
    rows = Table.from_columns(truths.drawn(truth, grids, args.noise, args.seed), source)
    exponents = ", ".join(f"{key} {value:.6g}" for key, value in truth.exponents.items())
    said = arguments.Answer(
        f"{args.out}: {len(rows)} rows of {name}, whose exponents are {exponents}",
        {"surface": name, "exponents": truth.exponents, "rows": len(rows), "file": str(args.out)},
    )
    return _answer(said, rows, args)


def _grid(name: str, inputs: tuple[str, ...], column: str, words: list[str]) -> "Grid":
    from analysis import truths
    from scaling.config import parse

    if column not in inputs:
        raise InputError(f"--{column}: {name} is a curve of {', '.join(inputs)}")
    low, high = (parse(f"--{column}", word, float) for word in words[:2])
    count = parse(f"--{column}", words[2], int)
    if not 1 <= low < high < float("inf") or not 2 <= count <= 1000:
        raise InputError(f"--{column} {' '.join(words)}: wanted LOW from 1, a larger HIGH, and a COUNT from 2 to 1000")
    return truths.Grid(low, high, count)
