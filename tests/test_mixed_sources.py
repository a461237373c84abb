"""Sources made of others: shares that are exact, rules that do what they say, held-out text that stays what it is."""

import itertools
import json
import pickle
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_encoding import make, texts_of, write_texts

from analysis import records
from scaling import study, train
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.data import encoding, expressions, index, mixture, quality, token_set
from scaling.data.corpora import open_corpus
from scaling.data.documents import PIECE, Document, read
from scaling.data.index import on_held_out_side
from scaling.data.token_set import describe
from scaling.data.tokenizer import bytes_tokenizer
from scaling.errors import InputError
from scaling.ladder import transformer

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> tuple[Path, dict[str, list[str]]]:
    folder = tmp_path_factory.mktemp("three")
    return folder, {name: write_texts(folder / name, n, n) for name, n in (("a", 800), ("b", 120), ("c", 300))}


def source(folder: Path, name: str) -> str:
    return f"text:{folder}/{name}/*.jsonl"


def documents(source: str) -> list[str]:
    return [document.text for part in open_corpus(source).parts() for _, document in read(part)]


# Mixtures


@pytest.mark.parametrize("seed", range(8))
def test_the_first_tokens_of_a_mixture_hold_each_share_to_within_a_document_however_many_they_are(seed):
    rng = np.random.default_rng(seed)
    lengths = [rng.integers(1, 400, rng.integers(1, 300)) for _ in range(rng.integers(2, 6))]
    shares = rng.dirichlet(np.ones(len(lengths))).tolist()
    most = 40_000
    parts, documents = mixture.order(lengths, shares, most)
    of = np.array([lengths[part][document] for part, document in zip(parts, documents, strict=True)])
    assert of.sum() >= most
    for n, share in enumerate(shares):
        filled = np.cumsum(np.where(parts == n, of, 0))
        assert np.abs(filled - share * np.cumsum(of)).max() <= 2 * max(map(max, lengths))
        again = documents[parts == n]  # in order, from the beginning after the end
        assert (again == np.arange(len(again)) % len(lengths[n])).all()
    fewer = mixture.order(lengths, shares, most // 7)
    assert all((short == long[: len(short)]).all() for short, long in zip(fewer, (parts, documents), strict=True))


def test_a_mixture_is_made_of_its_parts_documents_by_share_and_grows_without_a_change(three, tmp_path):
    folder, texts = three
    mixed = f"mix:0.6*{source(folder, 'a')} + 0.3*{source(folder, 'b')}+0.1*{source(folder, 'c')}"
    few = make(mixed, tmp_path, train=30_000, validation=500)
    first = np.array(few.train)
    many = make(mixed, tmp_path, train=200_000, validation=500)
    assert many.id == few.id
    assert (many.train[: len(first)] == first).all()
    whose = {text: name for name, own in texts.items() for text in own}
    counts, tokens = Counter(), Counter()
    for text in texts_of(many.tokenizer, many.train)[:-1]:
        counts[text] += 1
        tokens[whose[text]] += len(many.tokenizer.encode_batch([text])[0])
    total = tokens.total()
    assert {name: round(n / total, 2) for name, n in tokens.items()} == {"a": 0.6, "b": 0.3, "c": 0.1}
    epochs = {name: {counts[text] for text in own if text in counts} for name, own in texts.items()}
    assert epochs["a"] == epochs["c"] == {1}
    b = many.manifest["parts"][[part["share"] for part in many.manifest["parts"]].index(0.3)]
    read_times = 0.3 * 200_000 / b["tokens"]
    assert epochs["b"] == {int(read_times), int(read_times) + 1}
    told = f"{b['source']}: its {b['tokens']:,} tokens are read {read_times:.3g} times in 0.3 of 200,000"
    assert told in map(str, token_set.repeats(many, 200_000))
    assert f"0.3 of {b['source']}" in describe(many)
    held_out = set(texts_of(many.tokenizer, many.validation))
    assert not held_out & counts.keys()
    many.verify()


def test_how_a_mixture_is_typed_does_not_matter_and_its_shares_do(three, tmp_path):
    folder, _ = three
    a, b = source(folder, "a"), source(folder, "b")
    one, same, other = (
        make(mixed, tmp_path, train=5_000, validation=200)
        for mixed in (f"mix:0.75*{a}+0.25*{b}", f"mix:.25*{b} + 7.5e-1*{a}", f"mix:0.5*{a}+0.5*{b}")
    )
    elsewhere = make(f"mix:.25*{b} + 7.5e-1*{a}", tmp_path / "elsewhere", train=5_000, validation=200)
    assert one.id == same.id == elsewhere.id != other.id
    assert (one.train == elsewhere.train).all()
    assert one.tokenizer.hash == other.tokenizer.hash  # so that losses under several shares can be compared


def test_a_sliver_of_a_source_is_read_again_and_again(three, tmp_path):
    folder, _ = three
    a = source(folder, "a")
    mixed = make(f"mix:0.9*{a}+0.1*first({a}, tokens=2000)", tmp_path, train=100_000, validation=500)
    documents = texts_of(mixed.tokenizer, mixed.train)[:-1]
    plain = texts_of(mixed.tokenizer, make(a, tmp_path, train=100_000, validation=500).train)
    counts = Counter(documents)
    sliver = [text for text in counts if counts[text] > 2]
    assert sliver[:-1] == plain[: len(sliver) - 1]
    assert plain[len(sliver) - 1].startswith(sliver[-1])  # cut
    assert sum(len(ids) for ids in mixed.tokenizer.encode_batch(sliver)) == pytest.approx(2000, abs=5)
    assert {counts[text] for text in sliver[:-1]} <= {6, 7}  # 10,000 tokens of 2,000, and once in its own place
    (part,) = (part for part in mixed.manifest["parts"] if part["share"] == 0.1)
    assert part == {"source": f"first({a}, tokens=2000)", "share": 0.1, "tokens": 2000}


def test_what_one_part_holds_out_another_does_not_train_on(three, tmp_path):
    folder, texts = three
    again = tmp_path / "again"
    write_texts(again, 100, 9)
    (again / "copies.jsonl").write_text("".join(json.dumps({"text": f"{text}\n"}) + "\n" for text in texts["c"]))
    said = []
    mixed = make(f"mix:0.5*{source(folder, 'c')}+0.5*text:{again}/*.jsonl", tmp_path, 150_000, 400, say=said.append)
    held_out = {text.strip() for text in texts_of(mixed.tokenizer, mixed.validation)}
    trained = {text.strip() for text in texts_of(mixed.tokenizer, mixed.train)}
    assert not (held_out - {""}) & trained
    assert any("held out of another part" in line for line in said)


def test_a_mixture_with_held_out_text_of_its_own_is_evaluated_on_that(three, tmp_path):
    folder, texts = three
    mixed = make(
        f"mix:0.5*{source(folder, 'a')}+0.5*{source(folder, 'b')}", tmp_path, validation_source=source(folder, "c")
    )
    assert set(texts_of(mixed.tokenizer, mixed.validation)[:-1]) <= set(texts["c"])


def test_another_text_fills_one_that_stays_as_it_is_in_its_vocabulary_and_on_its_held_out_text(
    three, long, tmp_path, monkeypatch
):
    monkeypatch.setattr(index, "CUT", 4)  # so that the long documents are whole beside a text that is always cut
    U, D, other = 100_000, 400_000, f"{source(three[0], 'b')}?cut=4096"
    alone = make(long, tmp_path, D, 500)
    mixed = f"mix:0.5*first({long}, tokens={U})+0.5*{other}"
    named = {"tokenizer": f"bpe:{long}", "validation_source": f"held_out({long})"}
    filled = make(mixed, tmp_path, D, 500, **named)
    assert filled.tokenizer.hash == alone.tokenizer.hash
    assert (filled.validation == alone.validation).all()
    *text, _ = texts_of(alone.tokenizer, alone.train[:U])
    times = Counter(texts_of(filled.tokenizer, filled.train[:D]))
    assert len(text[0]) > PIECE
    assert [times[one] for one in text] == [2] * len(text)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("mix:0.5*python", "1 sources"),
        ("mix:0.5*python+0.4*synthetic:", "add up to 0.9, wanted 1"),
        ("mix:half*python+0.5*synthetic:", "is not SHARE*SOURCE"),
        ("mix:0*python+1*synthetic:", "is not SHARE*SOURCE"),
        ("mix:nan*python+1*synthetic:", "is not SHARE*SOURCE"),
        ("mix:0.5*python+0.5*python", "comes twice"),
        ("mix:0.5*python+0.5*tokens:abc", "cannot be a part"),
        ("mix:0.5*synthetic:+0.5*corrupt(synthetic:)", "no share"),
        ("mix:0.5*python+0.5*first(python)", "wants a number of tokens"),
        ("corrupt(python, share=2)", "share=2, wanted share from 0 to 1"),
        ("duplicate(python, share=0.1, times=2.5)", "times=2.5"),
        ("corrupt(text:a.jsonl, share=0.5", "a bracket is not closed (1 opened, 0 closed)"),
        ("mix:0.5*python+0.5*dedup(corrupt(text:a.jsonl, share=0.5)", "a bracket is not closed (1 opened, 0 closed)"),
        ("shuffle(python)", "unknown rule 'shuffle'"),
        ("dedup(python, by=x)", "unknown option 'by'"),
        ("corrupt(python, share=0.1, share=0.2)", "given twice"),
        ("corrupt(mix:0.5*python+0.5*synthetic:, share=0.1)", "a rule changes one text"),
        ("first(python, tokens=9)", "is a part of a mixture"),
        ("dedup(" * 40 + "python" + ")" * 40, "wanted at most 16"),
        ("mix:0.5*synthetic:bytes=1e5+0.5*text:SECURITY.md", "too little to hold any of it out"),
        ("corrupt(nothing, share=0.1)", "unknown source 'nothing'"),
        ("filter(python, keep=0, by=python)", "by=SOURCE), or by=perplexity(STUDY/RUN)"),
        ("filter(python, by=python)", "by=SOURCE), or by=perplexity(STUDY/RUN)"),
    ],
)
def test_what_cannot_be_mixed_ends_in_one_line(tmp_path, typed, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        make(typed, tmp_path)
    assert "\n" not in str(caught.value)


def test_of_a_stream_that_holds_nothing_yet_a_mixture_has_no_documents(three, tmp_path):
    maker = encoding._Maker(source(three[0], "b"), "", tmp_path, 1, lambda line: None)
    tokens = maker.open(bytes_tokenizer(), {"train": 1_000})
    stream = encoding._Stream.of(tokens, "validation", np.ones(len(maker.rows("validation")), bool), None)
    assert (len(stream.starts), len(stream.lengths), stream.whole) == (0, 0, False)


def test_brackets_keep_together_what_belongs_together():
    typed = "0.5*corrupt(mix(a+0.1*b), share=0.1)+0.5*text:c+d/*.txt"
    assert expressions.split(typed, mixture.NEXT) == ["0.5*corrupt(mix(a+0.1*b), share=0.1)", "0.5*text:c+d/*.txt"]
    assert expressions.call("f(g(synthetic:a=1,b=2, x=1), y=2)") == ("f", "g(synthetic:a=1,b=2, x=1)", {"y": "2"})
    assert expressions.call("text:a(1).txt") is None


def test_of_many_mixtures_the_one_that_reads_a_part_most_often_is_told(three, tmp_path, cache):
    a, b = (source(three[0], name) for name in "ab")
    model, said = transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16), []
    data = [DataConfig(f"mix:{1 - k / 10:g}*{a}+{k / 10:g}*first({b}, tokens=400)", "bytes") for k in (4, 6, 5)]
    runs = tuple(RunConfig(model, tokens=4096, batch=4, data=one, eval=EvalConfig(windows=4)) for one in data)
    study.prepare(Study("mixed", "?", runs), tmp_path / "study", workers=1, say=said.append)
    (told,) = (line for line in said if "are read" in line)
    assert told.startswith(f"first({b}, tokens=400): its 400 tokens are read 6.14 times in 0.6 of 4,096")
    assert told.endswith("and fewer times in 2 other mixtures")
    assert sum("its largest document" in line for line in said) <= 1


@pytest.mark.usefixtures("unoptimised")
def test_a_study_of_mixtures_tells_the_share_of_each_source(tmp_path, cache):
    one, two = (f"synthetic:order=1,symbols={n},bytes=1e5" for n in (8, 16))
    runs = tuple(
        RunConfig(
            transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16),
            tokens=256,
            batch=4,
            data=DataConfig(source, "bytes"),
            optim=OptimConfig(learning_rate=1e-2),
            eval=EvalConfig(windows=16),
        )
        for source in (f"mix:0.25*{one}+0.75*{two}", two)
    )
    whole = study.prepare(Study("mixed", "?", runs), tmp_path / "study", pack=1, workers=1, say=lambda line: None)
    for pack in whole.packs:
        stream = token_set.open_tokens(Path(whole.tokens[pack.runs[0].tokens_id]))
        configs, folder = [run.config for run in pack.runs], whole.pack_folder(pack)
        train.train(configs, stream.train, stream.validation, folder, separator=stream.separator)
    table = records.read(tmp_path / "study").runs
    assert sorted(zip(table[f"share_{one}"], table[f"share_{two}"], strict=True)) == [(0, 1), (0.25, 0.75)]
    mixed = table[f"share_{one}"] > 0
    assert 0.99 < table["train_bytes_per_token"][mixed][0] < 1  # a byte is a token, and a separator none
    assert np.isnan(table["train_bytes_per_token"][~mixed]).all()


def test_a_study_tells_what_a_rule_left_of_its_text(tmp_path, cache):
    write_texts(tmp_path / "a", 400)
    model = transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16)
    copied = f"duplicate({source(tmp_path, 'a')}, share=0.2, times=5)"
    runs = tuple(
        RunConfig(model, tokens=256, batch=4, data=DataConfig(text, "bytes"), eval=EvalConfig(windows=8))
        for text in (copied, f"dedup({copied})")
    )
    whole = study.prepare(Study("rules", "What was left out?", runs), tmp_path / "s", workers=1, say=lambda line: None)
    told = [made for pack in study.read(tmp_path / "s").packs for run in pack.runs if (made := run.made)]
    assert told == [run.made for pack in whole.packs for run in pack.runs]
    left, found = sorted(told, key=lambda made: made.near_duplicates)
    assert left.documents == found.documents > 600
    assert left.near_duplicates == 0
    assert 0.5 * (left.documents - 400) < found.near_duplicates <= left.documents - 400


def test_the_form_of_a_source_is_that_of_any_other_text_made_into_it():
    typed = "mix:0.9*{0}+0.1*first(corrupt({0}, share=0.5), tokens=9)"
    assert mixture.form(typed.format("text:a/*.txt,b.md")) == mixture.form(typed.format("python")) == typed.format("A")
    assert mixture.form("mix:0.5*python+0.5*synthetic:") == "mix:0.5*A+0.5*B"
    assert mixture.form("text:a+b/(1).txt") == "A"
    own, other = (mixture.form(f"filter(corrupt(text:a), keep=0.5, by={by})") for by in ("text:a", "text:b"))
    assert (own, other) == ("filter(corrupt(A), keep=0.5, by=A)", "filter(corrupt(A), keep=0.5, by=B)")


# Rules


def words(text: str) -> list[str]:
    return text.split()


def test_corruption_replaces_half_the_words_of_its_share_of_the_documents_and_no_held_out_one(three, tmp_path):
    folder, _ = three
    plain, typed = source(folder, "a"), f"corrupt({source(folder, 'a')}, share=0.4)"
    before, after = documents(plain), documents(typed)
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(pairs) / len(before) == pytest.approx(0.4 * 0.97, abs=3 * np.sqrt(0.24 / len(before)))
    same = [[x == y for x, y in zip(words(old), words(new), strict=True)] for old, new in pairs]
    assert np.mean(list(itertools.chain.from_iterable(same))) == pytest.approx(0.5, abs=0.02)
    assert all(list(map(len, words(old))) == list(map(len, words(new))) for old, new in pairs)
    assert after == documents(typed) != documents(typed.replace(")", ", seed=1)"))
    clean, corrupted = (make(one, tmp_path, validation=2000, tokenizer="bytes", n_vocab=257) for one in (plain, typed))
    assert clean.id != corrupted.id
    assert (clean.validation == corrupted.validation).all()


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> str:
    """A source whose documents are all cut."""
    folder, rng = tmp_path_factory.mktemp("long"), random.Random(0)
    vocabulary = ["".join(rng.choice("abcdefghij") for _ in range(rng.randint(2, 9))) for _ in range(2000)]
    rows = [{"text": " ".join(rng.choice(vocabulary) for _ in range(12_000))} for _ in range(60)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"text:{folder}/a.jsonl"


def test_the_held_out_text_of_a_source_is_what_no_training_on_it_reads(three, long, tmp_path):
    for one in (source(three[0], "a"), long):
        alone = make(one, tmp_path, 200_000, 500)
        beside = make(one, tmp_path, 200_000, 500, validation_source=f"held_out({one})")
        assert (alone.validation == beside.validation).all()
        assert (alone.train[:200_000] == beside.train[:200_000]).all()
    a, b = source(three[0], "a"), source(three[0], "b")
    mixed = make(f"mix:0.5*{long}+0.5*{a}", tmp_path, 200_000, 500)
    for part in (long, a):
        of_part = make(f"mix:0.5*{long}+0.5*{a}", tmp_path, 1, 500, validation_source=f"held_out({part})")
        trained, held_out = (
            set(texts_of(of_part.tokenizer, stream)) - {""} for stream in (mixed.train, of_part.validation)
        )
        assert len(held_out) > 3
        assert not held_out & trained
    with pytest.raises(InputError, match="is to evaluate on"):
        make(f"held_out({b})", tmp_path)


def test_rules_leave_what_is_held_out_as_it_is_in_long_documents_too(three, long, tmp_path):
    like = f"filter({{}}, keep=0.5, by={source(three[0], 'b')})"
    plain = make(f"{long}?cut=16384", tmp_path, 100_000, 2_000)
    for rule in ("corrupt({}, share=1)", "duplicate({}, share=1, times=2)", like):
        changed = make(rule.format(long), tmp_path, 100_000, 2_000)
        assert changed.tokenizer.hash == plain.tokenizer.hash  # so that losses can be compared
        assert (changed.validation == plain.validation).all()
        held_out = set(texts_of(plain.tokenizer, plain.validation)) - {""}
        assert not held_out & set(texts_of(changed.tokenizer, changed.train))


def test_beside_held_out_text_of_its_own_a_rule_meets_all_that_is_trained_on(three, tmp_path):
    folder, texts = three
    found = make(f"corrupt({source(folder, 'a')}, share=1)", tmp_path, 200_000, validation_source=source(folder, "c"))
    assert not set(texts["a"]) & set(texts_of(found.tokenizer, found.train))


def test_near_copies_across_parts_are_told(three, tmp_path):
    folder, texts = three
    (tmp_path / "near").mkdir()
    near = [text.replace("The ", "Teh ", 1) + " And so on." for text in texts["a"]]
    (tmp_path / "near/near.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in near))
    mixed = make(f"mix:0.5*{source(folder, 'a')}+0.5*text:{tmp_path}/near/*.jsonl", tmp_path, 20_000, 400)
    counts = mixed.manifest["corpora"][source(folder, "a")]
    assert counts["held_out_near_copies"] > 0.5 * counts["held_out"]
    assert f"{counts['held_out_near_copies']} of {counts['held_out']} documents nearly repeat" in describe(mixed)


def test_near_copies_are_planted_at_the_rate_asked_for_and_dedup_finds_them(tmp_path):
    rng = random.Random(0)
    vocabulary = ["".join(rng.choice("abcdefghij") for _ in range(rng.randint(2, 9))) for _ in range(2000)]
    rows = [{"text": " ".join(rng.choice(vocabulary) for _ in range(300))} for _ in range(400)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    typed = f"duplicate(text:{tmp_path}/a.jsonl, share=0.25, times=4)"
    planted = documents(typed)
    originals = {row["text"] for row in rows}
    assert originals <= set(planted)
    assert len(set(planted)) == len(planted)
    n_copied = (len(planted) - len(rows)) / 3
    assert n_copied == int(n_copied)
    assert n_copied / len(rows) == pytest.approx(0.25 * 0.97, abs=3 * np.sqrt(0.19 / len(rows)))
    mixed = make(typed, tmp_path / "cache", train=300_000, validation=500)
    assert mixed.manifest["corpora"][typed]["near_duplicates"] == 0
    found = make(f"dedup({typed})", tmp_path / "cache", train=100_000, validation=500).manifest
    dropped = found["corpora"][f"dedup({typed})"]["near_duplicates"]
    assert 0.9 * (len(planted) - len(rows)) <= dropped <= len(planted) - len(rows)


def test_what_each_rule_did_is_counted_and_shown(three, tmp_path):
    plain = source(three[0], "b")
    n = sum(not on_held_out_side(Document("", text, "")) for text in three[1]["b"])
    copied, corrupted = f"duplicate({plain}, share=0.3, times=4)", f"corrupt({plain}, share=0.4, seed=3)"
    typed = f"filter({corrupted}, keep=0.25, by={plain})"
    shown = {rule: describe(make(rule, tmp_path, 3_000, 200, workers=2)) for rule in (copied, typed)}
    met = sum(old != new for old, new in zip(documents(plain), documents(corrupted), strict=True))
    kept = sum(not on_held_out_side(Document("", text, "")) for text in documents(typed))
    assert f"  corrupted by {corrupted}: {met} of {n} documents" in shown[typed]
    assert f"  kept by {typed}: {kept} of {n} documents that are not held out, with scores of at least" in shown[typed]
    met = (len(documents(copied)) - len(documents(plain))) // 3
    assert f"  repeated with changes by {copied}: {met} of {n} documents" in shown[copied]


def test_a_changed_document_is_found_again_by_its_place(three):
    folder, _ = three
    for part in open_corpus(f"duplicate({source(folder, 'b')}, share=0.5, times=3)").parts():
        whole = dict(read(part))
        some = sorted(whole)[1::5]
        assert dict(read(part, some)) == {place: whole[place] for place in some}


def test_a_filter_keeps_the_share_asked_for_of_what_is_most_like_the_text_it_is_given(tmp_path):
    rng = random.Random(0)
    kinds = {
        kind: ["".join(rng.choice(letters) for _ in range(rng.randint(2, 9))) for _ in range(300)]
        for kind, letters in (("good", "abcdefgh"), ("bad", "fghijklm"))
    }

    def write(name: str, kinds_: list[str]) -> list[str]:
        texts = [" ".join(rng.choice(kinds[kind]) for _ in range(rng.randint(50, 150))) for kind in kinds_]
        (tmp_path / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        return texts

    write("like.jsonl", ["good"] * 100)
    mixed = ["good"] * 150 + ["bad"] * 450
    texts = write("web.jsonl", mixed)
    whose = dict(zip(texts, mixed, strict=True))
    web = f"text:{tmp_path}/web.jsonl"
    for keep, good in ((0.2, 1.0), (0.5, 0.5), (1.0, 0.25)):
        every = documents(f"filter({web}, keep={keep}, by=text:{tmp_path}/like.jsonl)")
        held_out, kept, all_of_it = (
            [text for text in some if on_held_out_side(Document("", text, "")) == side]
            for some, side in ((every, True), (every, False), (texts, False))
        )
        assert len(held_out) == len(texts) - len(all_of_it)
        assert sum(map(len, kept)) / sum(map(len, all_of_it)) == pytest.approx(keep, abs=0.003)
        assert np.mean([whose[text] == "good" for text in kept]) == pytest.approx(good, abs=0.04)
    made = make(f"filter({web}, keep=0.2, by=text:{tmp_path}/like.jsonl)", tmp_path / "cache", 5000, 200)
    plain = make(web, tmp_path / "cache", 5000, 200)
    assert set(texts_of(made.tokenizer, made.validation)) == set(texts_of(plain.tokenizer, plain.validation))


def test_what_a_filter_gives_a_pair_is_what_the_documentation_says_it_is():
    rng, (wanted, there) = np.random.default_rng(0), np.zeros((2, quality.BINS))
    for counts, n, most in ((wanted, 50_000, 3_000), (there, 100_000, 20_000)):
        np.add.at(counts, (most * rng.random(n) ** 2).astype(int), 1)
    scores = quality.log_ratios(wanted, there)
    lacking, n_pairs, empty = wanted == 0, wanted.sum(), (there == 0).sum()
    np.testing.assert_allclose(scores[lacking], -np.log(1 + n_pairs / 1e4))
    q = np.maximum(there, 1) / (there.sum() + empty)
    np.testing.assert_allclose(scores, np.log((wanted + 1e4 * q) / (n_pairs + 1e4)) - np.log(q))
    both = ~lacking & (there > 0)
    p = there[both] / there.sum()
    more = scores[both] - np.log((wanted[both] + 1e4 * p) / (n_pairs + 1e4) / p)
    assert 0 < more.min() < more.max() < np.log(1 + empty / there.sum()) < 3.8


def test_each_part_of_a_filtered_text_goes_to_another_process_without_the_scores_of_all_bins(three):
    folder, _ = three
    parts = open_corpus(f"filter({source(folder, 'a')}, keep=0.5, by={source(folder, 'b')})").parts()
    sent = pickle.dumps(parts[0])
    assert len(sent) < 10_000
    assert list(read(pickle.loads(sent))) == list(read(parts[0]))


@pytest.mark.parametrize("long", [False, True])
def test_a_filter_by_a_short_text_or_a_long_one_of_another_kind_keeps_no_gibberish(tmp_path, long):
    """Random letters are rarer in a text than what it says, and where many pairs share a bin they meet those of a text
    that fills the bins; neither must be a reason to keep them.
    """
    rng, zipf = random.Random(0), [1 / n for n in range(1, 4001)]
    vocabulary, others = (
        ["".join(rng.choice("abcdefghij") for _ in range(rng.randint(2, 9))) for _ in zipf] for _ in "ab"
    )
    texts = [" ".join(rng.choices(vocabulary, zipf, k=rng.randint(50, 350))) for _ in range(1030)]
    if long:  # it has the commonest words in common with the pool, and they are not its commonest
        others = [*others[:200], *vocabulary[:1000], *others[1200:]]
        like = [" ".join(rng.choices(others, zipf, k=rng.randint(50, 350))) for _ in range(3000)]
    else:
        like = texts[:30]
    clean = set(texts)
    for name, some in (("pool", texts[30:]), ("by", like)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in some))
    pool = f"corrupt(text:{tmp_path}/pool.jsonl, share=0.5)"
    every = documents(f"filter({pool}, keep=0.1, by=text:{tmp_path}/by.jsonl)")
    kept = [text for text in every if not on_held_out_side(Document("", text, ""))]
    assert len(kept) > 50
    assert np.mean([text not in clean for text in kept]) < 0.05
