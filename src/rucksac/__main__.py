"""`python -m rucksac` is the command line."""

import sys

from rucksac.cli import main

sys.exit(main())
