"""What a run and a study are: frozen dataclasses with every default written once, their checks, and a run's identity.

Configs are plain values: they go to JSON and back unchanged, and `identity` hashes what the result of a run depends on.
Nothing here imports JAX, so a study can be read, listed and checked in milliseconds.
"""

import contextlib
import contextvars
import dataclasses
import difflib
import functools
import hashlib
import inspect
import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from scaling import extensions, kinds, optimizers
from scaling.errors import InputError
from scaling.optimizers import OWN, Optimizer, having

T = TypeVar("T")
CHARACTERS = "characters:"  # what the tokenizers begin with that have a token for each of these characters
TASK = "task:"  # what the sources begin with that are questions and answers (scaling.data.tasks)
IMAGES = "images:"  # ... that are pictures (scaling.data.images)
GLYPHS = "glyphs:"  # ... that are names with their glyphs (scaling.data.glyphs)
PAIRS = "pairs:"  # what the sources begin with that are pairs of texts, the preferred one first (scaling.data.pairs)
_ROUNDED: contextvars.ContextVar[dict[str, None] | None] = contextvars.ContextVar("what was rounded", default=None)

WANTED = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}

SEMANTICS = 2  # raised when a default or the meaning of a field changes, so that no run aliases an older one
# Fields that came after SEMANTICS was set. At their defaults they say nothing new, and identities leave them out.
ADDED = (
    *("model.norm", "model.feed_forward", "model.qk_norm", "model.n_kv_head"),
    *("model.tied", "model.bias", "model.z_loss", "model.softcap"),
    *("model.parametrization", "model.base_width", "model.base_depth"),
    *("model.experts", "model.routing", "model.top_k", "model.capacity", "model.balance", "model.router_z"),
    "optim.independent_decay",
    "optim.end",
    "answers_after",
    "eval.answers",
    "eval.by_frequency",
    "eval.scores",
)
# Schedules at the peak up to a fall of their own, over the last `optim.decay` of the updates; one trunk until then.
COOLED = ("wsd", "wsd_linear", "two_stage")
# The first semantics: learned positions that were not scaled as tokens are, windows without a separator before them.
ADDED_TO_FIRST = (
    "optim.decay",
    "optim.warmup_tokens",
    "eval.noise",
    "eval.transfer",
    "eval.train_windows",
    "accumulate",
    "remat",
    "model.kind",
    "model.reuse",
)
UNKNOWN_TO_FIRST = ("model.positions", "model.rotary_base", "model.position_scale")


def _plain(config: Any, prefix: str = "") -> None:
    """Makes fields plain: NumPy's numbers, or 1e6 and 1 where 1_000_000 and 1.0 are meant, are the same run.

    Raises:
      InputError: a value of another type, or a number that is not finite.
    """
    for name, hint in _hints(type(config)).items():
        value = getattr(config, name)
        if type(value) is hint and (hint is not float or math.isfinite(value)):  # as nearly all are
            continue
        plain = _of_type(value, hint, f"{prefix}{name}")
        if plain is not value:
            object.__setattr__(config, name, plain)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """The type of each field: worked out once, as a study has thousands of runs."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _of_type(value: Any, hint: Any, label: str) -> Any:
    """`value` as a plain value of a field of this type."""
    if hint == int | None:
        return None if value is None else _of_type(value, int, label)
    if hint == tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise InputError(f"{label}={value!r}: wanted several texts, such as ('python',)")
        return tuple(_of_type(one, str, label) for one in value)
    if typing.get_origin(hint) is Literal:
        hint = str  # which of them it is, `_one_of` looks at
    wanted = WANTED.get(hint) or f"a {hint.__name__}"
    try:
        if isinstance(value, str) != (hint is str) or isinstance(value, bool) != (hint is bool):
            raise ValueError
        if hint is str:
            return str.__str__(value)
        plain = hint(value) if hint in (int, float) else value
        if plain != value or not isinstance(plain, hint) or (hint is float and not math.isfinite(plain)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{label}={value!r}: wanted {wanted}") from None
    return plain


def _positive(config: Any, *names: str, prefix: str = "") -> None:
    for name in names:
        if not getattr(config, name) > 0:
            label = prefix or ("model" if type(config).__name__ == "ModelConfig" else "")
            raise InputError(f"{label + '.' if label else ''}{name}={getattr(config, name)} must be positive")


def _one_of(config: Any, name: str, prefix: str = "") -> None:
    choices = typing.get_args(_hints(type(config))[name])
    if getattr(config, name) not in choices:
        label = f"{prefix}.{name}" if prefix else name
        raise InputError(f"{label}={getattr(config, name)!r}: wanted one of {', '.join(choices)}")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """One rung of the ladder: a model of one of the kinds in scaling.kinds.

    At their defaults, positions aside, the fields are the Transformer of Kaplan et al. (2020) section 2.1; norm,
    feed_forward, n_kv_head, tied and bias make it the one of the Llama models, see `scaling.ladder.llama`.
    """

    d_model: int
    n_layer: int  # 0: a Transformer that is embedding and logits alone
    n_head: int
    d_attn: int  # width of the queries over all heads; free of d_model
    d_ff: int
    n_vocab: int = 512
    n_ctx: int = 64
    dropout: float = 0.0
    kind: str = "transformer"  # a name in scaling.kinds.KINDS, or FILE.py:Name (scaling.extensions)
    reuse: int = 1  # times that a universal Transformer goes through its layers
    positions: Literal["rotary", "learned", "sinusoidal", "none"] = "rotary"  # see scaling.models.positions
    rotary_base: float = 10_000.0  # the longest wavelength is about 2 pi times it, in tokens
    position_scale: float = 1.0  # of learned or sinusoidal positions, relative to the tokens' scale
    norm: Literal["layer", "rms"] = "layer"  # rms: Zhang and Sennrich (2019), arXiv 1910.07467
    # swiglu: Shazeer (2020), arXiv 2002.05202, of three matrices; relu2: So et al. (2021), arXiv 2109.08668
    feed_forward: Literal["gelu", "swiglu", "relu2"] = "gelu"
    qk_norm: bool = False  # queries and keys normed by head: Wortsman et al. (2023), arXiv 2309.14322
    n_kv_head: int | None = None  # heads of keys and values: Ainslie et al. (2023), arXiv 2305.13245; None: n_head
    tied: bool = True  # whether the logits' matrix is the embedding
    bias: bool = True  # of linear layers and norms
    z_loss: float = 0.0  # times the mean of log^2 Z, in the training loss alone: Wortsman et al. (2023)
    softcap: float = 0.0  # logits are softcap tanh(logits / softcap): Gemma Team (2024), arXiv 2408.00118; 0: as is
    parametrization: Literal["standard", "mup", "completep"] = "standard"  # see scaling.parametrization
    base_width: int = 64  # of mup and completep: where they are the standard model
    base_depth: int = 2  # of completep
    experts: int = 1  # feed-forwards of d_ff of a routed layer, see scaling.models.routed
    routing: Literal["hash", "top_k", "expert_choice", "expert_choice_at_position"] = "top_k"
    top_k: int = 1  # experts of a token; under expert choice on average
    capacity: float = 1.25  # tokens that an expert takes at most, over those it would take if all took the same
    balance: float = 1e-2  # of top_k, times the loss that is 1 where experts are used alike: Fedus et al. (2021) eq. 4
    router_z: float = 1e-3  # times the router's mean log^2 Z: Zoph et al. (2022), arXiv 2202.08906, eq. 5

    def __post_init__(self):
        _plain(self, "model.")
        object.__setattr__(self, "kind", kinds.resolved(self.kind))
        kind = kinds.of(self)
        for name in ("positions", "norm", "feed_forward", "parametrization", "routing"):
            _one_of(self, name, "model")
        deep = ("n_layer",) if self.n_layer or not kind.embedding_alone else ()
        _positive(self, "d_model", *deep, "n_head", "d_attn", "d_ff", "n_vocab", "n_ctx", "reuse", "rotary_base")
        _positive(self, "base_width", "base_depth", "experts", "top_k", "capacity")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.dropout={self.dropout} is not a probability below 1; use 0 to 0.5")
        for name in ("z_loss", "softcap", "balance", "router_z"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"model.{name}={getattr(self, name)}: wanted a number from 0 on; use 0 for none")
        kinds.check(self)
        self._check_parametrization()

    def _check_parametrization(self) -> None:
        if self.parametrization != "completep" and self.base_depth != type(self).base_depth:
            raise InputError(
                f"model.base_depth={self.base_depth} with model.parametrization={self.parametrization}, which has no "
                "rule of depth; use --set model.parametrization=completep, or leave model.base_depth out"
            )
        if self.parametrization == "standard":
            if self.base_width != type(self).base_width:
                raise InputError(
                    f"model.base_width={self.base_width} with model.parametrization=standard, which has no base; "
                    "use --set model.parametrization=mup, or leave model.base_width out"
                )
            return
        if self.tied:
            raise InputError(
                f"model.parametrization={self.parametrization} with a head tied to the embedding, whose rules differ; "
                "use --set model.tied=false"
            )
        if not self.n_layer:
            raise InputError(
                f"model.parametrization={self.parametrization} with model.n_layer=0: its table is about layers; "
                "use model.parametrization=standard"
            )

    @property
    def N(self) -> int:
        """Non-embedding parameters, each counted once: Kaplan et al. (2020) eq. 2.1, or what the kind makes of it."""
        return kinds.of(self).N(self)

    @property
    def d_head(self) -> int:
        """The width of a head."""
        return self.d_attn // self.n_head

    @property
    def d_kv(self) -> int:
        """The width of the keys, and of the values, over all their heads."""
        return self.d_head * (self.n_kv_head or self.n_head)


def _on_disks(name: str, source: str) -> None:
    """Refuses a text in a bucket, also within another source."""
    if found := re.search(r"text:(?:[^()]*,)?\s*([A-Za-z][A-Za-z0-9+.-]+://[^\s,)]*)", source):
        raise InputError(
            f"{name}={source}: text is read from disks, and {found[1]} is none; copy it or mount the bucket "
            "(docs/buckets.md), or stage its tokens and name them tokens:ID (docs/launch/buckets.md)"
        )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the tokens come from. A run's identity holds the tokens themselves, not these names."""

    source: str = "python"  # python | text:GLOB | tfds:NAME | mix:0.7*A+0.3*B | tokens:ID | ..., see docs/data.md
    # bpe (learnt from the source, or that of a source that has its own) | bpe:SOURCE (learnt from another) | bytes |
    # characters:abc | path of a model; its size is model.n_vocab
    tokenizer: str = "bpe"
    validation: str = ""  # a source of its own for held-out text; empty: about 3 % of `source`, kept apart

    def __post_init__(self):
        _plain(self, "data.")
        for name in ("source", "tokenizer"):
            if not getattr(self, name):
                raise InputError(f"data.{name} is empty; leave it out for the default, or see docs/data.md")
        for name in ("source", "validation"):
            _on_disks(f"data.{name}", getattr(self, name))
        if self.source.startswith("tokens:") and self.validation:
            raise InputError(
                f"data.validation={self.validation}: {self.source} have held-out text of their own, and no other "
                "can be kept out of them now; leave it out, or prepare again with --validation"
            )


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """How the loss goes down."""

    learning_rate: float = 1e-3  # peak
    optimizer: str = "adam"  # one of scaling.optimizers.OPTIMIZERS, or FILE.py:Name (scaling.extensions)
    # After the warm-up, see scaling.schedules.
    schedule: Literal["cosine", "constant", "linear", "wsd", "wsd_linear", "two_stage"] = "cosine"
    warmup: float = 0.05  # share of the steps
    weight_decay: float = 0.0  # not with adam, on matrices; decoupled, see independent_decay
    b1: float = 0.9
    b2: float = 0.99  # 0.95 is too low at small batches: Porian et al. (2024)
    eps: float = 1e-8
    clip: float = 1.0  # global gradient norm
    decay: float = 0.2  # wsd, wsd_linear and two_stage: share of the steps in the cooldown that ends the run
    warmup_tokens: int | None = None  # in place of the share, so that runs of several lengths warm up alike
    independent_decay: bool = False  # the decay is multiplied by the schedule alone, not by the peak rate as well
    end: float = 0.0  # cosine and linear: share of the peak at which the rate ends

    def __post_init__(self):
        _plain(self, "optim.")
        resolved = extensions.resolved(self.optimizer, Optimizer, "optim.optimizer")
        object.__setattr__(self, "optimizer", resolved)
        facts = optimizers.of(resolved)
        _one_of(self, "schedule", "optim")
        _positive(self, "learning_rate", "eps", "clip", prefix="optim")
        if not 0 <= self.warmup < 1:
            raise InputError(f"optim.warmup={self.warmup} is a share of the steps; use 0 to 0.99, such as 0.05")
        if self.warmup_tokens is not None and self.warmup_tokens < 0:
            raise InputError(
                f"optim.warmup_tokens={self.warmup_tokens} is negative; use 0 or more, or none for a share"
            )
        if not 0 < self.decay <= 1:
            raise InputError(f"optim.decay={self.decay} is a share of the steps; use 0.01 to 1, such as 0.2")
        if self.schedule not in COOLED and self.decay != type(self).decay:
            raise InputError(
                f"optim.decay={self.decay} with optim.schedule={self.schedule}; only {', '.join(COOLED)} have a "
                "cooldown of their own: use --set optim.schedule=wsd, or leave optim.decay out"
            )
        if not 0 <= self.end < 1:
            raise InputError(f"optim.end={self.end} is a share of the peak; use 0 to 0.99, such as 0.1")
        if self.end and self.schedule not in ("cosine", "linear"):
            raise InputError(
                f"optim.end={self.end} with optim.schedule={self.schedule}; only cosine and linear end at a share of "
                "the peak: leave optim.end out"
            )
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"optim.{name}={getattr(self, name)} must lie in [0, 1)")
        if self.weight_decay < 0:
            raise InputError(f"optim.weight_decay={self.weight_decay} is negative; use 0 or more, such as 0.1")
        for name in OWN:
            value = getattr(self, name)
            if name not in facts.fields and value != getattr(type(self), name):
                raise InputError(
                    f"optim.{name}={value} with optimizer={self.optimizer}, which has none; leave it out, or "
                    f"use --set optim.optimizer={' or '.join(having(name))}"
                )


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """What is measured on the way: before the first step and after S/2^(j/k), j = 0, 1, ... updates.

    The held-out loss always, on the same windows for every run; the others where they are asked for.
    """

    windows: int = 256  # of n_ctx tokens each
    per_octave: int = 2  # k: evaluations per doubling of the tokens seen
    octaves: int = 7  # how far back from the last step
    noise: int = 0  # batches over which the gradient noise is measured each time
    transfer: tuple[str, ...] = ()  # other sources of held-out windows, read with the run's tokenizer
    train_windows: int = 0  # of the run's own first examples, whose loss is measured as the held-out one is
    answers: int = 0  # questions of each task of `transfer` whose answers are looked at (scaling.data.tasks)
    by_frequency: int = 0  # equal parts of the held-out tokens, from the commonest to the rarest, measured apart
    # pairs of each such source of `transfer` whose texts a reward model scores in the end; see histories.DIGITS
    scores: int = 0

    def __post_init__(self):
        _plain(self, "eval.")
        _positive(self, "windows", "per_octave", "octaves", prefix="eval")
        for name, most in (("octaves", 64), ("per_octave", 1000)):
            if getattr(self, name) > most:
                raise InputError(
                    f"eval.{name}={getattr(self, name)}: wanted {most} at most; 7 octaves, 2 each, are usual"
                )
        for name in ("noise", "train_windows", "answers", "by_frequency", "scores"):
            if getattr(self, name) < 0:
                raise InputError(f"eval.{name}={getattr(self, name)} is negative; use 0 for none")
        for source in self.transfer:
            _on_disks("eval.transfer", source)
        if len(set(self.transfer)) < len(self.transfer):
            raise InputError(f"eval.transfer={','.join(self.transfer)} names a source twice; name each once")
        if self.answers and not self.tasks:
            raise InputError(
                f"eval.answers={self.answers}, but eval.transfer has no task; give one, such as --set "
                f"'eval.transfer={TASK}sum?digits=3&first=900000', or leave eval.answers out"
            )

        if self.scores and not self.scored:
            raise InputError(
                f"eval.scores={self.scores}, but eval.transfer has no pairs; give some, such as --set "
                f"'eval.transfer={PAIRS}chain?first=10000000&items={self.scores}', or leave eval.scores out"
            )

    @property
    def scored(self) -> tuple[str, ...]:
        """The sources of `transfer` that are pairs of texts, where their scores are kept."""
        return tuple(name for name in self.transfer if name.startswith(PAIRS)) if self.scores else ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """The sources of `transfer` that are tasks, where their answers are looked at."""
        return tuple(name for name in self.transfer if name.startswith(TASK)) if self.answers else ()


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One training of one model."""

    model: ModelConfig
    tokens: int  # D processed
    # Examples are windows of the stream's first unique_tokens, each seen once per epoch; None: as many as `tokens`.
    # Where it exceeds `tokens`, the run sees so many of them once: thus runs of several lengths share their examples.
    unique_tokens: int | None = None
    batch: int = 16  # sequences of n_ctx tokens
    seed: int = 0  # initialisation, order of the examples, dropout
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the computation; parameters and loss are float32
    accumulate: int = 1  # parts of a batch, one after the other, where the whole does not fit into memory
    remat: Literal["none", "matmuls", "layers", "offload"] = (
        "none"  # what is computed twice to save memory: models.model.apply
    )
    # Only tokens after this id, up to the separator, count in the loss that is trained on and in that of held-out
    # windows: the answers, of a task alone. None: all tokens.
    answers_after: int | None = None
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    eval: EvalConfig = EvalConfig()

    def __post_init__(self):
        _plain(self)
        _one_of(self, "dtype")
        _one_of(self, "remat")
        _positive(self, "tokens", "batch", "accumulate")
        if self.batch % self.accumulate:
            raise InputError(
                f"accumulate={self.accumulate} does not divide batch={self.batch}; use a divisor, or 1 for the whole"
            )
        if self.eval.by_frequency > self.model.n_vocab:
            raise InputError(
                f"eval.by_frequency={self.eval.by_frequency}: wanted {self.model.n_vocab} at most, as many as the "
                "vocabulary has tokens; 10 are usual"
            )
        if self.remat != "none" and not kinds.of(self.model).remat:
            raise InputError(
                f"remat={self.remat} with model.kind={self.model.kind}, of which nothing is computed again; "
                "use remat=none"
            )
        if self.model.parametrization != "standard" and not optimizers.of(self.optim.optimizer).transfers:
            raise InputError(
                f"model.parametrization={self.model.parametrization} with optim.optimizer={self.optim.optimizer}: its "
                "table is about Adam; use --set optim.optimizer=adam or adamw"
            )
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed={self.seed} must lie between 0 and {2**32 - 1}")
        self._whole("tokens", self.batch_tokens, "a whole number of steps of batch x n_ctx tokens")
        if self.unique_tokens is not None:
            self._whole("unique_tokens", self.model.n_ctx, "a whole number of windows of n_ctx tokens")
        if self.optim.schedule in COOLED and self.warmup_steps + self.decay_steps > self.steps:
            raise InputError(
                f"the warm-up of {self.warmup_steps} updates and the cooldown of {self.decay_steps} do not fit into "
                f"tokens={self.tokens}, {self.steps} updates; use more tokens, or a smaller optim.decay or warm-up"
            )
        if self.warmup_steps > self.steps:
            raise InputError(
                f"optim.warmup_tokens={self.optim.warmup_tokens} exceeds tokens={self.tokens}; use a part of them"
            )
        if self.eval.noise and len(self.noise_batches) < 2:
            raise InputError(
                f"eval.noise={self.eval.noise} with batch={self.batch}: it compares halves; use an even batch"
            )
        self._check_pairs()
        if self.answers_after is not None and not 0 <= self.answers_after < self.model.n_vocab:
            raise InputError(
                f"answers_after={self.answers_after} is no id of model.n_vocab={self.model.n_vocab}; use that of the "
                "token between question and answer, or none"
            )
        if self.data.tokenizer == "bytes" and self.model.n_vocab != 257:
            raise InputError(
                f"model.n_vocab={self.model.n_vocab}, but data.tokenizer=bytes has 257 tokens: "
                "256 bytes and a separator; use --set model.n_vocab=257"
            )
        if self.data.tokenizer.startswith(CHARACTERS):
            n = len(self.data.tokenizer) - len(CHARACTERS) + 1
            if self.model.n_vocab != n:
                raise InputError(
                    f"model.n_vocab={self.model.n_vocab}, but data.tokenizer={self.data.tokenizer} has {n} tokens, "
                    f"with the separator; use --set model.n_vocab={n}"
                )

    def _check_pairs(self) -> None:
        """Raises InputError where a reward model is asked about tokens, or another one about pairs."""
        if not kinds.of(self.model).of_pairs:
            if self.eval.scores:
                raise InputError(
                    f"eval.scores={self.eval.scores} with model.kind={self.model.kind}, which gives texts no score; "
                    "use --set model.kind=reward, or leave eval.scores out"
                )
            return
        for name, value in (
            ("answers_after", self.answers_after),
            ("eval.answers", self.eval.answers or None),
            ("eval.by_frequency", self.eval.by_frequency or None),
        ):
            if value is not None:
                raise InputError(
                    f"{name}={value} with model.kind={self.model.kind}, whose loss is of pairs of texts; leave it out"
                )

    def _whole(self, name: str, unit: int, why: str) -> None:
        """Refuses a number of tokens that is no multiple of `unit`; while `rounded` lasts, takes the nearest.

        A D of less than half a unit is refused then too: the nearest is another question.
        """
        value, told = getattr(self, name), _ROUNDED.get()
        if value > 0 and value % unit == 0:
            return
        nearest = max(1, round(value / unit)) * unit
        if told is None or 2 * value < unit:
            raise InputError(f"{name}={value} is not {why} ({unit}); the nearest is {nearest}")
        told[f"{name}={value} is not {why} ({unit}): {nearest} is taken"] = None
        object.__setattr__(self, name, nearest)

    @property
    def pool(self) -> int:
        """Tokens of the stream from which the examples are drawn."""
        return self.tokens if self.unique_tokens is None else self.unique_tokens

    @property
    def U(self) -> int:
        """Unique tokens available to the run, the D of Kaplan's L(N, D)."""
        return min(self.pool, self.tokens)

    @property
    def by_token(self) -> bool:
        """Whether the loss is that of every token, given those before it; not of answers alone, nor of pairs."""
        return self.answers_after is None and not kinds.of(self.model).of_pairs

    @property
    def batch_tokens(self) -> int:
        """B, tokens per update."""
        return self.batch * self.model.n_ctx

    @property
    def steps(self) -> int:
        """S, parameter updates."""
        return self.tokens // self.batch_tokens

    @property
    def warmup_steps(self) -> int:
        if self.optim.warmup_tokens is not None:
            return math.ceil(self.optim.warmup_tokens / self.batch_tokens)
        return math.ceil(self.optim.warmup * self.steps)

    @property
    def decay_steps(self) -> int:
        """Updates of the cooldown at the end of a run, of a schedule that has one."""
        return math.ceil(self.optim.decay * self.steps) if self.optim.schedule in COOLED else 0

    @property
    def falling_steps(self) -> int:
        """Updates at the end of the run over which the rate falls; a constant one does not."""
        return self.decay_steps if self.optim.schedule in COOLED else self.steps - self.warmup_steps

    @property
    def noise_batches(self) -> tuple[int, ...]:
        """Batches, in sequences, at which the gradient's norm is measured: halves down to an eighth of the whole."""
        return tuple(self.batch // parts for parts in (8, 4, 2, 1) if self.batch % parts == 0)

    @property
    def eval_steps(self) -> tuple[int, ...]:
        """Updates after which the held-out loss is measured: 0 and log-spaced ones that include S/2 and S."""
        back = (
            self.steps * 2 ** (-j / self.eval.per_octave) for j in range(self.eval.octaves * self.eval.per_octave + 1)
        )
        return tuple(sorted({0} | {round(step) for step in back if step >= 1}))


@contextlib.contextmanager
def rounded(say: Callable[[str], object] | None) -> Iterator[None]:
    """While this lasts, a D that is no whole number of updates is the nearest that is, and a line says so at the end.

    Args:
        say: None for no rounding: such a D is refused.
    """
    told: dict[str, None] | None = None if say is None else {}
    before = _ROUNDED.set(told)
    try:
        yield
    finally:
        _ROUNDED.reset(before)
    for line in told or ():
        assert say
        say(line)


_SECTIONS = {"model": ModelConfig, "optim": OptimConfig, "eval": EvalConfig}


@dataclasses.dataclass(frozen=True)
class Study:
    """The runs that answer one question."""

    name: str
    question: str
    runs: tuple[RunConfig, ...]

    def __post_init__(self):
        for name in ("name", "question"):
            object.__setattr__(self, name, _of_type(getattr(self, name), str, f"{name} of the study"))
        if not self.name.isprintable():
            raise InputError(f"name of the study={self.name!r}: wanted characters that can be printed")
        if not self.runs:
            raise InputError(f"study {self.name!r} has no runs")


def identity(run: RunConfig, tokens_id: str, transfer_ids: Sequence[str] = (), semantics: int = SEMANTICS) -> str:
    """A run's id: a hash of everything its result depends on.

    `tokens_id` stands for the data (source and tokenizer): the same tokens under another path are the same run.
    `transfer_ids` do so for the sources in `eval.transfer`; without them their names are taken.
    `semantics` is that under which the run was trained.
    """
    fields: dict[str, Any] = to_dict(run) | {"unique_tokens": run.pool}
    del fields["data"]
    if transfer_ids:
        fields["eval"]["transfer"] = list(transfer_ids)
    if run.optim.warmup_tokens is not None:
        fields["optim"]["warmup"] = OptimConfig.warmup  # not looked at
    for key in (*ADDED, *(ADDED_TO_FIRST + UNKNOWN_TO_FIRST if semantics == 1 else ())):
        section, _, name = key.rpartition(".")
        holder, default = (getattr(run, section), _SECTIONS[section]) if section else (run, RunConfig)
        if getattr(holder, name) == getattr(default, name) or (semantics == 1 and key in UNKNOWN_TO_FIRST):
            del (fields[section] if section else fields)[name]
    text = json.dumps([semantics, tokens_id, fields], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def program(run: RunConfig) -> RunConfig:
    """`run` with all that is an array in its program set to one value: runs of equal programs can be one pack."""
    return dataclasses.replace(
        run,
        seed=0,
        tokens=run.batch_tokens,
        unique_tokens=None,
        data=DataConfig(),
        optim=dataclasses.replace(
            run.optim,
            learning_rate=1.0,
            optimizer=optimizers.program(run.optim.optimizer),
            schedule="constant",
            warmup=0.0,
            weight_decay=0.0,
            decay=OptimConfig.decay,
            warmup_tokens=None,
            independent_decay=False,
            end=0.0,
        ),
        eval=dataclasses.replace(run.eval, per_octave=1, octaves=1),
    )


def extended(runs: Iterable[RunConfig]) -> list[str]:
    """The names in these configs that are of the user's own code (`scaling.extensions`)."""
    names = {name for run in runs for name in (run.model.kind, run.optim.optimizer)}
    return sorted(filter(extensions.kept, names))


def to_dict(config: Any) -> dict[str, Any]:
    """The config as plain JSON values."""
    return dataclasses.asdict(config)


def from_dict(kind: type[T], values: Mapping[str, Any]) -> T:
    """The inverse of `to_dict`; refuses fields that `kind` does not have."""
    hints = _hints(kind)
    for name in values:
        if name not in hints:
            raise InputError(f"{kind.__name__} has no field {name!r}{_nearest(name, hints)}")
    return kind(
        **{
            name: from_dict(hints[name], value) if dataclasses.is_dataclass(hints[name]) else value
            for name, value in values.items()
        }
    )


def semantics_of(values: Mapping[str, Any]) -> int:
    """Under which semantics a run's config was written where nothing else tells: the first knew no `positions`."""
    return SEMANTICS if "positions" in values["model"] else 1


def recorded(values: Mapping[str, Any], semantics: int) -> RunConfig:
    """The config of a run that was trained under `semantics`, in today's fields: `from_dict` of what it was then.

    Raises:
      InputError: semantics or fields that this version does not know.
    """
    if semantics not in range(1, SEMANTICS + 1):
        raise InputError(f"runs of semantics {semantics!r}, this version knows 1 to {SEMANTICS}; use a newer version")
    if semantics == 1:
        model = values["model"]
        then = {"positions": "learned", "position_scale": 1 / math.sqrt(model["d_model"])}
        values = {**values, "model": {**model, **(then if model.get("kind") != "lstm" else {})}}
    with extensions.beside(None), rounded(None):  # whoever asks: a record names no file, and is as it was trained
        return from_dict(RunConfig, values)


def keys(kind: type = RunConfig, prefix: str = "") -> dict[str, Any]:
    """Every key that `--set` knows, dotted, with its type."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            found |= keys(typing.cast(type, hint), f"{prefix}{name}.")
        else:
            found[prefix + name] = hint
    return found


def override(run: RunConfig, settings: Mapping[str, str]) -> RunConfig:
    """`run` with dotted keys set from text, all at once: settings which need each other can be given together."""
    values = to_dict(run)
    for key, text in settings.items():
        *path, name = key.split(".")
        inner = values
        for part in path:
            inner = inner[part]
        inner[name] = parse(key, text, known_key(key, keys()))
    return from_dict(RunConfig, values)


def known_key(key: str, known: Mapping[str, T]) -> T:
    """known[key]; an unknown key is refused and the nearest known one named."""
    if key not in known:
        raise InputError(f"unknown key {key!r}{_nearest(key, known)}; known: {', '.join(known)}")
    return known[key]


def parse(key: str, text: str, hint: Any) -> Any:
    """The value that `text` means for a field of type `hint`.

    One of int, float, str, bool or a Literal; such a type or None; tuple or list of it, with commas between the values.

    Raises:
      InputError: the text is no such value, or the type is none of these.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union) and len(inner) == 2 and type(None) in inner:
        return None if text == "none" else parse(key, text, inner[inner[0] is type(None)])
    several = len(inner) == (2 if origin is tuple else 1) and inner[1:] in ((), (...,))
    if origin in (tuple, list) and several and (inner[0] in WANTED or typing.get_origin(inner[0]) is Literal):
        parts = text.split(",") if text not in ("", "none") else []
        return origin(parse(key, part.strip(), inner[0]) for part in parts)
    if origin is Literal:
        for value in inner:
            if str(value) == text:
                return value
        raise InputError(f"{key}={text}: wanted one of {', '.join(map(str, inner))}")
    if hint not in WANTED:
        raise InputError(
            f"{key}={text}: {key} is annotated {inspect.formatannotation(hint)}, for which no text can be given; "
            "wanted int, float, str, bool or a Literal, such a type or None, or tuple[int, ...] and list[int] of such"
        )
    try:
        if hint is bool:
            return {"true": True, "false": False}[text.lower()]
        if hint is int:
            value = float(text)  # so that 1e6 is an int as people write it
            if value != int(value):
                raise ValueError
            return int(text) if text.lstrip("+-").isdigit() else int(value)
        if hint is float:
            value = float(text)
            if not math.isfinite(value):
                raise ValueError
            return value
    except (ValueError, KeyError, OverflowError):
        raise InputError(f"{key}={text}: wanted {WANTED[hint]}") from None
    return text


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = (
        difflib.get_close_matches(name, known, 1, 0.5) or [key for key in known if key.rsplit(".", 1)[-1] == name][:1]
    )
    return f"; did you mean {close[0]!r}?" if close else ""
