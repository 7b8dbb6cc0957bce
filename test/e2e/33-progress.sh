# shellcheck shell=bash
# limit: 90
# sync on a terminal: one line of progress, never wider than the terminal, gone at the end; and signals in the middle.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

mkdir a
head -c 150000000 /dev/urandom >a/large
daemon A
daemon B
expect_ok on A share s a
wait_for 60 'A to have read the tree' on A sync s
expect_ok on B join "$(on A invite s)" b

say 'progress on a terminal of 50 columns'
script -qec "stty cols 50; replica --data B.data sync s" tty.out >/dev/null </dev/null
[ "$(grep -ac $'\r' tty.out)" -gt 0 ] || fail 'no line was written over'
tr '\r' '\n' <tty.out >lines
grep -qaE '^s \[[#.]{12}\] +[0-9]+%  [0-9]+/[0-9]+ entries' lines || fail "no bar: $(cat -v lines)"
[ -z "$(LC_ALL=C awk 'length > 49 && /^s /' lines)" ] || fail "too wide: $(cat -v lines)"
grep -qa '^in sync: ' lines || fail "no end: $(cat -v lines)"
grep -qa $'\e' lines && fail 'escape sequences'

say 'no terminal: no progress'
head -c 50000000 /dev/urandom >a/more
expect_ok on B sync s
[ "$(wc -l <<<"$out")" -eq 1 ] || fail "more than one line: $out"

say 'a signal ends replica by that signal, and the daemon goes on'
head -c 150000000 /dev/urandom >new
mv new a/large
under_way() { [ -n "$(ls -A b/.replica/tmp)" ]; }
wait_for 20 'the transfer' under_way
for signal in INT TERM; do
  # A background child ignores SIGINT until somebody says otherwise.
  env --default-signal=INT replica --data B.data sync s >sync.log 2>&1 &
  pid=$!
  # shellcheck disable=SC2016 # for the inner shell
  wait_for 10 'replica to be connected' sh -c 'ls -l /proc/$1/fd | grep -q signalfd' sh $pid
  kill -$signal $pid
  rc=0
  wait $pid || rc=$?
  [ $rc -eq $((128 + $(kill -l $signal))) ] || fail "SIG$signal: ended with $rc: $(cat sync.log)"
  [ ! -s sync.log ] || fail "SIG$signal: $(cat sync.log)"
done
expect_ok on B id
expect_ok on B sync s
cmp a/large b/large
stop A
stop B
