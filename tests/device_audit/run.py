"""Audit a group of subjects in a process of its own.

python run.py LIBRARY GROUP [NAME ...]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

if __name__ == "__main__":
    from device_audit import pretended_cuda

    pretended_cuda.load(Path(sys.argv[1]))
    from device_audit.audit import main  # imports torch

    main(sys.argv[2], sys.argv[3:])
