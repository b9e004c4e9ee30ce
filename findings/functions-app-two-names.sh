#!/usr/bin/env bash
# azure-functions 2.3.0 with azure-functions-runtime 1.3.0 (Python 3.13), run on 2026-12-01.
#
# A function app object that has two names in its module (`app = func.FunctionApp()`, `handler = app`) counts as two
# apps: indexing fails with "More than one ... function app instances are defined", and the app has no functions at
# all. The module itself imports without an error, so tests that import it and call app.get_functions() pass. One
# would bet on one object being one app.
#
# What to do: give the app one name, and import other modules' blueprints, not their apps.
#
# Source: observed by running this.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.13 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  azure-functions==2.3.0 azure-functions-runtime==1.3.0
for name in one two; do
  mkdir "$folder/$name"
  cat > "$folder/$name/function_app.py" <<'PY'
import azure.functions as func

app = func.FunctionApp()


@app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
def hourly(timer: func.TimerRequest) -> None:
    """Say nothing."""
PY
done
echo "handler = app" >> "$folder/two/function_app.py"
cat > "$folder/judge.py" <<'PY'
import sys

from azure_functions_runtime.loader import index_function_app

sys.path.insert(0, sys.argv[1])
try:
    print(f"functions: {len(index_function_app('function_app.py'))}")
except ValueError as error:
    print(f"refused: {error}")
PY
one=$("$folder/venv/bin/python" "$folder/judge.py" "$folder/one")
two=$("$folder/venv/bin/python" "$folder/judge.py" "$folder/two")
echo "one name: $one"
echo "two names: $two"
[[ $one == "functions: 1" && $two == refused:* ]] || { echo "changed"; exit 1; }
