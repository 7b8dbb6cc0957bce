# shellcheck shell=bash
# limit: 120
# Files that cannot be read or written, a root that goes away and comes back, names as odd as the file system allows.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

# Root may do everything: B runs as somebody else, whom the way to here is opened for.
if [ "$(id -u)" -eq 0 ]; then
  chmod 711 .. .
  mkdir bin
  cp "$E2E_BIN/replicad" bin/
  user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
  own() { chown -R 65534:65534 "$@"; }
else
  user=(env)
  own() { :; }
fi
daemon_user() { # NAME
  mkdir -p "$1.data"
  chmod 700 "$1.data"
  own "$1.data"
  start "$1" "${user[@]}" "$PWD/bin/replicad" --data "$PWD/$1.data" --listen 127.0.0.1:0
  wait_for 20 "$1 to answer" answers "$1"
}
[ -d bin ] || ln -s "$E2E_BIN" bin
status() { on "$1" --json status; }
errors_on() { status "$1" | sed -n 's/.*"errors": *\([0-9]*\).*/\1/p' | head -n 1; }
has_errors() { local n; n=$(errors_on "$1"); [ "$n" = "$2" ] || { status "$1"; return 1; }; }
state_of() { status "$1" | grep -q "\"state\": *\"$2\"" || { status "$1"; return 1; }; }

mkdir a b
echo one >a/one
own b
daemon A
daemon_user B
expect_ok on A share s "$PWD/a"
expect_ok on B join "$(on A invite)" "$PWD/b"
expect_ok on B sync

say "a file that B may not read"
"${user[@]}" sh -c 'echo secret >b/secret; chmod 0 b/secret; echo open >b/open'
wait_for 20 "the other file at A" cmp a/open b/open
wait_for 20 "the error to be listed" has_errors B 1
expect_rc 0 on B status
expect_text "secret"
test ! -e a/secret
chmod 600 b/secret
wait_for 20 "the file at A" test -e a/secret
wait_for 20 "no error any more" has_errors B 0

say "a directory that forbids even its owner to write"
mkdir a/dir
echo 1 >a/dir/1
wait_for 20 "the directory at B" test -e b/dir/1
chmod 555 b/dir
mode_of_dir() { [ "$(stat -c %a "$1/dir")" = 555 ]; }
wait_for 20 "the mode at A" mode_of_dir a
echo 2 >a/dir/2
rm a/dir/1
wait_for 20 "the file at B" cmp a/dir/2 b/dir/2
wait_for 20 "the deletion at B" test ! -e b/dir/1
wait_for 20 "the mode to be as it was" mode_of_dir b

say "a directory that B may not write to"
if [ "$(id -u)" -eq 0 ]; then
  mkdir a/theirs
  echo 1 >a/theirs/1
  wait_for 20 "the directory at B" test -e b/theirs/1
  chown 0:0 b/theirs
  echo 2 >a/theirs/2
  echo 3 >a/three
  wait_for 20 "the other file at B" test -e b/three
  wait_for 20 "the error to be listed" has_errors B 1
  own b/theirs
  expect_ok on B sync s
  wait_for 20 "the file at B" cmp a/theirs/2 b/theirs/2
  wait_for 20 "no error any more" has_errors B 0
else
  say "not tried: it takes root to give a directory away"
fi

say "modes without a bit, special bits, and what is no file"
echo zero >a/mode0
chmod 0 a/mode0
echo suid >a/suid
chmod 6755 a/suid
mkfifo a/fifo
echo end >a/end1
wait_for 20 "the files at B" test -e b/end1 -a -e b/mode0 -a -e b/suid
[ "$(stat -c %a b/mode0)" = 0 ] || fail "mode0 has mode $(stat -c %a b/mode0)"
[ "$(stat -c %a b/suid)" = 755 ] || fail "suid has mode $(stat -c %a b/suid)"
test ! -e b/fifo || fail "a fifo was replicated"
rm a/fifo a/suid # special bits are not replicated

say "odd names"
long=$(printf 'l%.0s' {1..255})
echo odd >"a/"$'new\nline'
echo odd >"a/"$'bad\xff\xfeutf8'
echo odd >"a/"$'\033[31mred'
echo odd >"a/$long"
echo odd >"a/ "
echo odd >"a/-rf"
ln -s "$(printf 't%.0s' {1..4095})" a/longlink
ln -s $'to\nnowhere\xff' a/oddlink
wait_for 20 "equal trees" same_tree a b
status B | grep -q "$(printf '\033')" && fail "a name paints on the terminal"
grep -q "$(printf '\033')" ./*.log && fail "a name paints in the log"

say "a root that goes away is missing, not empty"
mv b gone
wait_for 20 "B to say so" state_of B missing
echo meanwhile >a/meanwhile
expect_rc 4 on B sync s
mkdir b
own b
wait_for 20 "B still to say so" state_of B missing
[ "$(ls a | wc -l)" -gt 10 ] || fail "files were deleted at A"
test -z "$(ls -A b)" || fail "something was put into a directory that is not the share"
rmdir b
mv gone b
wait_for 20 "B to be back" state_of B idle
wait_for 20 "equal trees" same_tree a b
expect_ok on A sync s

say "a path at its limits"
deep=deep/$(printf 'd/%.0s' {1..600})
mkdir -p "$deep"
echo bottom >"$deep/file"
echo beside >deep/beside
mv deep a/deep
wait_for 20 "what is beside it at B" test -e b/deep/beside
wait_for 20 "the limit to be told" sh -c 'grep -q "deep" A.log || replica --data A.data status | grep -q deep'
rm -r a/deep
wait_for 30 "equal trees" same_tree a b
wait_for 20 "no error any more" has_errors A 0

stop A
stop B
