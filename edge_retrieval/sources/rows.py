"""Rows of CSV, TSV and Parquet files, all values as text, each with the place it came from."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_retrieval.errors import MissingExtraError, SourceError
from edge_retrieval.limits import current, raising
from edge_retrieval.sources.design import Problem, counted


@dataclass(frozen=True)
class Row:
    """One row: `path:line`, and text by column name in lower case; empty where nothing stands."""

    where: str
    values: Mapping[str, str]


def read_rows(table: Path, *, needed: str) -> Iterator[Row | Problem]:
    """Yield the rows of a table, and a problem for each that cannot be read.

    Args:
        table: A CSV or TSV file in UTF-8, or a Parquet file.
        needed: A column that must be there.

    Raises:
        SourceError: The table cannot be opened, or lacks that column.
        MissingExtraError: Parquet without the 'parquet' extra.
    """
    try:
        if table.stat().st_size > current().bytes:
            raise SourceError(f"{table}: {current().too_large()}", hint=raising("mb"))
        if table.suffix.lower() == ".parquet":
            yield from _parquet_rows(table, needed)
        else:
            yield from _csv_rows(table, needed)
    except OSError as error:
        raise SourceError(
            f"{table}: cannot be read: {error.strerror or error}",
            hint="check that the file exists and that you may read it",
        ) from None
    except UnicodeDecodeError:
        raise SourceError(f"{table}: not text in UTF-8", hint="save it as CSV UTF-8") from None


def _csv_rows(table: Path, needed: str) -> Iterator[Row | Problem]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        file.seek(0)
        delimiter = max(",;\t", key=head.count)
        reader = csv.reader(file, delimiter=delimiter)
        try:
            columns = _columns(next(reader, []), table, needed)
            line = reader.line_num + 1
            for cells in reader:
                where, line = f"{table}:{line}", reader.line_num + 1
                if len(cells) == len(columns):
                    values = [cell.strip() for cell in cells]
                    yield Row(where, dict(zip(columns, values, strict=True)))
                elif any(cells):
                    yield Problem(
                        where,
                        f"{counted(len(cells), 'cell')} for {counted(len(columns), 'column')}",
                    )
        except csv.Error as error:
            yield Problem(
                f"{table}:{reader.line_num}", f"broken CSV, the rest is not read: {error}"
            )


def _columns(names: list[str], table: Path, needed: str) -> list[str]:
    columns = [name.strip().lower() for name in names]
    if needed not in columns:
        raise SourceError(
            f"{table}: no column {needed!r}",
            hint=f"name the column of the images {needed!r} in the first row",
        )
    repeated = sorted(name for name, times in Counter(columns).items() if name and times > 1)
    if repeated:
        raise SourceError(
            f"{table}: two columns {repeated[0]!r}", hint="rename one of them in the first row"
        )
    return columns


def _parquet_rows(table: Path, needed: str) -> Iterator[Row | Problem]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "pyarrow":
            raise
        raise MissingExtraError.of("reading Parquet", "parquet") from None
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(table) as file:
            columns = _columns(list(file.schema_arrow.names), table, needed)
            for batch in file.iter_batches(batch_size=4096):
                for record in batch.to_pylist():
                    number += 1
                    values = [_text(value) for value in record.values()]
                    yield Row(f"{table}:{number}", dict(zip(columns, values, strict=True)))
    except pyarrow.ArrowException as error:
        yield Problem(f"{table}:{number + 1}", f"broken Parquet, the rest is not read: {error}")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(_text(item) for item in value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return re.sub(r"\s+", " ", str(value)).strip()
