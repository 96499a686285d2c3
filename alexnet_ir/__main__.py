"""`python -m alexnet_ir`."""

import sys

from alexnet_ir.cli.main import main

sys.exit(main())
