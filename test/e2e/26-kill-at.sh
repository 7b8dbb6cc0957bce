# shellcheck shell=bash
# limit: 300
# kill -9 right before a chosen change of the disk, all through a pull of files that are new, replaced, deleted,
# become directories and back: every file is a whole version, a restart makes no conflict and leaves no litter,
# even though the source goes on changing the same files meanwhile.
# KILL_ROUNDS says how many kills (default 16); THRUM_SEED repeats a run.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

seed=${THRUM_SEED:-$RANDOM}
rounds=${KILL_ROUNDS:-16}
say "$rounds kills, seed $seed (rerun with THRUM_SEED=$seed)"
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

# deadly NAME N: starts the daemon so that it dies before its N-th change of the disk (0: it only counts)
deadly() {
  start B env LD_PRELOAD="$PWD/kill_at.so" KILL_AT="$1" KILL_COUNT="$PWD/count" replicad --data "$PWD/B.data" --listen 127.0.0.1:0
}
# reap NAME: takes note that it died
reap() {
  wait "${e2e_pids[$1]}" 2>/dev/null || true
  unset "e2e_pids[$1]"
}
dead_or_done() { ended "$(pid_of B)" || in_step; }
in_step() { same_tree a b >/dev/null && on B sync && on A sync; }
changes() { od -An -tu8 count | tr -d ' '; }

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
deadly 0
wait_for 20 "the counted pull" in_step
total=$(changes)
stop B
say "$total"
[ "$total" -gt 150 ] || fail "only $total: the kills would not fall into the pull"

g=1
killed=0
for round in $(seq 1 "$rounds"); do
  generation $((++g))
  # Spread over the whole, at a random place in each part; every third time also in what cleans up after it.
  n=$(((round - 1) * total / rounds + RANDOM * 32768 % (total / rounds + 1) + 1))
  for at in $n $((round % 3 == 0 ? RANDOM % 40 + 1 : 0)); do
    [ "$at" -gt 0 ] || continue
    deadly "$at"
    wait_for 20 "B to die at $at, or to be done" dead_or_done
    if running B; then stop B; else reap B; killed=$((killed + 1)); fi
    whole
  done
  generation $((++g))
  daemon B
  wait_for 20 "equal trees after a kill at $n of $total" same_tree a b
  wait_for 20 "both to be in sync after a kill at $n" in_step
  expect_rc 0 on A conflicts
  expect_rc 0 on B conflicts
  stop B
  [ -z "$(ls -A b/.replica/tmp)" ] || fail "litter after a kill at $n: $(ls -A b/.replica/tmp)"
  [ ! -e b/.replica/lost ] || fail "a kill at $n made an unknown file: $(ls b/.replica/lost)"
  whole
done
say "$killed times killed"
[ "$killed" -ge $((rounds * 3 / 4)) ] || fail "only $killed kills"
stop A
