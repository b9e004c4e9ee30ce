"""The tests; every path that they need begins at `ROOT`, the checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
