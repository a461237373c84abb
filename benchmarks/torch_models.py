"""The baseline of `benchmarks.cpu_training`: two forms of the project's model, and its update, as PyTorch likes them.

Every choice that PyTorch leaves open is an argument, so that the benchmark can take the fastest. Standard library and
PyTorch only: it runs in an environment of its own.
"""

# pyright: reportMissingImports=false

import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional as F

N_VOCAB, N_CTX = 512, 64
ROTARY_BASE = 10_000


@dataclasses.dataclass(frozen=True)
class Shape:
    """A model: `llama` with rotary positions, RMSNorm, SwiGLU and a head of its own, else as GPT-2 has them."""

    d_model: int
    n_layer: int
    n_head: int
    d_ff: int
    llama: bool


class Block(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, shape: Shape, fused_attention: bool):
        super().__init__()
        d, bias = shape.d_model, not shape.llama
        norm = nn.RMSNorm if shape.llama else nn.LayerNorm
        self.shape, self.fused_attention = shape, fused_attention
        self.norm_attn, self.norm_ff = norm(d), norm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d, bias), nn.Linear(d, d, bias)
        self.up = nn.Linear(d, (2 if shape.llama else 1) * shape.d_ff, bias)  # gate and up in one product
        self.down = nn.Linear(shape.d_ff, d, bias)
        self.register_buffer("future", torch.full((N_CTX, N_CTX), -torch.inf).triu(1))
        angles = torch.outer(torch.arange(N_CTX), ROTARY_BASE ** -torch.linspace(0, 1, d // shape.n_head // 2 + 1)[:-1])
        self.register_buffer("cos", torch.cat((angles.cos(), angles.cos()), -1))
        self.register_buffer("sin", torch.cat((-angles.sin(), angles.sin()), -1))

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        """Queries or keys turned by their positions: b h t k."""
        half = x.shape[-1] // 2
        return x * self.cos + torch.cat((x[..., half:], x[..., :half]), -1) * self.sin

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Causal attention. b h t k each."""
        if self.fused_attention:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]) + self.future
        return scores.softmax(-1) @ v

    def feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.shape.llama:
            gate, up = self.up(x).chunk(2, -1)
            return self.down(F.silu(gate) * up)
        return self.down(F.gelu(self.up(x), approximate="tanh"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm_attn(x)).view(b, t, 3, self.shape.n_head, -1).permute(2, 0, 3, 1, 4)
        if self.shape.llama:
            q, k = self.rotate(q), self.rotate(k)
        x = x + self.out(self.attend(q, k, v).transpose(1, 2).reshape(b, t, d))
        return x + self.feed_forward(self.norm_ff(x))


class Model(nn.Module):
    """Initialised as the project's model is."""

    def __init__(self, shape: Shape, fused_attention: bool):
        super().__init__()
        d, std = shape.d_model, shape.d_model**-0.5
        self.tokens = nn.Embedding(N_VOCAB, d)
        self.positions = None if shape.llama else nn.Parameter(0.02 * torch.randn(N_CTX, d))
        self.blocks = nn.ModuleList(Block(shape, fused_attention) for _ in range(shape.n_layer))
        self.norm = (nn.RMSNorm if shape.llama else nn.LayerNorm)(d)
        self.head = nn.Linear(d, N_VOCAB, bias=False)
        nn.init.normal_(self.tokens.weight, std=min(0.02, 2 / d))
        for block in self.blocks:
            for linear, std_of_it in ((block.qkv, std), (block.up, std), (block.out, 0), (block.down, 0)):
                nn.init.normal_(linear.weight, std=std_of_it)
                if linear.bias is not None:
                    nn.init.zeros_(linear.bias)
        if shape.llama:
            nn.init.normal_(self.head.weight, std=std)
        else:
            self.head.weight = self.tokens.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Mean loss of predicting each token but the first. tokens: i64 b t+1."""
        x = math.sqrt(self.tokens.embedding_dim) * self.tokens(tokens[:, :-1])
        if self.positions is not None:
            x = x + self.positions
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.reshape(-1, N_VOCAB), tokens[:, 1:].reshape(-1))


class Trainer:
    """Updates of clipped Adam with warm-up and a cosine."""

    def __init__(self, model: Model, compiled: bool, fused_update: bool, rate: float = 1e-3, steps: int = 10_000):
        self.model = model
        self.loss = torch.compile(model) if compiled else model
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
        loss = self.loss(tokens)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        return loss.detach(), norm
