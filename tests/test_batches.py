"""Example i is a pure function of (seed, i); the held-out windows are the same for every run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.data.batches import SPAN, Batches, mix, permute, validation_documents, validation_span, validation_windows
from scaling.errors import InputError

SEPARATOR = 10**9  # no token of the streams below


def stream(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.uint32)


def batches_of(tokens: np.ndarray, n_ctx: int, unique_tokens: int, seed: int) -> Batches:
    return Batches(tokens, n_ctx, unique_tokens, seed, SEPARATOR)


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_every_key_gives_a_permutation(n, key):
    x = np.arange(n, dtype=np.uint64)
    np.testing.assert_array_equal(np.sort(permute(x, n, np.array([key], np.uint64))), x)


@given(st.integers(2**33, 2**60), st.lists(st.integers(0, 2**33 - 1), min_size=2, unique=True))
def test_positions_stay_apart_in_domains_too_large_to_list(n, positions):
    y = permute(np.array(positions, np.uint64), n, np.array([1], np.uint64))
    assert len(np.unique(y)) == len(positions)
    assert (y < n).all()


@pytest.mark.parametrize("n", [4, 7, 60])
def test_every_place_is_equally_likely_for_every_window(n):
    keys = mix(np.arange(4000, dtype=np.uint64))
    counts = np.stack(
        [np.bincount(permute(np.full(4000, i, np.uint64), n, keys).astype(int), minlength=n) for i in range(n)]
    )
    chi2 = ((counts - 4000 / n) ** 2 / (4000 / n)).sum(axis=1) / (n - 1)
    assert chi2.max() < 1 + 6 * np.sqrt(2 / (n - 1))  # six standard deviations of chi-square per degree of freedom


def test_every_epoch_predicts_every_unique_token_once():
    batches = batches_of(stream(1000), 8, 640, seed=3)
    assert batches.n_windows == 80
    for epoch in range(3):
        examples = batches.examples(epoch * 80, 80)
        assert examples.shape == (80, 9)
        assert examples.dtype == np.int32
        np.testing.assert_array_equal(np.sort(examples[:, 1:].ravel()), np.arange(640))
        np.testing.assert_array_equal(examples[:, 1] % 8, 0)
        np.testing.assert_array_equal(np.diff(examples[:, 1:], axis=1), 1)


def test_the_first_token_of_every_window_is_predicted_from_the_separator_alone():
    assert (batches_of(stream(100), 8, 64, seed=0).examples(0, 20)[:, 0] == SEPARATOR).all()
    assert (validation_windows(stream(100), 8, 5, SEPARATOR)[:, 0] == SEPARATOR).all()


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 59))
def test_an_example_does_not_depend_on_how_it_is_asked_for(start, count, cut):
    batches = batches_of(stream(500), 4, 52, seed=1)
    together = batches.examples(start, count)
    cut = min(cut, count)
    apart = np.concatenate([batches.examples(start, cut), batches.examples(start + cut, count - cut)])
    np.testing.assert_array_equal(together, apart)


def test_epochs_and_seeds_have_orders_of_their_own():
    order = [
        batches_of(stream(4000), 4, 4000, seed).examples(epoch * 1000, 1000)[:, 1]
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    for i in range(4):
        for j in range(i):
            assert np.mean(order[i] == order[j]) < 0.01


def test_the_order_is_that_of_every_other_machine():
    batches = batches_of(stream(100), 10, 100, seed=7)
    assert (batches.examples(0, 10)[:, 1] // 10).tolist() == [8, 9, 2, 3, 6, 7, 5, 1, 0, 4]
    assert (batches.examples(10**12, 10)[:, 1] // 10).tolist() == [4, 7, 2, 3, 0, 6, 5, 9, 1, 8]


def test_more_tokens_behind_the_unique_ones_change_nothing():
    short, long = (batches_of(stream(n), 8, 64, seed=0).examples(0, 20) for n in (64, 10_000))
    np.testing.assert_array_equal(short, long)


@pytest.mark.parametrize(
    ("n", "U", "message"),
    [
        (100, 60, "the nearest is 64"),
        (100, 0, "the nearest is 8"),
        (63, 64, "unique_tokens=64, but the training stream has 63"),
    ],
)
def test_impossible_numbers_of_unique_tokens_are_refused(n, U, message):
    with pytest.raises(InputError, match=message):
        batches_of(stream(n), 8, U, seed=0)


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 5000))
def test_held_out_windows_do_not_overlap_and_span_the_stream(n_ctx, n_windows, surplus):
    n = n_ctx * n_windows + surplus
    windows = validation_windows(stream(n), n_ctx, n_windows, SEPARATOR)
    assert windows.shape == (n_windows, n_ctx + 1)
    starts = windows[:, 1]
    assert starts[0] == 0
    assert (np.diff(starts) >= n_ctx).all()
    assert windows[-1, -1] < n
    # The gaps between windows, and the one after the last, differ by one window at most.
    gaps = np.diff([*starts // n_ctx, n // n_ctx])
    assert gaps.max() - gaps.min() <= 1


def test_held_out_windows_stay_when_the_stream_grows():
    long = stream(SPAN * 3)
    for n_windows in (10, SPAN // 8 // 2):
        need = validation_span(8 * n_windows)
        np.testing.assert_array_equal(
            validation_windows(long[:need], 8, n_windows, SEPARATOR), validation_windows(long, 8, n_windows, SEPARATOR)
        )


def test_a_validation_stream_that_is_too_short_is_refused():
    with pytest.raises(InputError, match="5 held-out windows of 8 tokens need 40 tokens, the validation stream has 39"):
        validation_windows(stream(39), 8, 5, SEPARATOR)


def test_each_held_out_window_knows_the_document_it_begins_in():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 40, 5_000)  # 7 ends a document
    windows = validation_windows(tokens, 16, 50, separator=7)
    found = validation_documents(tokens, 16, 50, separator=7)
    document = np.cumsum(np.concatenate(([0], tokens[:-1] == 7)))  # of each token; a separator belongs to what it ends
    starts = [next(i for i in range(5_000) if (tokens[i : i + 16] == window[1:]).all()) for window in windows]
    np.testing.assert_array_equal(found, document[starts])
    assert len(set(found)) > 20
