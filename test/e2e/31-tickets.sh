# shellcheck shell=bash
# limit: 90
# What shares, tickets and joins are refused, each with a line that says why, and nothing left half done.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

refused() { # NAME TEXT COMMAND…
  local name=$1 text=$2
  shift 2
  expect_rc 4 on "$name" "$@"
  expect_text "$text"
  [ "$(wc -l <<<"$out")" -eq 1 ] || fail "not one line: $out"
}

mkdir -p a/inner b other 'with space'
echo 1 >a/file
daemon A
daemon B

say 'shares'
refused A "'x/y' cannot be a share's name" share x/y a
refused A "cannot be a share's name" share '' a
refused A "cannot be a share's name" share .. a
refused A "cannot be a share's name" share "$(printf '%065d' 0)" a
refused A 'not a directory' share x a/file
refused A "and replicad's own data" share x A.data
refused A "and replicad's own data" share x .
expect_ok on A share docs a
refused A "$PWD/a is shared already, as 'docs'" share again a
refused A "$PWD/a/inner lies inside the share 'docs'" share x a/inner
ln -s a alias
refused A "is shared already, as 'docs'" share x alias
refused A "there is a share 'docs' already" share docs other
mkdir -p up/down
expect_ok on A share down up/down
refused A "$PWD/up holds the directory of the share 'down'" share x up
refused B 'belongs to another share' share x a
refused A 'there are several shares; say which' invite
expect_ok on A unshare down
[ -z "$(ls -A up/down)" ] || fail "unshare left $(ls -A up/down)"
expect_ok on A share again up/down
expect_ok on A unshare again
test -e a/file

say 'tickets'
ticket=$(on A invite docs)
refused B 'that is no ticket' join '' b
refused B 'that is no ticket' join thrum- b
refused B 'that is no ticket' join "${ticket%?}" b
refused B 'that is no ticket' join "${ticket/%??/xx}" b
refused B 'that is no ticket' join "$ticket$ticket" b
refused A 'this replica made that ticket itself' join "$ticket" other
refused B "and replicad's own data" join "$ticket" B.data
refused B 'is not a directory' join "$ticket" a/file
expect_ok on B join " $ticket " b # as copied from a terminal
wait_for 20 'the file at B' cmp a/file b/file
refused B "there is a share 'docs' already" join "$ticket" other
daemon C
refused C 'cannot join: ' join "$ticket" c # used
used=$out
case $used in *'the ticket was used already'*) ;; *) fail "does not say why: $used" ;; esac
[ ! -e c ] || fail 'a refused join left its directory'
ticket=$(on A invite docs)
stop A
refused C 'cannot join: ' join "$ticket" c # nobody is there
case $out in *refused* | *reach*) ;; *) fail "does not say why: $out" ;; esac

say 'an expired ticket'
start A env REPLICAD_TICKET_SECONDS=1 replicad --data "$PWD/A.data" --listen 127.0.0.1:0
wait_for 20 'A to answer' answers A
short=$(on A invite docs)
sleep 2 # past its second: before, it would be good
refused C 'ticket expired' join "$short" c
[ ! -e c ] || fail 'a refused join left its directory'
expect_ok on C join "$ticket" c # the one of before is still good
wait_for 20 'the file at C' cmp a/file c/file

say 'joining into a directory that has files: equal ones are taken over, others are conflicts, nothing is lost'
mkdir full
cp -p a/file full/file
echo mine >full/only
daemon D
expect_ok on D join "$(env replica --data A.data invite docs)" full
wait_for 20 'their file at A' cmp full/only a/only
expect_ok on D sync docs
expect_ok on D conflicts
mkdir differs
echo another >differs/file
daemon E
expect_ok on E join "$(on B invite docs)" differs
listed() { { on E conflicts || true; } | grep 'docs/file: update/update'; }
wait_for 20 'the conflict' listed
[ "$(cat differs/file)/$(cat a/file)" = another/1 ] || fail 'a version was lost'

say 'who joins again still knows its peer by name'
expect_ok on B unshare docs
expect_ok on B join "$(env replica --data A.data invite docs)" b2
expect_ok on B peers
! grep '^127' <<<"$out" || fail "named by its address: $out"

for name in A B C D E; do stop $name; done
