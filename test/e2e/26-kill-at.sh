# shellcheck shell=bash
# limit: 90
# kill -9 right before a chosen change of the disk, all through a pull of files that are new, replaced, deleted,
# become directories and back: every file is a whole version, a restart makes no conflict and leaves no litter,
# even though the source goes on changing the same files meanwhile. And the same with calls that fail.
# KILL_ROUNDS says how many rounds (default 10); THRUM_SEED repeats a run.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

seed=${THRUM_SEED:-$RANDOM}
rounds=${KILL_ROUNDS:-10}
say "$rounds rounds, seed $seed (rerun with THRUM_SEED=$seed)"
RANDOM=$seed
"${CC:-cc}" -O1 -shared -fPIC -o kill_at.so "${E2E_LIB%/*}/kill_at.c"
# The sanitizers want to be loaded first; what they would miss for it is nothing here.
export ASAN_OPTIONS="verify_asan_link_order=0:$ASAN_OPTIONS"

# put FILE GENERATION LINES: a file that tells whether it is whole: LINES times the same line, which says so
put() {
  mkdir -p "${1%/*}"
  awk -v line="${1#*/} $2 $3" -v n="$3" 'BEGIN { while (n-- > 0) print line }' >incoming && mv incoming "$1"
}

# generation G: about 30 changes of all kinds in a, different for odd and even G
generation() {
  local g=$1 i
  for i in 1 2 3 4 5 6 7 8; do put a/same$i "$g" $((i * i * 10)); done
  for i in 1 2 3; do put a/deep/er/and/deeper$((g % 2))/f$i "$g" 20; done
  rm -rf a/deep/er/and/deeper$((1 - g % 2)) a/odd a/even a/turns
  if [ $((g % 2)) -eq 1 ]; then
    for i in 1 2 3 4; do put a/odd/f$i "$g" 5; done
    mkdir -p a/turns/empty a/bare
    put a/turns/inside "$g" 3
    chmod 600 a/modes
    ln -sfn "to-$g" a/link
    rm -f a/comes
  else
    for i in 1 2 3 4; do put a/even/f$i "$g" 5; done
    put a/turns "$g" 3
    rmdir a/bare 2>/dev/null || true
    chmod 640 a/modes
    rm -f a/link
    put a/comes "$g" 3
  fi
  [ -d a/private ] || mkdir a/private
  chmod 7$((g % 8))0 a/private
}

# every file of b is whole, and nothing is there that a never had
whole() {
  find b -name .replica -prune -o -type f ! -name modes -print0 | xargs -0 awk '
    function ended() { if (file != "" && (lines != want || file != "b/" name)) { print file " is torn: " lines " of " want; bad = 1 } }
    FNR == 1 { ended(); file = FILENAME; first = $0; name = $1; want = $3; lines = 0 }
    $0 != first { print FILENAME " is mixed"; bad = 1 }
    { lines++ }
    END { ended(); exit bad }' >torn || fail "$(cat torn)"
  [ -z "$(find b -name '*.conflict-*' -print -quit)" ] || fail "conflict copies: $(find b -name '*.conflict-*')"
}

# armed SETTING…: starts B with the library in front of it
armed() {
  start B env LD_PRELOAD="$PWD/kill_at.so" KILL_COUNT="$PWD/count" "$@" replicad --data "$PWD/B.data" --listen 127.0.0.1:0
}
in_step() { same_tree a b >/dev/null && on B sync && on A sync; }
dead_or_done() { ended "$(pid_of B)" || in_step; }
dead_or_past() { ended "$(pid_of B)" || [ "$(changes)" -gt "$1" ] || in_step; }
changes() { od -An -tu8 count | tr -d ' '; }
# put_down: B ends, if it has not yet
put_down() {
  kill -KILL "$(pid_of B)" 2>/dev/null || true
  wait "$(pid_of B)" 2>/dev/null || true
  unset "e2e_pids[B]"
}

mkdir a b
echo stays >a/modes
generation 0
daemon A
daemon B
expect_ok on A share s "$PWD/a"
expect_ok on B join "$(on A invite)" "$PWD/b"
wait_for 20 "the first sync" in_step
stop B

say "how many changes a pull makes"
generation 1
armed KILL_AT=0
wait_for 20 "the counted pull" in_step
total=$(changes)
stop B
say "$total"
[ "$total" -gt 150 ] || fail "only $total: the kills would not fall into the pull"

# settled WHAT: after it, and after still newer versions of everything, nothing but them is there
settled() {
  wait_for 20 "equal trees after $1 of $total" same_tree a b
  wait_for 20 "both to be in sync after $1" in_step
  expect_rc 0 on A conflicts
  expect_rc 0 on B conflicts
  stop B
  [ ! -e b/.replica/lost ] || fail "$1 made an unknown file: $(ls b/.replica/lost)"
  whole
}

no_litter() { [ -z "$(ls -A b/.replica/tmp)" ] || fail "litter after $1: $(ls -A b/.replica/tmp)"; }

# A place in part $1 of $rounds of all that a pull does.
place() { echo $((($1 - 1) * total / rounds + RANDOM * 32768 % (total / rounds + 1) + 1)); }

g=1
killed=0
for round in $(seq 1 "$rounds"); do
  n=$(place "$round")
  # Every third time also a kill in what cleans up after the first.
  for at in $n $((round % 3 == 0 ? RANDOM % 40 + 1 : 0)); do
    [ "$at" -gt 0 ] || continue
    generation $((++g))
    armed KILL_AT="$at"
    wait_for 20 "B to die at $at, or to be done" dead_or_done
    ! ended "$(pid_of B)" || killed=$((killed + 1))
    put_down
    whole
  done
  generation $((++g))
  daemon B
  settled "a kill at $n"
  no_litter "a kill at $n"
done
say "$killed times killed"
[ "$killed" -ge $((rounds * 3 / 4)) ] || fail "only $killed kills"

say "the same, with a full disk for some calls"
for round in $(seq 1 "$rounds"); do
  n=$(place "$round")
  generation $((++g))
  armed FAIL_AT="$n" FAIL_CALLS=$((RANDOM % 3 + 1))
  wait_for 20 "call $n to fail, or B to be done" dead_or_past $((n + 3))
  generation $((++g))
  # It may refuse to start, as with any disk that is full: then it starts now.
  if ended "$(pid_of B)"; then
    put_down
    daemon B
  fi
  settled "a full disk at $n"
done
# What could not even be removed then is removed by the next start.
daemon B
stop B
no_litter "all of it"
stop A
