"""Makes `import trueup` work from a bare checkout, for `from src.strategy.reconciler import ...`.

The modules beside this one only re-export: the classes live in `trueup`.
"""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.append(_HERE)  # last: an installed trueup, and everybody else's modules, go first
