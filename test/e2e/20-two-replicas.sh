# shellcheck shell=bash
# Two replicas: pairing, the first sync, live changes both ways, a restart.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

mkdir -p a/docs/deep/er b
echo one >a/docs/one.txt
head -c 300000 /dev/urandom >a/docs/deep/er/big
ln -s ../one.txt a/docs/deep/link
ln -s nowhere a/dangling
: >a/empty
printf 'x' >"a/name with space and ümlaut"
chmod 640 a/docs/one.txt
chmod 750 a/docs/deep
touch -d '2001-02-03 04:05:06.789012345' a/docs/one.txt
mkdir a/emptydir

say "pair and sync"
daemon A
daemon B
expect_ok on A share docs "$PWD/a"
ticket=$(on A invite docs)
expect_ok on B join "$ticket" "$PWD/b"
expect_ok on B sync docs
wait_for 20 "equal trees" same_tree a b

say "changes travel by themselves, both ways"
echo two >b/docs/two.txt
wait_for 20 "the new file at A" cmp a/docs/two.txt b/docs/two.txt
echo three >>a/docs/one.txt
wait_for 20 "the edit at B" cmp a/docs/one.txt b/docs/one.txt
rm -r a/docs/deep
wait_for 20 "the deletion at B" test ! -e b/docs/deep
mv b/empty b/renamed
wait_for 20 "the rename at A" test -e a/renamed -a ! -e a/empty
chmod 600 b/docs/two.txt
wait_for 20 "equal trees again" same_tree a b

say "sync looks on both sides: in sync means what is there now, wherever it changed"
for i in $(seq 30); do
  echo "$i" >a/now
  expect_ok on B sync
  cmp a/now b/now || fail "round $i: said in sync, and was not"
done
head -c 100000000 /dev/zero >a/takes-a-while-to-hash
expect_ok on B sync docs
cmp a/takes-a-while-to-hash b/takes-a-while-to-hash || fail "said in sync, and was not"
rm a/now a/takes-a-while-to-hash
expect_ok on B sync docs
same_tree a b || fail "said in sync, and was not"

say "file becomes directory and back"
rm a/renamed && mkdir a/renamed && echo in >a/renamed/file
wait_for 20 "the directory at B" cmp a/renamed/file b/renamed/file
rm -r b/renamed && echo out >b/renamed
wait_for 20 "the file at A" cmp a/renamed b/renamed
wait_for 20 "equal trees" same_tree a b

say "a restart loses nothing and keeps the port"
port=$(on A --json id | sed -n 's/.*"listen": *"\([^"]*\)".*/\1/p')
stop A
echo while-away >a/away.txt
rm b/docs/two.txt
daemon A
[ "$(on A --json id | sed -n 's/.*"listen": *"\([^"]*\)".*/\1/p')" = "$port" ] || fail "the port changed"
wait_for 30 "equal trees after the restart" same_tree a b
test ! -e a/docs/two.txt || fail "the deletion was undone"
expect_ok on A sync
expect_ok on B sync
expect_rc 0 on A conflicts
on A stop
wait_for 20 "A to end" ended "$(pid_of A)"
stop B
