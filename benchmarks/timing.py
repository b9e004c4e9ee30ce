"""x."""
from dataclasses import dataclass
TREES = {"iterations": 400, "depth": 6, "learning_rate": 0.05, "verbose": 0, "allow_writing_files": False}
Took=None
say=None
