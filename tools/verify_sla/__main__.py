"""`python3 -m tools.verify_sla EXPORT.zip`."""

import sys

from tools.verify_sla.command import main

sys.exit(main())
