"""python -m husk.mcp"""

import sys

from husk.mcp import main

sys.exit(main())
