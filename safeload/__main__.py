"""Run the command line: python -m safeload."""

from __future__ import annotations

from safeload._cli import main

if __name__ == "__main__":  # worker processes import this module, too
    main()
