"""The command ``pipeline``, also as ``python -m pipeline``."""

from __future__ import annotations

from pipeline.interrupts import end_at_once

end_at_once()  # before the slower imports

from pipeline.cli import run  # noqa: E402

if __name__ == "__main__":
    run()
