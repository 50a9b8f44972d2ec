"""`python -m ovseg_ros.cli` is `ovseg`."""

import sys

from ovseg_ros.cli import main

sys.exit(main())
