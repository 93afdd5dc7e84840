"""`python -m sweep_runner` is `sweep`."""

import sys

from sweep_runner.cli.main import main

sys.exit(main())
