"""A tiny random Qwen2 with a byte-level tokenizer as a GGUF file, and the same model to compare with."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers_for_tests import TOKENIZERS
from transformers import AutoModelForCausalLM, Qwen2Config

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "model.layers.": "blk.",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def tiny_qwen() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 256}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False}
    config = Qwen2Config(vocab_size=len(TOKENIZERS["qwen2"]()), initializer_range=0.3, **sizes, **heads)
    return AutoModelForCausalLM.from_config(config).eval()


def write_gguf(path: Path) -> Any:
    """Write the file, in float32; returns the model that it holds."""
    import gguf

    model, tokenizer = tiny_qwen(), TOKENIZERS["qwen2"]()
    writer = gguf.GGUFWriter(str(path), "qwen2")
    config = model.config
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    added = tokenizer.added_tokens_decoder
    writer.add_token_list(tokens)
    writer.add_token_types([3 if i in special else 4 if i in added else 1 for i in range(len(tokens))])
    writer.add_token_merges(
        [" ".join(pair) for pair in json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]]
    )
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    for name, tensor in model.state_dict().items():
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model
