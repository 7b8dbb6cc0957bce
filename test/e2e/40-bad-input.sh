# shellcheck shell=bash
# What a person can get wrong: each is one clear line and an exit code, and breaks nothing.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

# refused TEXT COMMAND…: exit code 4, and one line that has the text
refused() {
  local text=$1
  shift
  expect_rc 4 "$@"
  expect_text "$text"
  [ "$(printf '%s\n' "$out" | wc -l)" -eq 1 ] || fail "more than a line: $out"
}
starts_not() { # TEXT ARGUMENT…: of replicad
  local text=$1
  shift
  refused "$text" timeout 20 replicad --listen 127.0.0.1:0 "$@"
}

say "options: one line each"
for bad in --bogus -x --data; do
  expect_rc 2 replicad $bad
  expect_text "'$bad'; try 'replicad --help'"
  [ "$(wc -l <<<"$out")" -eq 1 ] || fail "more than a line: $out"
done

say "data directories"
echo x >file
mkdir -m 700 key long
mkdir open
chmod 777 open
starts_not "is not a directory" --data "$PWD/file"
starts_not "not ours alone" --data "$PWD/open"
starts_not "shorter name" --data "$PWD/long/$(printf 'x%.0s' {1..100})"
starts_not "cannot make the data directory" --data /proc/none
for bytes in 5 5000 0; do
  head -c $bytes /dev/urandom >key/key
  starts_not "key is damaged" --data "$PWD/key"
done
head -c 32 /dev/zero >key/key
starts_not "key is damaged" --data "$PWD/key"

say "listen addresses"
for address in nonsense 127.0.0.1 127.0.0.1:99999 127.0.0.1:-1 '[::1'; do
  starts_not "this is no HOST:PORT" --data "$PWD/listen" --listen $address
done
starts_not "cannot listen on host.invalid:1" --data "$PWD/listen" --listen host.invalid:1

say "no daemon, a second daemon, a socket left over"
mkdir -m 700 A.data
expect_rc 3 on A status
daemon A
[ "$(stat -c %a A.data/index.db)" = 600 ] || fail "others may read the index"
starts_not "another replicad runs on" --data "$PWD/A.data"
port=$(on A --json id | sed -n 's/.*"listen": *"\([^"]*\)".*/\1/p')
starts_not "Address already in use" --data "$PWD/listen" --listen "$port"
kill9 A
test -S A.data/socket
expect_rc 3 on A status
daemon A

say "shares"
mkdir -p a/inside around/in b other
for name in a/b .hidden -dash '' $'new\nline' $'\xff' 'back\slash' "$(printf 'n%.0s' {1..65})"; do
  refused "cannot be a share's name" on A share -- "$name" "$PWD/a"
done
test ! -e a/.replica
refused "No such file" on A share s "$PWD/none"
refused "is not a directory" on A share s "$PWD/file"
refused "may not lie inside each other" on A share s "$PWD/A.data"
refused "may not lie inside each other" on A share s "$PWD"
expect_ok on A share s "$PWD/a"
expect_ok on A share in "$PWD/around/in"
refused "is shared already, as 's'" on A share t "$PWD/a"
ln -s a link
refused "is shared already, as 's'" on A share t "$PWD/link"
refused "lies inside the share 's'" on A share t "$PWD/a/inside"
refused "holds the directory of the share 'in'" on A share t "$PWD/around"
refused "there is a share 's' already" on A share s "$PWD/b"
test ! -e b/.replica
refused "no share 't'" on A unshare t
refused "no share 't'" on A sync t
refused "no share 't'" on A invite t
refused "say which" on A invite
expect_ok on A unshare in

say "tickets"
daemon B
daemon C
ticket=$(on A invite s)
refused "that is no ticket" on B join rubbish "$PWD/b"
refused "that is no ticket" on B join "${ticket%?????}" "$PWD/b"
refused "that is no ticket" on B join "${ticket/thrum-A/thrum-B}" "$PWD/b"
refused "made that ticket itself" on A join "$ticket" "$PWD/other"
mkdir b/.replica
printf '%032d\n' 7 >b/.replica/id
refused "belongs to another share" on B join "$ticket" "$PWD/b"
rm -r b/.replica
kill9 A
refused "cannot reach $port" on B join "$ticket" "$PWD/new"
test ! -e new || fail "a failed join left its directory"
daemon A
expect_ok on B join "$ticket" "$PWD/b" # none of that used it up
refused "used already" on C join "$ticket" "$PWD/c"
test ! -e c || fail "a failed join left its directory"
expect_ok on A unshare s
refused "did not accept the ticket" on C join "$ticket" "$PWD/other"
test ! -e other/.replica || fail "a failed join left its mark"
stop A
REPLICAD_TICKET_SECONDS=1 daemon A
expect_ok on A share s "$PWD/a"
ticket=$(on A invite s)
sleep 1.1 # it is the clock that this waits for
refused "ticket expired" on C join "$ticket" "$PWD/other"
stop A
stop B
stop C

say "damaged indexes"
cp A.data/index.db good
for damage in 'head -c 20000 /dev/urandom' 'head -c 3000 good' 'head -c 20480 good'; do
  $damage >A.data/index.db
  starts_not "restore it" --data "$PWD/A.data"
done
cp good A.data/index.db
daemon A
expect_ok on A status
stop A
