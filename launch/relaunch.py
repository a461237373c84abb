"""A script that makes the machines of all parts, and makes them again where they are taken away.

Spot machines that were preempted stay as they are, stopped, until somebody deletes them. So the script looks at them
once a minute, deletes what was taken away and makes it again, a bounded number of times. Machines that are off or gone
may also be those of a part that has ended, which then has left its exit code in the bucket (launch.startup). An output
in s3:// has no such objects, since the machines' gcloud has no key to it: what is gone there ended in a way that the
script cannot know. It runs on whichever machine stays up, in the foreground, until all parts have ended; without
relaunches it ends once all are made. bash 3.2, which Macs have, will do.
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
      logs: the folder of a bucket in which a part that has ended leaves its exit code; empty where none does.
      before: lines of shell for what all parts need.
    """
    lines = [
        "#!/usr/bin/env bash",
        "# Makes the machines of each part"
        + (f"; those that are taken away are made again, {relaunches} times at most." if relaunches else "."),
        "set -u",
        'folder=$(cd "$(dirname "$0")" && pwd)',
        "told=$(mktemp) || exit  # what gcloud says beside its answer",
        "trap 'rm -f \"$told\"' EXIT",
        *before,
        *_by_name("create", {name: one.create for name, one in parts.items()}),
        *([f"logs={quoted([logs])}", FORGET] if logs else []),
        MAKE.format(forget='forget "$1" && ' if logs else ""),
        f"parts=({' '.join(parts)})",
    ]
    if not relaunches:
        return "\n".join([*lines, 'for part in "${parts[@]}"; do make "$part" || exit; done', ""])
    return "\n".join(
        [
            *lines,
            *_by_name("state", {name: one.state for name, one in parts.items()}),
            *_by_name("delete", {name: one.delete for name, one in parts.items()}),
            ENDED if logs else UNTOLD,
            FOLLOW.format(taken=" | ".join(f"*{word}*" for word in taken), relaunches=relaunches),
        ]
    )


def _by_name(function: str, commands: Mapping[str, str]) -> list[str]:
    cases = [f"    {name}) {command} ;;" for name, command in commands.items()]
    return [f"{function}() {{", '  case "$1" in', *cases, "  esac", "}"]


FORGET = """\
forget() {  # how a part ended in an earlier launch
  gcloud storage rm "$logs/$1.ended" 2>"$told" || grep -q "matched no objects" "$told" || {
    cat "$told"
    return 1
  }
}"""

MAKE = """\
make() {{
  {forget}create "$1"
}}"""

ENDED = """\
ended() {  # prints the exit code of a part that has ended, of another nothing; fails where the bucket does not say
  gcloud storage cat "$logs/$1.ended" 2>"$told" || grep -q "matched no objects" "$told"
}
untold="its logs are in $logs"
"""
UNTOLD = """\
logs=""
ended() { :; }  # the output is where gcloud cannot ask
untold="scaling study status tells of its output"
"""

FOLLOW = """\
why() {{  # a command failed
  grep -m 1 ERROR "$told" || tail -n 1 "$told"
}}
not_found() {{
  grep -q -e NOT_FOUND -e "not found" "$told"
}}
deleted() {{  # succeeds where there is nothing to delete, too
  delete "$1" 2>"$told" || not_found || {{
    cat "$told"
    return 1
  }}
}}
# By the number of a part: what it is now (watched, taken or deleted), how often it was made again, at how many looks it
# may have ended, and what its state last failed with.
now=() tries=() over=() silent=() failed=0
for i in "${{!parts[@]}}"; do
  make "${{parts[i]}}" || exit
  now[i]=watched tries[i]=0 over[i]=0 silent[i]=""
done
while [ "${{#parts[@]}}" -gt 0 ]; do
  sleep 60
  for i in "${{!parts[@]}}"; do
    part=${{parts[i]}}
    if [ "${{now[i]}}" = watched ]; then
      there=1
      if found=$(state "$part" 2>"$told"); then
        silent[i]=""
        case "$found" in
          {taken}) ;;
          *) continue ;;
        esac
      elif not_found; then
        there=0
      else  # who does not answer is asked again
        reason=$(why)
        [ "$reason" = "${{silent[i]}}" ] || echo "$part: its state is not told, and is asked for again: $reason"
        silent[i]=$reason
        continue
      fi
      if ! code=$(ended "$part"); then
        echo "$part is off or gone, and the bucket does not say whether it has ended: $(why)"
        continue
      fi
      if [ "$there" = 1 ] && {{ [ -n "$code" ] || [ -z "$logs" ]; }}; then
        over[i]=$((over[i] + 1))
        [ "${{over[i]}}" -gt 1 ] || continue  # it may be giving its machines back just now
      fi
      if [ -n "$code" ] && [ "$there" = 1 ] && ! deleted "$part"; then
        [ "${{over[i]}}" -gt 5 ] || continue  # what is half gone cannot be deleted, and soon is not found
        failed=1
      fi
      if [ -n "$code" ] || [ "$there" = 0 ]; then
        if [ -n "$code" ]; then
          echo "$part has ended with exit code $code"
        else
          echo "$part is gone without a word of how it ended; $untold"
        fi
        [ "$code" = 0 ] || failed=1
        unset "parts[i]"
        continue
      fi
      now[i]=taken
    fi
    if [ "${{now[i]}}" = taken ]; then
      deleted "$part" || continue
      if [ "${{tries[i]}}" -ge {relaunches} ]; then
        echo "$part was taken away, and made again {relaunches} times before: launch again to go on"
        failed=1
        unset "parts[i]"
        continue
      fi
      echo "$part was taken away"
      now[i]=deleted
    fi
    make "$part" || state "$part" >/dev/null 2>&1 || continue  # what failed may be there all the same
    now[i]=watched tries[i]=$((tries[i] + 1)) over[i]=0
    echo "$part is made again: ${{tries[i]}} of {relaunches}"
  done
done
exit "$failed"
"""
