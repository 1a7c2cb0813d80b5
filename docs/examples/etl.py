"""An async ETL: writes some CSV files, fans out over them, and fans in to one report.

playhead run docs/examples/etl.py:etl -p files=8
"""

import asyncio
import csv
import random
import tempfile
from pathlib import Path

from playhead import flow, get_logger, task


@task
async def write_sales(folder: str, number: int, rows: int) -> str:
    """Make one shop's sales: the input that a real ETL would be given."""
    path = Path(folder) / f"shop-{number:03d}.csv"
    chance = random.Random(number)

    def write() -> None:
        with path.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["product", "amount", "price"])
            out.writerows(
                [chance.choice(["tea", "coffee", "cake"]), chance.randint(1, 9), chance.randint(100, 900) / 100]
                for _ in range(rows)
            )

    await asyncio.to_thread(write)
    return str(path)


@task
async def extract(path: str) -> list[dict[str, str]]:
    def read() -> list[dict[str, str]]:
        with Path(path).open(newline="") as file:
            return list(csv.DictReader(file))

    return await asyncio.to_thread(read)


@task
def transform(rows: list[dict[str, str]]) -> dict[str, float]:
    """Revenue by product."""
    revenue: dict[str, float] = {}
    for row in rows:
        revenue[row["product"]] = revenue.get(row["product"], 0.0) + int(row["amount"]) * float(row["price"])
    return revenue


@task
def load(folder: str, revenues: list[dict[str, float]]) -> dict[str, float]:
    """Add up all shops, and write the report."""
    total: dict[str, float] = {}
    for revenue in revenues:
        for product, amount in revenue.items():
            total[product] = round(total.get(product, 0.0) + amount, 2)
    with (Path(folder) / "report.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["product", "revenue"], *sorted(total.items())])
    get_logger().info("report written")
    return dict(sorted(total.items()))


@task
def make_folder() -> str:
    return tempfile.mkdtemp(prefix="playhead-etl-")


@flow
async def etl(files: int = 8, rows: int = 200) -> dict[str, float]:
    folder = await make_folder.submit()
    paths = write_sales.map([folder] * files, range(files), [rows] * files)
    revenues = transform.map(extract.map(paths))
    return await load.submit(folder, revenues)


if __name__ == "__main__":
    print(etl.run())
