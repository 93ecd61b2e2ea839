"""An S3 server (moto's, as the tests have it) until it is killed; its first line is the options to reach it with, JSON.

What it stores is in memory when small, else in files of TMPDIR.
"""

from __future__ import annotations

import json
import sys

import nexmark_sql

sys.path.insert(0, str(nexmark_sql.ROOT / "tests"))

from object_store import BUCKET, KEY, SECRET, ObjectStore


def main() -> None:
    store = ObjectStore()
    options = {
        "s3.endpoint": store.endpoint,
        "s3.access-key": KEY,
        "s3.secret-key": SECRET,
        "s3.path.style.access": "true",
        "execution.checkpointing.dir": f"s3://{BUCKET}/state",
    }
    print(json.dumps(options), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
