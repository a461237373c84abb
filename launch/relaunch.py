"""A script that makes the machines of all parts, and makes them again where they are taken away.

Spot machines that were preempted stay as they are, stopped, until somebody deletes them. So the script looks at them
once a minute, deletes what was taken away and makes it again, a bounded number of times. Machines that are off or gone
may also be those of a part that has ended, which then has left its exit code in the bucket (launch.startup). The script
runs on whichever machine stays up, in the foreground, until all parts have ended; without relaunches it ends once all
are made. bash 3.2, which Macs have, will do.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from launch.request import quoted
from scaling.errors import InputError

SCRIPT = "launch.sh"
MOST = 1000


@dataclasses.dataclass(frozen=True)
class Machines:
    """Lines of shell by which the machines of one part are made, asked after and deleted."""

    create: str
    state: str  # prints a word, or one for each machine; fails with "not found" where there are none
    delete: str  # returns when they are gone


def check(relaunches: int) -> None:
    if not 0 <= relaunches <= MOST:
        raise InputError(f"relaunches={relaunches}: wanted 0 to {MOST}")


def notes(spot: bool, relaunches: int) -> tuple[str, ...]:
    if spot and not relaunches:
        return ("what is preempted stays away until it is launched again; --with relaunches=20 does that from here",)
    return ()


def script(
    parts: Mapping[str, Machines], taken: Sequence[str], relaunches: int, logs: str, before: Sequence[str] = ()
) -> str:
    """The script.

    Args:
      parts: by their names.
      taken: words in a state that mean that machines were taken away.
      relaunches: of each part.
      logs: the folder of a bucket in which a part that has ended leaves its exit code, which is read in gs:// alone.
      before: lines of shell for what all parts need.
    """
    lines = [
        "#!/usr/bin/env bash",
        "# Makes the machines of each part"
        + (f"; those that are taken away are made again, {relaunches} times at most." if relaunches else "."),
        "set -u",
        'folder=$(cd "$(dirname "$0")" && pwd)',
        f"logs={quoted([logs])}",
        FORGET if logs.startswith("gs://") else NOTHING_KEPT,
        *before,
        *_by_name("create", {name: one.create for name, one in parts.items()}),
        MAKE,
        f"parts=({' '.join(parts)})",
    ]
    if not relaunches:
        return "\n".join([*lines, 'for part in "${parts[@]}"; do make "$part" || exit; done', ""])
    return "\n".join(
        [
            *lines,
            *_by_name("state", {name: one.state for name, one in parts.items()}),
            *_by_name("delete", {name: one.delete for name, one in parts.items()}),
            FOLLOW.format(taken=" | ".join(f"*{word}*" for word in taken), relaunches=relaunches),
        ]
    )


def _by_name(function: str, commands: Mapping[str, str]) -> list[str]:
    cases = [f"    {name}) {command} ;;" for name, command in commands.items()]
    return [f"{function}() {{", '  case "$1" in', *cases, "  esac", "}"]


FORGET = """\
told=$(mktemp) || exit  # what gcloud says beside its answer
trap 'rm -f "$told"' EXIT
forget() {  # how a part ended in an earlier launch
  gcloud storage rm "$logs/$1.ended" 2>"$told" || grep -q "matched no objects" "$told" || {
    cat "$told"
    return 1
  }
}
ended() {  # prints the exit code of a part that has ended, of another nothing; fails where the bucket does not say
  gcloud storage cat "$logs/$1.ended" 2>"$told" || grep -q "matched no objects" "$told"
}"""
# gcloud sees no s3://
NOTHING_KEPT = """\
told=$(mktemp) || exit  # what gcloud says beside its answer
trap 'rm -f "$told"' EXIT
forget() { :; }
ended() { :; }"""

MAKE = """\
make() {
  forget "$1" && create "$1"
}"""

FOLLOW = """\
# By the number of a part: whether it is to be made, how often it was made again, and whether it was seen to have ended.
gone=() tries=() over=() failed=0
for i in "${{!parts[@]}}"; do
  make "${{parts[i]}}" || exit
  gone[i]=0 tries[i]=0 over[i]=0
done
while [ "${{#parts[@]}}" -gt 0 ]; do
  sleep 60
  for i in "${{!parts[@]}}"; do
    part=${{parts[i]}}
    if [ "${{gone[i]}}" = 0 ]; then
      there=1
      if found=$(state "$part" 2>"$told"); then
        case "$found" in
          {taken}) ;;
          *) continue ;;
        esac
      else
        case "$(cat "$told")" in
          *NOT_FOUND* | *"not found"*) there=0 ;;
          *) continue ;;  # who does not answer is asked again
        esac
      fi
      if ! code=$(ended "$part"); then
        echo "$part is off or gone, and the bucket does not say whether it has ended: $(tail -n 1 "$told")"
        continue
      fi
      if [ -n "$code" ] && [ "$there" = 1 ] && [ "${{over[i]}}" = 0 ]; then
        over[i]=1  # it may be giving its machines back just now
        continue
      fi
      if [ -n "$code" ] || [ "$there" = 0 ]; then
        if [ -n "$code" ]; then
          echo "$part has ended with exit code $code"
        else
          echo "$part is gone without a word of how it ended; its logs are in $logs"
        fi
        [ "$code" = 0 ] || failed=1
        [ "$there" = 0 ] || delete "$part" || failed=1
        unset "parts[i]"
        continue
      fi
      gone[i]=1
    fi
    delete "$part"
    if [ "${{tries[i]}}" -ge {relaunches} ]; then
      echo "$part was taken away, and made again {relaunches} times before: launch again to go on"
      failed=1
      unset "parts[i]"
      continue
    fi
    tries[i]=$((tries[i] + 1))
    echo "$part was taken away, and is made again: ${{tries[i]}} of {relaunches}"
    make "$part" && gone[i]=0
  done
done
exit "$failed"
"""
