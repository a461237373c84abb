"""N, D and C by every convention that published scaling laws use; pure arithmetic on a model's shape and kind.

N is non-embedding unless a name says otherwise, C is in FLOP, a multiply-add counts 2. Small models rank differently
under different conventions (Pearce & Song 2024; Porian et al. 2024), so all of them are stored with each run.
"""

from scaling import kinds
from scaling.config import ModelConfig

PF_DAY = 8.64e19  # FLOP; Kaplan et al. (2020) quote C in PF-days


def params(model: ModelConfig) -> dict[str, int]:
    """Parameters by convention.

    Returns:
      params: non-embedding, Kaplan et al. (2020) eq. 2.1: attention and feed-forward matrices, or those of the gates.
        Of experts those that a token is sent to, as in the next two.
      params_head: with the output projection, n_vocab d_model (Porian et al. 2024), be it the embedding or its own;
        of a reward model with the vector of its scores.
      params_embed: with token and learned position embeddings (Kaplan et al. 2020, Figure 6 left), and a head that is
        not the embedding.
      params_experts: `params` with all experts.
      params_total: all that the model allocates, experts, biases and norms included.
    """
    kind, vocabulary = kinds.of(model), model.n_vocab * model.d_model
    head = kind.outputs(model) * model.d_model
    embed = (1 if model.tied else 2) * vocabulary + kind.positions(model)
    return {
        "params": model.N,
        "params_head": model.N + head,
        "params_embed": model.N + embed,
        "params_experts": model.N + kind.idle(model),
        "params_total": model.N + kind.idle(model) + embed + kind.vectors(model),
    }


def flops_per_token(model: ModelConfig) -> dict[str, int]:
    """Training FLOP per token (forward and backward, the backward pass taken as twice the forward) by convention.

    A universal Transformer uses N and the context `reuse` times, an LSTM has no context term.

    Returns:
      flops: 6 N, Kaplan et al. (2020) eq. 2.2 without the context term: the C of all their laws.
      flops_attention: with the context term, 3 (2 N + 2 n_layer n_ctx d_attn), eq. 2.2.
      flops_head: 6 N and the logits, 6 n_vocab d_model (Porian et al. 2024).
      flops_total: every matrix product: 6 N, the whole attention square twice (scores and mixing), logits.
    """
    kind = kinds.of(model)
    used, context, head = 2 * kind.active(model), 2 * kind.context(model), 2 * kind.outputs(model) * model.d_model
    return {
        "flops": 3 * used,
        "flops_attention": 3 * (used + context),
        "flops_head": 3 * (used + head),
        "flops_total": 3 * (used + 2 * context + head),
    }


def mfu_flops_per_token(model: ModelConfig) -> int:
    """Training FLOP that count for MFU: matrices, causal attention half, the head; not the embedding look-up."""
    flops = flops_per_token(model)
    return flops["flops_attention"] + flops["flops_head"] - flops["flops"]


def kaplan_table_1(model: ModelConfig) -> dict[str, tuple[int, int]]:
    """(parameters, forward FLOP per token) by operation of a Transformer: Kaplan et al. (2020) Table 1, as printed.

    Of grouped queries and of a gated feed-forward, which it does not have, by the same rules.
    """
    d, n_layer, d_attn = model.d_model, model.n_layer, model.d_attn
    qkv = n_layer * d * (d_attn + 2 * model.d_kv)
    feed_forward = model.N - qkv - n_layer * d_attn * d
    return {
        "embed": ((model.n_vocab + model.n_ctx) * d, 4 * d),
        "attention qkv": (qkv, 2 * qkv),
        "attention mask": (0, 2 * n_layer * model.n_ctx * d_attn),
        "attention project": (n_layer * d_attn * d, 2 * n_layer * d_attn * d),
        "feed-forward": (feed_forward, 2 * feed_forward),
        "de-embed": (0, 2 * d * model.n_vocab),
        "total, non-embedding": (model.N, 2 * model.N + 2 * n_layer * model.n_ctx * d_attn),
    }


def chinchilla_params(model: ModelConfig) -> int:
    """N of Hoffmann et al. (2022): the count that reproduces their Table A9 within 0.8 %.

    Five square matrices per layer: the fifth, not mentioned in the paper, fits a projection of relative positions.
    It is a reading of their table, not a count of the model here.
    """
    d = model.d_model
    return model.n_layer * (5 * d * model.d_attn + 2 * d * model.d_ff) + model.n_vocab * d


def chinchilla_flops_per_sequence(model: ModelConfig, vocabulary: bool = True) -> int:
    """Training FLOP of one sequence of n_ctx tokens: Hoffmann et al. (2022) appendix F.

    Args:
      vocabulary: count the embedding and the logits, as the appendix lists; its Table A4 comes out only without them.
    """
    s, d, hk = model.n_ctx, model.d_model, model.d_attn
    attention = 3 * 2 * s * d * hk + 2 * s * s * hk + 3 * model.n_head * s * s + 2 * s * s * hk + 2 * s * hk * d
    dense = 2 * s * (d * model.d_ff + model.d_ff * d)
    forward = model.n_layer * (attention + dense)
    if vocabulary:
        forward += 2 * (2 * s * model.n_vocab * d)
    return 3 * forward
