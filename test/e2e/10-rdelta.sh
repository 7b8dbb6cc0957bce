# shellcheck shell=bash
# rdelta's command line: the three steps by files and pipes, rdiff on the other side, and everything it refuses.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

head -c 300000 /dev/urandom >old
{
  tail -c 100000 old
  echo something new
  head -c 250000 old
} >new

say 'by files, by pipes, and mixed with rdiff'
expect_ok rdelta signature old sig
expect_ok rdelta delta sig new delta
expect_ok rdelta patch old delta out
cmp new out
[ "$(stat -c %s delta)" -lt 3000 ] || fail "the delta has $(stat -c %s delta) bytes"
# shellcheck disable=SC2094 # old is only read
rdelta signature <old | rdelta delta - new | rdelta patch old >piped
cmp new piped
# shellcheck disable=SC2094
rdelta signature - - <old | rdiff -- delta - new - | rdelta patch old - - >mixed
cmp new mixed
rdiff -- patch old <(rdelta delta sig new) - >mixed
cmp new mixed
for kind in '-b 1000' '-S 8' '-S -1' '-H md4' '-R rollsum' '-H md4 -R rollsum -b 512'; do
  # shellcheck disable=SC2086 # a list of words
  expect_ok rdelta -f $kind signature old sig2
  # shellcheck disable=SC2086
  rdiff -f $kind signature old theirs
  cmp sig2 theirs
done
expect_ok rdelta signature old sig3 --block-size=1000 -s -v
expect_text '300 blocks of 1000 bytes'

say 'an existing file is kept without -f, and replaced with its mode kept'
cp sig before
expect_rc 100 rdelta signature new sig
expect_text "'sig' exists; give another name, or -f"
cmp sig before
cp old here
chmod 640 here
ln -s here link
expect_ok rdelta -f patch here delta link
cmp new here
[ "$(stat -c %a here)" = 640 ] || fail "mode $(stat -c %a here)"
[ -L link ] || fail 'the link is gone'
(
  umask 027
  rdelta signature old masked
)
[ "$(stat -c %a masked)" = 640 ] || fail "mode $(stat -c %a masked)"
expect_ok rdelta -f delta sig new /dev/null

say 'bad input: a code, one line that names the file, and no half-written output'
refused() { # CODE TEXT ARGUMENT…: rdelta ARGUMENT… must fail so and leave no file behind
  local code=$1 text=$2 files
  shift 2
  files=$(ls)
  expect_rc "$code" rdelta "$@"
  expect_text "$text"
  [ "$(wc -l <<<"$out")" -eq 1 ] || fail "not one line: $out"
  [ "$(ls)" = "$files" ] || fail "left behind: $(ls)"
}
head -c 300 delta >part
head -c 50 sig >part.sig
{ cat delta; echo more; } >longer
printf 'rs\0026\177' >unknown
head -c 1000 old >short
refused 103 "delta 'part': the delta ends too early, at byte 300" patch old part x
refused 103 "signature 'part.sig'" delta part.sig new x
refused 103 'ends too early, at byte 0' delta /dev/null new x
refused 104 "delta 'sig': not a delta" patch old sig x
refused 104 "signature 'old': not a signature" delta old new x
refused 106 'bytes behind the end' patch old longer x
refused 106 'an unknown command, at byte 4' patch old unknown x
refused 106 'beyond the end of the basis' patch short delta x
refused 100 "open basis 'none'" signature none x
refused 100 'Is a directory' signature . x
refused 100 "write signature 'none/x'" signature old none/x
refused 108 '--block-size' -b 99999999 signature old x
refused 108 '--sum-size' -S 33 signature old x
refused 108 'md4 has 16 bytes' -S 17 -H md4 signature old x
refused 101 "'2k' is no number" -b 2k signature old x
refused 101 "unknown 'sha1'" -H sha1 signature old x
refused 101 'what to do'
refused 101 "unknown command 'frob'" frob
refused 101 'too few files' patch
refused 101 'too many files' signature old x y
refused 101 'both standard input' patch - -
refused 101 'unknown option --frob' --frob
refused 101 '-b needs a value' signature -b
expect_ok rdelta '-?'
expect_text 'Usage: rdelta'
expect_rc 100 bash -c 'cat old | rdelta patch - delta x'
expect_text 'only be read in order'
expect_rc 100 bash -c 'rdelta signature old >/dev/full'
expect_text 'No space left'

say 'a signal in the middle leaves nothing'
mkdir dir
mkfifo pipe
start patch rdelta patch old pipe dir/out
exec 9>pipe
head -c 100 delta >&9
# shellcheck disable=SC2016 # for the inner shell
wait_for 10 'a temporary file' sh -c 'test -n "$(ls dir)"'
kill -TERM "$(pid_of patch)"
wait_for 10 'rdelta to end' ended "$(pid_of patch)"
exec 9>&-
[ -z "$(ls dir)" ] || fail "left $(ls dir)"

say 'a copy from beyond 4 GiB'
truncate -s 4500M sparse
printf 'near the end' | dd of=sparse bs=1 seek=4400M conv=notrunc status=none
printf 'rs\0026\121\0\0\0\001\023\0\0\0\014\0' >far # copy 12 bytes from 0x113000000
[ "$(rdelta patch sparse far)" = 'near the end' ] || fail 'not the right bytes'
