# shellcheck shell=bash
# limit: 120
# A full disk at the receiver: what has room goes on, what has none is an error, and all comes once there is room.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

mkdir a disk
if ! unshare -m mount -t tmpfs none disk 2>/dev/null; then
  say "not allowed to mount a small disk here: nothing was tested"
  exit 0
fi

# B, its data and its share live on a disk of 32 MB that only it sees; we look through /proc.
start B unshare -m sh -c 'mount -t tmpfs -o size=32m,mode=700 none disk && mkdir disk/data disk/share &&
  exec replicad --data "$PWD/disk/data" --listen 127.0.0.1:0'
disk() { echo "/proc/$(pid_of B)/root$PWD/disk"; }
onB() { replica --socket "$(disk)/data/socket" "$@"; }
answersB() { running B && onB id; }
wait_for 20 "B to answer" answersB
free_kb() { echo $(($(stat -f -c "%a * %S" "$(disk)") / 1024)); }
errors_on() { "$@" --json status | sed -n 's/.*"errors": *\([0-9]*\).*/\1/p' | head -n 1; }
has_errors() { local want=$1 n; shift; n=$(errors_on "$@"); [ "$n" = "$want" ] || { "$@" status; return 1; }; }
# fill KB: leaves that much free
fill() {
  local n=$(($(free_kb) - $1))
  [ $n -le 0 ] || head -c ${n}K /dev/zero >>"$(disk)/filler"
}

daemon A
echo first >a/first
expect_ok on A share s "$PWD/a"
expect_ok onB join "$(on A invite)" "$PWD/disk/share"
expect_ok onB sync
cmp a/first "$(disk)/share/first"

say "no room for one file"
fill 10000
head -c 12000000 /dev/urandom >a/big
wait_for 30 "the error to be listed" has_errors 1 onB
expect_rc 0 onB status
expect_text "no room"
for i in 1 2 3; do echo $i >a/small$i; done
wait_for 20 "small files at B" test -e "$(disk)/share/small1" -a -e "$(disk)/share/small2" -a -e "$(disk)/share/small3"
test ! -e "$(disk)/share/big"
[ -z "$(ls -A "$(disk)/share/.replica/tmp")" ] || fail "something is left in staging"
rm "$(disk)/filler"
wait_for 40 "the big file once there is room" cmp a/big "$(disk)/share/big"
wait_for 20 "no error any more" has_errors 0 onB

say "no room for anything, the index included"
fill 0
cp a/big before
echo more >>a/big
for i in $(seq 50); do head -c 5000 /dev/urandom >a/more$i; done
rm a/first
wait_for 30 "an error at B" sh -c 'grep -qi "no space" B.log || grep -q "no room" B.log'
cmp before "$(disk)/share/big" || cmp a/big "$(disk)/share/big" || fail "the big file is torn"
rm "$(disk)/filler"
same() {
  local f
  for f in a/*; do cmp "$f" "$(disk)/share/${f##*/}" || return; done
  test ! -e "$(disk)/share/first"
}
wait_for 40 "equal trees once there is room" same
expect_ok onB sync
expect_ok on A sync
wait_for 20 "no error any more" has_errors 0 onB
stop A
stop B
