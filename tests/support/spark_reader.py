"""Answers Spark gives about a labels root, as one JSON object on standard output. Needs pyspark and Java 17 or newer.

python -m tests.support.spark_reader ROOT DAY RUN
"""

import json
import sys

from pyspark.sql import SparkSession

from fer_core.export.current_view import CURRENT

LIKELY = "greatest(p_neutral, p_happiness, p_fear) > 0.6"


def session() -> SparkSession:
    """On one thread, without a web page, in UTC."""
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    builder = SparkSession.builder.master("local[1]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def main(root: str, day: str, run: str) -> None:
    spark = session()
    for table in ("labels", "images"):
        spark.read.option("mergeSchema", "true").parquet(f"{root}/{table}").createOrReplaceTempView(table)

    def ask(sql):
        return [list(row) for row in spark.sql(sql).collect()]

    kinds = {"date": "day", "timestamp": "moment in UTC", "float": "float32", "int": "int32", "boolean": "bool"}
    answers = {
        "of_day": ask(
            f"""SELECT image_uri, face_index, expression, p_happiness, status
            FROM labels JOIN images USING (image_uri, run_id, run_date) WHERE run_date = date '{day}' ORDER BY 1, 2"""
        ),
        "of_run": ask(f"SELECT count(*) FROM labels WHERE run = '{run}'")[0][0],
        "likely": ask(f"SELECT image_uri, face_index, run_id FROM labels WHERE {LIKELY} ORDER BY 1, 2, 3"),
        "current": ask(f"SELECT image_uri, face_index, run_id FROM ({CURRENT}) ORDER BY 1, 2"),
        "columns": {name: kinds.get(kind, kind) for name, kind in spark.table("labels").dtypes},
        "moments": ask("SELECT DISTINCT cast(labeled_at AS string) FROM labels ORDER BY 1"),
    }
    spark.stop()
    sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
