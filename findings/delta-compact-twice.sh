#!/usr/bin/env bash
# deltalake 1.6.6 (Python, pyarrow 25.0.1), run on 2026-12-01.
#
# Two handles on the same version of a Delta table that both call optimize.compact() are both accepted: neither is
# refused and neither starts anew. The second commit removes files that the first one has removed already and adds its
# merged copy beside the first one's, so every row of the table is there twice. One would bet on a conflict. Setting
# delta.isolationLevel to Serializable changes nothing.
#
# What to do: one compactor a table, or an application transaction in an entry of your own
# (create_write_transaction with app_transactions is refused when another writer was first).
#
# Source: observed by running this; the Delta protocol's rules on concurrent removes are in its PROTOCOL.md.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check deltalake==1.6.6 pyarrow==25.0.1
cat > "$folder/twice.py" <<'PY'
import sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake


def race(path: str, configuration: dict[str, str]) -> tuple[int, int]:
    """Rows before and after two compactions of the same version."""
    for value in range(3):
        write_deltalake(path, pa.table({"x": [value]}), mode="append", configuration=configuration)
    first, second = DeltaTable(path), DeltaTable(path)  # both see the same version
    before = len(first.to_pyarrow_table())
    first.optimize.compact()
    second.optimize.compact()
    return before, len(DeltaTable(path).to_pyarrow_table())


seen = {name: race(f"{sys.argv[1]}/{name}", {} if name == "default" else {"delta.isolationLevel": "Serializable"})
        for name in ("default", "Serializable")}
for name, (before, after) in seen.items():
    print(f"{name}: {before} rows before two compactions of one version, {after} after")
sys.exit(0 if all(after == 2 * before for before, after in seen.values()) else "changed: rows are no longer doubled")
PY
"$folder/venv/bin/python" "$folder/twice.py" "$folder"
