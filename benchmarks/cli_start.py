"""How long `sweep --help`, `sweep ls` and `sweep top` take, against `python -c "import pyarrow"`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Figure, paired, sweep, wall_s

SPEC = """\
name: shown
trainable: synthetic
fixed: {epochs: 3}
space: {lr: {low: 1e-5, high: 1.0, log: true}}
search: {sampler: random, trials: 20}
"""


def measure(pairs: int = 15) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "shown.yaml"
        file.write_text(SPEC)
        wall_s(sweep("run", str(file), "--results", folder, "--quiet"), folder)
        commands = {"sweep --help": ("--help",), "sweep ls": ("ls", "--results", folder)}
        commands["sweep top"] = ("top", "shown", "--results", folder)
        return [
            paired(
                lambda arguments=arguments: wall_s(sweep(*arguments), folder),  # type: ignore[misc]
                lambda: wall_s([sys.executable, "-c", "import pyarrow"], folder),
                pairs=pairs,
                ratio=lambda our, their: our / their,
                what=f"`{name}`",
                against='`python -c "import pyarrow"`',
                unit="s",
                ratio_of="as long",
                aim="at most 3×",
                command="python -m benchmarks cli_start",
            )
            for name, arguments in commands.items()
        ]
