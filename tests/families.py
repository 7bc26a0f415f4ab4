"""A tiny random model of every family that is packed, and of families that must not be."""

from collections.abc import Callable
from typing import Any

import torch
from toy_models import VOCAB
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    Lfm2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    OPTConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
    Qwen3NextConfig,
    RecurrentGemmaConfig,
    SmolLM3Config,
)

WINDOW = 8
IDS = {"vocab_size": VOCAB, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
COMMON = {**IDS, "initializer_range": 0.4, "max_position_embeddings": 128}
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
DECODER = {**COMMON, **SIZES, "num_key_value_heads": 2}
DEEP = {**DECODER, "num_hidden_layers": 4}
HEADS = {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": WINDOW}
SLIDING, FULL = "sliding_attention", "full_attention"

CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**DECODER),
    "qwen2": lambda: Qwen2Config(**DECODER),
    "qwen3": lambda: Qwen3Config(head_dim=8, **DECODER),
    "gemma2": lambda: Gemma2Config(
        **HEADS, attn_logit_softcapping=2.0, final_logit_softcapping=5.0, attn_implementation="eager", **DECODER
    ),
    "gemma3": lambda: Gemma3TextConfig(
        **HEADS, layer_types=[SLIDING, SLIDING, FULL], **DECODER | {"num_hidden_layers": 3}
    ),
    "mistral": lambda: MistralConfig(sliding_window=WINDOW, **DECODER),
    "phi3": lambda: Phi3Config(sliding_window=2 * WINDOW, **DECODER),
    "olmo2": lambda: Olmo2Config(**DECODER),
    "smollm3": lambda: SmolLM3Config(no_rope_layer_interval=2, **DEEP),
    "gpt2": lambda: GPT2Config(n_embd=32, n_layer=2, n_head=4, **COMMON),
    "opt": lambda: OPTConfig(ffn_dim=48, word_embed_proj_dim=16, init_std=0.4, **COMMON, **SIZES),
    "gpt_neox": lambda: GPTNeoXConfig(**COMMON, **SIZES),
    "qwen3_moe": lambda: Qwen3MoeConfig(
        head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, **DECODER
    ),
    "mixtral": lambda: MixtralConfig(num_local_experts=4, num_experts_per_tok=2, **DECODER),
}
FALLBACK_CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "mamba": lambda: MambaConfig(
        hidden_size=32, num_hidden_layers=2, state_size=8, **IDS, initializer_range=0.4, time_step_min=0.1
    ),
    "lfm2": lambda: Lfm2Config(
        layer_types=["conv", FULL, "conv"], block_auto_adjust_ff_dim=False, **DECODER | {"num_hidden_layers": 3}
    ),
    "qwen3_next": lambda: Qwen3NextConfig(
        layer_types=["linear_attention", FULL],
        head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        **DECODER,
    ),
    "recurrent_gemma": lambda: RecurrentGemmaConfig(
        **IDS,
        **SIZES | {"num_hidden_layers": 3},
        num_key_value_heads=2,
        attention_window_size=WINDOW,
        w_init_variance_scale=0.4,
    ),
    "gpt_neo": lambda: neo("global", "local"),
    "gpt_neo_global": lambda: neo("global", "global"),
}


def neo(*layers: str) -> PreTrainedConfig:
    sizes = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": WINDOW}
    return GPTNeoConfig(attention_types=[[list(layers), 1]], **sizes, **COMMON)


def long_phi3() -> PreTrainedConfig:
    """Its rotary embedding is another one where the longest row of a forward has more than 16 tokens."""
    rope = {"rope_type": "longrope", "rope_theta": 100.0, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    return Phi3Config(original_max_position_embeddings=16, rope_parameters=rope, **DECODER)


def build(config: Callable[[], PreTrainedConfig]) -> Callable[..., Any]:
    """Weights are drawn after the seed is set, so that a family is the same model wherever it is made."""

    def make(dtype: torch.dtype = torch.float32) -> Any:
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config())
        if dtype == torch.float64 and model._can_set_experts_implementation():
            model.set_experts_implementation("eager")  # the grouped product of torch takes no float64
        if model.config.model_type == "recurrent_gemma":  # its own draw hardly looks at the context
            for name, weights in model.named_parameters():
                if not name.endswith("norm.weight"):
                    torch.nn.init.normal_(weights, std=0.4)
        return model.to(dtype).eval()

    return make


FAMILIES = {name: build(config) for name, config in CONFIGS.items()}
LONG_ROPE = build(long_phi3)
FALLBACK = {name: build(config) for name, config in FALLBACK_CONFIGS.items()}
