"""The zoo's transformers and state-space networks, from the configurations of `transformers`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import transformers
from torch import Tensor, nn

from tools.peers.zoo_torch import Network

__all__ = ["networks"]

WORDS, LENGTH = 64, 8
BOTH = {0: "batch", 1: "sequence"}
BATCH = {0: "batch"}
Sample = dict[str, Tensor]

SPREAD = {"initializer_range": 0.2}
"""Wider than usual: so narrow a network would otherwise give nearly the same for all inputs."""
ENCODER: dict[str, object] = {
    **SPREAD,
    "vocab_size": WORDS,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "num_labels": 3,
}
DECODER = ENCODER | {
    "num_key_value_heads": 1,
    "head_dim": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "use_cache": False,
}
VISION: dict[str, object] = {
    **SPREAD,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 3,
}


@dataclass(frozen=True, kw_only=True)
class Made:
    """A network of `transformers`.

    Attributes:
        name: Its name in the zoo.
        family: What it belongs to.
        model: The class of the model.
        config: The class of its configuration, without `Config`.
        sizes: What the configuration is given.
        sample: Its inputs; the names are those of `forward`.
        axes: Symbolic axes of every input.
        attention: `sdpa` or `eager`.
        output: Which output is the explained one.
    """

    name: str
    family: str
    model: str
    config: str
    sizes: dict[str, object]
    sample: Callable[[], Sample]
    axes: dict[int, str] = field(default_factory=lambda: dict(BOTH))
    attention: str = ""
    output: str = "logits"

    def build(self) -> nn.Module:
        """Make the module, its forward pass with positional arguments."""
        options = {"attn_implementation": self.attention} if self.attention else {}
        config = getattr(transformers, f"{self.config}Config")(**self.sizes, **options)
        model = getattr(transformers, self.model)(config)
        return ARITY[len(self.sample())](model, tuple(self.sample()), self.output)


class _Named(nn.Module):
    def __init__(self, model: nn.Module, names: tuple[str, ...], output: str) -> None:
        super().__init__()
        self.model, self.names, self.output = model, names, output

    def call(self, *values: Tensor) -> Tensor:
        named = dict(zip(self.names, values, strict=True))
        return getattr(self.model(**named), self.output)


class _One(_Named):
    def forward(self, a: Tensor) -> Tensor:
        return self.call(a)


class _Two(_Named):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.call(a, b)


class _Three(_Named):
    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return self.call(a, b, c)


ARITY: dict[int, type[_Named]] = {1: _One, 2: _Two, 3: _Three}


def networks() -> Iterator[Network]:
    """Yield every transformer."""
    for made in (*_encoders(), *_decoders(), *_pairs(), *_sound(), *_sight()):
        yield Network(
            name=made.name,
            family=made.family,
            build=made.build,
            sample=made.sample,
            axes=made.axes,
            own={"pixel_values": BATCH, "input_features": BATCH},
            variant=made.attention,
        )
    yield Network(
        name="llama_cache",
        family="Llama",
        build=Cached,
        sample=_cache,
        axes={0: "batch"},
        own={"attention_mask": {0: "batch", 1: "all"}}
        | {name: {0: "batch", 2: "past"} for name in _PAST},
    )


def _tokens(width: int = LENGTH) -> Tensor:
    return torch.randint(3, WORDS, (2, width))


def _words() -> Sample:
    return {"input_ids": _tokens()}


def _masked() -> Sample:
    mask = torch.ones(2, LENGTH, dtype=torch.int64)
    mask[1, -2:] = 0
    return {"input_ids": _tokens(), "attention_mask": mask}


def _full() -> Sample:
    return {"input_ids": _tokens(), "attention_mask": torch.ones(2, LENGTH, dtype=torch.int64)}


def _typed() -> Sample:
    return _masked() | {"token_type_ids": torch.zeros(2, LENGTH, dtype=torch.int64)}


def _picture() -> Sample:
    return {"pixel_values": torch.randn(2, 3, 32, 32)}


def _encoders() -> Iterator[Made]:
    for attention in ("sdpa", "eager"):
        yield Made(
            name="bert",
            family="BERT",
            model="BertForSequenceClassification",
            config="Bert",
            sizes=ENCODER,
            sample=_typed,
            attention=attention,
        )
    small = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
    disentangled = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
    for name, family, model, config, sizes in (
        ("roberta", "RoBERTa", "RobertaForSequenceClassification", "Roberta",
         ENCODER | {"pad_token_id": 1}),
        ("distilbert", "BERT", "DistilBertForSequenceClassification", "DistilBert",
         small | {"vocab_size": WORDS, "max_position_embeddings": 32, "num_labels": 3}),
        ("albert", "BERT", "AlbertForSequenceClassification", "Albert",
         ENCODER | {"embedding_size": 8}),
        ("electra", "BERT", "ElectraForTokenClassification", "Electra",
         ENCODER | {"embedding_size": 8}),
        ("deberta", "BERT", "DebertaV2ForSequenceClassification", "DebertaV2",
         ENCODER | disentangled | {"pooler_hidden_size": 16}),
        ("modernbert", "BERT", "ModernBertForSequenceClassification", "ModernBert",
         ENCODER | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1,
                    "sep_token_id": 2}),
    ):  # fmt: skip
        yield Made(
            name=name, family=family, model=model, config=config, sizes=sizes, sample=_masked
        )


def _decoders() -> Iterator[Made]:
    gpt: dict[str, object] = {**SPREAD, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
    gpt |= {"vocab_size": WORDS, "use_cache": False, "bos_token_id": 1, "eos_token_id": 2}
    for attention in ("sdpa", "eager"):
        for name, family, model, config, sizes in (
            ("gpt2", "GPT-2", "GPT2LMHeadModel", "GPT2", gpt),
            ("llama", "Llama", "LlamaForCausalLM", "Llama", DECODER),
        ):
            yield Made(
                name=name,
                family=family,
                model=model,
                config=config,
                sizes=sizes,
                sample=_full,
                attention=attention,
            )
    alone = {"num_key_value_heads": 2}
    state = {
        **SPREAD,
        "vocab_size": WORDS,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "use_cache": False,
    }
    selective = state | {"state_size": 4, "head_dim": 8, "num_heads": 4, "n_groups": 1}
    bloom = {
        **SPREAD,
        "vocab_size": WORDS,
        "hidden_size": 16,
        "n_layer": 2,
        "n_head": 2,
        "use_cache": False,
    }
    opt = DECODER | {"ffn_dim": 32, "word_embed_proj_dim": 16}
    for name, family, model, config, sizes in (
        ("mistral", "Llama", "MistralForCausalLM", "Mistral", DECODER | {"sliding_window": 4}),
        ("qwen2", "Qwen", "Qwen2ForCausalLM", "Qwen2", DECODER),
        ("qwen3", "Qwen", "Qwen3ForCausalLM", "Qwen3", DECODER),
        ("gemma", "Gemma", "GemmaForCausalLM", "Gemma", DECODER),
        ("gemma2", "Gemma", "Gemma2ForCausalLM", "Gemma2", DECODER),
        ("gemma3", "Gemma", "Gemma3ForCausalLM", "Gemma3Text", DECODER),
        ("phi3", "Llama", "Phi3ForCausalLM", "Phi3", DECODER | alone),
        ("mixtral", "Llama", "MixtralForCausalLM", "Mixtral",
         DECODER | {"num_local_experts": 2, "num_experts_per_tok": 1}),
        ("gpt_neox", "GPT-2", "GPTNeoXForCausalLM", "GPTNeoX", DECODER),
        ("opt", "GPT-2", "OPTForCausalLM", "OPT", opt),
        ("bloom", "GPT-2", "BloomForCausalLM", "Bloom", bloom),
        ("mamba", "Mamba", "MambaForCausalLM", "Mamba", state | {"state_size": 4}),
        ("mamba2", "Mamba", "Mamba2ForCausalLM", "Mamba2", selective),
        ("rwkv", "Mamba", "RwkvForCausalLM", "Rwkv", state | {"attention_hidden_size": 16}),
    ):  # fmt: skip
        yield Made(
            name=name,
            family=family,
            model=model,
            config=config,
            sizes=sizes,
            sample=_words if family == "Mamba" else _full,
            axes=BATCH if family == "Mamba" else BOTH,
        )


def _pairs() -> Iterator[Made]:
    """Encoders with decoders."""
    t5 = {"vocab_size": WORDS, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2}
    t5 |= {"num_heads": 2, "decoder_start_token_id": 0, "use_cache": False}
    bart = {"vocab_size": WORDS, "d_model": 16, "max_position_embeddings": 32, "use_cache": False}
    for side in ("encoder", "decoder"):
        bart |= {f"{side}_layers": 1, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 32}
    for name, family, model, config, sizes in (
        ("t5", "T5", "T5ForConditionalGeneration", "T5", t5),
        ("t5_gated", "T5", "T5ForConditionalGeneration", "T5",
         t5 | {"feed_forward_proj": "gated-gelu"}),
        ("bart", "T5", "BartForConditionalGeneration", "Bart", bart),
    ):  # fmt: skip
        yield Made(
            name=name,
            family=family,
            model=model,
            config=config,
            sizes=sizes,
            sample=lambda: {"input_ids": _tokens(), "decoder_input_ids": _tokens(5)},
            axes=BATCH,
        )


def _sound() -> Iterator[Made]:
    whisper = {"vocab_size": WORDS, "d_model": 16, "num_mel_bins": 8, "max_source_positions": 12}
    whisper |= {"max_target_positions": 16, "pad_token_id": 0, "decoder_start_token_id": 1}
    whisper |= {"use_cache": False, "bos_token_id": 1, "eos_token_id": 2, "suppress_tokens": None}
    for side in ("encoder", "decoder"):
        whisper |= {f"{side}_layers": 1, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 32}
    yield Made(
        name="whisper",
        family="Whisper",
        model="WhisperForConditionalGeneration",
        config="Whisper",
        sizes=whisper,
        sample=lambda: {
            "input_features": torch.randn(2, 8, 24),
            "decoder_input_ids": _tokens(5),
            "decoder_attention_mask": torch.ones(2, 5, dtype=torch.int64),
        },
        axes=BATCH,
    )
    wave = ENCODER | {"conv_dim": (8, 8), "conv_kernel": (10, 3), "conv_stride": (5, 2)}
    wave |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    for name, config, more in (
        ("wav2vec2", "Wav2Vec2", {"num_feat_extract_layers": 2}),
        ("wav2vec2_layer", "Wav2Vec2", {"feat_extract_norm": "layer", "conv_bias": True}),
        ("hubert", "Hubert", {}),
    ):
        yield Made(
            name=name,
            family="wav2vec2",
            model=f"{config}ForCTC",
            config=config,
            sizes=wave | more,
            sample=lambda: {"input_values": torch.randn(2, 400)},
            axes=BATCH,
        )


def _sight() -> Iterator[Made]:
    """Networks for pictures, and for pictures with texts."""
    both = {"text_config": ENCODER | {"bos_token_id": 1, "eos_token_id": 63, "pad_token_id": 0}}
    both |= {"vision_config": VISION}
    stages = {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1], "num_labels": 3}
    stages |= {"num_attention_heads": [1, 2, 2, 2], "decoder_hidden_size": 16}
    detr = {"d_model": 16, "num_queries": 5, "use_timm_backbone": False, "num_labels": 3}
    detr |= {"use_pretrained_backbone": False, "backbone": None}
    for side in ("encoder", "decoder"):
        detr |= {f"{side}_layers": 1, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 32}
    backbone = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    backbone |= {"layer_type": "basic", "out_features": ["stage2"]}
    detr |= {"backbone_config": transformers.ResNetConfig(**backbone)}
    pairs = {"output": "logits_per_image", "axes": BATCH, "sample": lambda: _words() | _picture()}
    yield Made(name="clip", family="CLIP", model="CLIPModel", config="CLIP", sizes=both, **pairs)
    yield Made(
        name="siglip", family="CLIP", model="SiglipModel", config="Siglip", sizes=both, **pairs
    )
    for name, family, model, config, sizes in (
        ("hf_vit", "ViT", "ViTForImageClassification", "ViT", VISION),
        ("hf_deit", "DeiT", "DeiTForImageClassification", "DeiT", VISION),
        ("dinov2", "ViT", "Dinov2ForImageClassification", "Dinov2", VISION),
        ("beit", "ViT", "BeitForImageClassification", "Beit",
         VISION | {"use_relative_position_bias": True}),
        ("segformer", "SegFormer", "SegformerForSemanticSegmentation", "Segformer", stages),
        ("detr", "DETR", "DetrForObjectDetection", "Detr", detr),
    ):  # fmt: skip
        yield Made(
            name=name,
            family=family,
            model=model,
            config=config,
            sizes=sizes,
            sample=_picture,
            axes=BATCH,
        )


_PAST = ("key_0", "value_0", "key_1", "value_1")


def _cache() -> Sample:
    past = {name: torch.randn(2, 1, LENGTH - 1, 8) for name in _PAST}
    mask = torch.ones(2, LENGTH, dtype=torch.int64)
    return {"input_ids": _tokens(1), "attention_mask": mask} | past


class Cached(nn.Module):
    """Llama with the keys and values of earlier tokens as inputs and outputs."""

    def __init__(self) -> None:
        super().__init__()
        config = transformers.LlamaConfig(**DECODER | {"use_cache": True})
        self.model = transformers.LlamaForCausalLM(config)

    def forward(
        self, ids: Tensor, mask: Tensor, k0: Tensor, v0: Tensor, k1: Tensor, v1: Tensor
    ) -> tuple[Tensor, ...]:
        """Scores of the next token, and the longer cache."""
        cache = transformers.DynamicCache(((k0, v0), (k1, v1)))
        found = self.model(input_ids=ids, attention_mask=mask, past_key_values=cache)
        layers = found.past_key_values.layers
        return found.logits, *(part for one in layers for part in (one.keys, one.values))
