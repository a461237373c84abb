"""What a model writes: token after token, each drawn from what the model expects after those before it.

A text is written in windows, as it was read in training: a window begins with the separator, and a document that ends
in it is followed by the next one. Of a window that is full the newest half begins the next, after a separator again: so
a token is drawn after at least n_ctx / 2 others of its text, once there are as many. Within a window the model's cache
holds what was read (`model.continued`).
"""

import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from scaling import kinds
from scaling.config import RunConfig
from scaling.models import model
from scaling.models.shared import Params


def write(
    run: RunConfig,
    params: Params,
    prompt: np.ndarray,
    keys: jax.Array,
    *,
    end: int,
    n_pieces: int,
    temperature: float = 1.0,
    top: int = 0,
    stop: bool = False,
) -> Iterator[np.ndarray]:
    """Tokens that follow, some of them at a time, without end. -> i32 b n

    Args:
      prompt: i32 b t, what the texts begin with, without a separator.
      keys: of as many random numbers; what is drawn of a text depends on its own alone.
      end: the separator.
      n_pieces: tokens that have a meaning: no other is drawn.
      temperature: by which logits are divided; 0 takes the likeliest each time.
      top: only the so many likeliest are drawn from; 0: all.
      stop: a window is left as soon as every text has ended a document in it.

    Raises:
      InputError: a model that writes no text (`Kind.writing`).
    """
    run = dataclasses.replace(run, model=kinds.of(run.model).writing(run.model))
    n_ctx = run.model.n_ctx
    ends = np.full((len(prompt), 1), end, np.int32)
    seen = np.asarray(prompt, np.int32)[:, max(0, prompt.shape[1] - n_ctx + 1) :]
    window = 0
    while True:
        tokens = np.concatenate([ends, seen], 1)  # b m
        uniform = _uniform(keys, window, n_ctx)
        drawn, n = _window(run, n_pieces, top, stop, params, jnp.asarray(tokens), uniform, temperature, end)
        written = np.asarray(drawn)[:, : int(n)]
        yield written
        seen = np.concatenate([seen, written], 1)[:, -(n_ctx // 2) :] if n_ctx > 1 else seen[:, :0]
        window += 1


def draw(logits: jax.Array, uniform: jax.Array, temperature: jax.Array | float, top: int = 0) -> jax.Array:
    """A token by each row of logits, where its random number falls among their probabilities. b v, b -> i32 b"""
    best = logits.argmax(-1)
    if 0 < top < logits.shape[-1]:
        logits = jnp.where(logits >= jax.lax.top_k(logits, top)[0][:, -1:], logits, -jnp.inf)
    scaled = logits / jnp.where(temperature > 0, temperature, 1.0)
    below = jnp.cumsum(jnp.exp(scaled - scaled.max(-1, keepdims=True)), -1)
    drawn = (below <= uniform[:, None] * below[:, -1:]).sum(-1)
    return jnp.where(temperature > 0, jnp.minimum(drawn, logits.shape[-1] - 1), best).astype(jnp.int32)


@functools.partial(jax.jit, static_argnums=2)
def _uniform(keys: jax.Array, window: int, n: int) -> jax.Array:
    """Random numbers in [0, 1) of each text for one window, f32 b n."""
    return jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, window), (n,)))(keys)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _window(run, n_pieces, top, stop, params, tokens, uniform, temperature, end):
    """What follows on tokens b m up to the end of the window: i32 b n_ctx, and how many of them there are."""
    b, m = tokens.shape
    n_ctx = run.model.n_ctx

    def after(cache, tokens, at):
        logits, cache = model.continued(run.model, params, tokens, cache, at, dtype=run.dtype)
        return logits[:, -1, :n_pieces].astype(jnp.float32), cache

    def goes_on(state):
        n, _, _, _, ended = state
        return (n < n_ctx - m + 1) & ~(stop & ended.all())

    def one(state):
        n, logits, cache, drawn, ended = state
        token = draw(logits, uniform[:, n], temperature, top)
        drawn = jax.lax.dynamic_update_slice_in_dim(drawn, token[:, None], n, 1)
        at = jnp.minimum(m + n, n_ctx - 1)  # after the last one nothing is drawn any more
        return n + 1, *after(cache, token[:, None], at), drawn, ended | (token == end)

    first = after(model.cache(run.model, b, run.dtype), tokens, 0)
    state = (jnp.array(0), *first, jnp.zeros((b, n_ctx), jnp.int32), jnp.zeros(b, bool))
    n, _, _, drawn, _ = jax.lax.while_loop(goes_on, one, state)
    return drawn, n
