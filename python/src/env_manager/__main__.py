"""`python -m env_manager`."""

import sys

from .cli import main

sys.exit(main())
