"""The baseline of `benchmarks.cpu_training`: the project's model and update, written for PyTorch as PyTorch likes it.

Every choice that PyTorch leaves open is an argument, so that the benchmark can take the fastest. Standard library and
PyTorch only: it runs in an environment of its own.
"""

# pyright: reportMissingImports=false

import math

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, d_model: int, n_head: int, fused_attention: bool, n_ctx: int):
        super().__init__()
        self.n_head, self.fused_attention = n_head, fused_attention
        self.norm_attn, self.norm_ff = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.qkv, self.out = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.up, self.down = nn.Linear(d_model, 4 * d_model), nn.Linear(4 * d_model, d_model)
        self.register_buffer("future", torch.full((n_ctx, n_ctx), -torch.inf).triu(1))

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Causal attention. b h t k each."""
        if self.fused_attention:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]) + self.future
        return scores.softmax(-1) @ v

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm_attn(x)).view(b, t, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)
        x = x + self.out(self.attend(q, k, v).transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.norm_ff(x)), approximate="tanh"))


class GPT(nn.Module):
    """Learned positions, tied embedding, initialised as the project's model is."""

    def __init__(self, d_model: int, n_layer: int, n_head: int, n_vocab: int, n_ctx: int, fused_attention: bool):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(n_vocab, d_model), nn.Parameter(torch.empty(n_ctx, d_model))
        self.blocks = nn.ModuleList(Block(d_model, n_head, fused_attention, n_ctx) for _ in range(n_layer))
        self.norm = nn.LayerNorm(d_model)
        nn.init.normal_(self.tokens.weight, std=min(0.02, 2 / d_model))
        nn.init.normal_(self.positions, std=0.02)
        for block in self.blocks:
            for linear, std in ((block.qkv, d_model**-0.5), (block.up, d_model**-0.5), (block.out, 0), (block.down, 0)):
                nn.init.normal_(linear.weight, std=std)
                nn.init.zeros_(linear.bias)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits. tokens: i64 b t -> b t v."""
        x = math.sqrt(self.positions.shape[1]) * self.tokens(tokens) + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.tokens.weight.T


class Trainer:
    """Updates of clipped Adam with warm-up and a cosine."""

    def __init__(self, model: GPT, fused_update: bool, rate: float = 1e-3, steps: int = 10_000):
        self.model = model
        options = {"fused": True} if fused_update else {"foreach": True}
        self.optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.9, 0.99), eps=1e-8, **options)
        warmup = steps // 20
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda s: min(1, (s + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * max(0, s - warmup) / (steps - warmup))),
        )

    def update(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One update. tokens: i64 b t+1 -> mean loss and gradient norm, neither waited for."""
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.model(tokens[:, :-1])
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1))
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        return loss.detach(), norm
