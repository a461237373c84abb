"""What a page opens with: the main claims of a paper in words, and sentences made of their verdicts and numbers."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from analysis import digits
from analysis.papers.claim import Claim, Verdict, sentence


@dataclasses.dataclass(frozen=True)
class Summary:
    """What of a paper stands at the head of its page.

    Attributes:
        claims: what the paper states, a clause in words, by the label of its claim, such as "alpha_N (1.1)".
        figures: those that carry the paper, by name; three or four.
        beyond: what no run at this scale can decide; its sentence ends what the page opens with.
    """

    claims: Mapping[str, str] = dataclasses.field(default_factory=dict)
    figures: tuple[str, ...] = ()
    beyond: str = ""

    def stated(self, claims: Iterable[Claim]) -> dict[Claim, str]:
        """Those of these claims that are main ones, each with its words, in our order."""
        found = {claim.label: claim for claim in claims}
        return {found[label]: words for label, words in self.claims.items() if label in found}


def sentences(stated: Mapping[Claim, str]) -> list[str]:
    """What holds, what differs, whether another analysis would change that, what is open, what cannot be measured.

    Args:
        stated: main claims, each with its words; those that are not compared are not counted.

    Returns:
        Five sentences at most.
    """
    by: dict[Verdict, list[Claim]] = {verdict: [] for verdict in Verdict}
    for claim in stated:
        by[claim.verdict].append(claim)
    n = len(stated) - len(by[Verdict.NOT_COMPARED])
    if not n:
        return []
    said = [
        *_decided(n, by, stated),
        *_by_other_analyses(by[Verdict.DIFFERS]),
        *_open("Our runs cannot tell", by[Verdict.CANNOT_TELL], n, stated),
        *_open("Runs like ours cannot measure", by[Verdict.NOT_MEASURABLE], n, stated),
    ]
    return [sentence(digits.minus(text)) for text in said]


def _decided(n: int, by: Mapping[Verdict, Sequence[Claim]], stated: Mapping[Claim, str]) -> Iterator[str]:
    holds, differs = by[Verdict.HOLDS], by[Verdict.DIFFERS]
    of = f"of {n} main {digits.plural(n, 'claim', 'claims')}"
    if not holds and not differs:
        return
    if holds:
        yield f"{of} {len(holds)} {digits.plural(len(holds), 'holds', 'hold')}: {_listed(holds, stated)}"
    else:
        yield f"{of} none holds"
    if differs:
        yield f"{len(differs)} {digits.plural(len(differs), 'differs', 'differ')}: {_listed(differs, stated)}"


def _listed(claims: Iterable[Claim], stated: Mapping[Claim, str]) -> str:
    return "; ".join(f"{stated[claim]} ({_numbers(claim)})" for claim in claims)


def _numbers(claim: Claim) -> str:
    """Ours with its interval, and the paper's."""
    assert claim.paper is not None
    value, interval = claim.parts
    return f"{value}, {interval}; the paper {digits.plain(claim.paper)}"


def _by_other_analyses(differs: Iterable[Claim]) -> Iterator[str]:
    """Whether the range over analyses of what differs reaches the paper's value."""
    spans = {claim: claim.span for claim in differs if claim.span is not None}
    if not spans:
        return
    reached = [claim.label for claim, span in spans.items() if span[0] <= (claim.paper or 0.0) <= span[1]]
    if reached:
        yield f"other analyses of the same runs reach the paper's value of {', '.join(reached)}"
    else:
        yield "no estimate by another analysis of the same runs reaches the paper's value of what differs"


def _open(cannot: str, claims: Sequence[Claim], n: int, stated: Mapping[Claim, str]) -> Iterator[str]:
    """What is left open, and the reason that most of it has.

    Args:
        n: main claims that are compared.
    """
    if not claims:
        return
    if len(claims) == 1:
        yield f"{cannot} whether {stated[claims[0]]}: {claims[0].doubt}"
        return
    what = f"any of the {n} main claims" if len(claims) == n else ", ".join(claim.label for claim in claims)
    reasons = Counter(claim.doubt for claim in claims)
    why, times = reasons.most_common(1)[0]
    whose = "" if len(reasons) == 1 else f"{times} of them as " if times > 1 else "the first as "
    yield f"{cannot} {what}: {whose}{why}"
