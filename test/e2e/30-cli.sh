# shellcheck shell=bash
# limit: 90
# replica's command line: usage, exit codes, no daemon, options anywhere, JSON, names that are no text, signals.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

# refused CODE TEXT ARGUMENT…: replica ARGUMENT… must fail so, with one line and nothing on standard output
refused() {
  local code=$1 text=$2
  shift 2
  expect_rc "$code" replica "$@"
  expect_text "$text"
  [ "$(wc -l <<<"$out")" -eq 1 ] || fail "not one line: $out"
  case $out in 'replica: '*) ;; *) fail "not from replica: $out" ;; esac
  [ -z "$(replica "$@" 2>/dev/null)" ] || fail "standard output is not empty"
}

# Every field of a document is in the manual.
cat >fields.py <<'END'
import json, re, sys
known = set(re.findall(r"^\.Va (\w+)", open(sys.argv[1]).read(), re.M))
def walk(value):
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        assert isinstance(key, int) or key in known, "replica(1) has no field " + key
        walk(below)
for line in open(sys.argv[2]):
    walk(json.loads(line))
END
documented() { python3 fields.py "${E2E_LIB%/*}/../../man/replica.1" "$1" || fail "in $(cat "$1")"; }

# json FILTER COMMAND…: the command prints one document on one line; $out is what the Python expression makes of it
json() {
  local filter=$1 rc=0
  shift
  "$@" >json.out || rc=$?
  [ "$(wc -l <json.out)" -eq 1 ] || fail "not one line: $(cat json.out)"
  documented json.out
  out=$(python3 -c 'import json, sys; d = json.load(open("json.out")); print(eval(sys.argv[1]))' "$filter") ||
    fail "no such thing in $(cat json.out)"
  return $rc
}
json_is() { # VALUE FILTER COMMAND…
  local want=$1
  shift
  json "$@" || true
  [ "$out" = "$want" ] || fail "'$1' is '$out', not '$want', in $(cat json.out)"
}

say 'usage'
no=--data=$PWD/none
expect_rc 2 replica
expect_text 'usage: replica'
refused 2 "no command 'frob'; try 'replica --help'" "$no" frob
refused 2 "unknown option '--frob'" "$no" --frob id
refused 2 "unknown option '--dry'" "$no" sync --dry
refused 2 "'--data' needs a value" id --data
refused 2 "'--data' needs a name of 1" --data= id
refused 2 "'--json' takes no value" --json=yes id
refused 2 'exclude each other' "$no" --socket x id
refused 2 'id: too many arguments; usage: replica id' "$no" id more
refused 2 'share: too few arguments; usage: replica share NAME DIR' "$no" share x
refused 2 "status: there is no '--keep' here" "$no" status --keep mine
refused 2 "id: there is no '--dry-run' here" "$no" id --dry-run
refused 2 'say --keep mine, --keep theirs or --keep both' "$no" resolve s/x
refused 2 "'--keep' cannot be 'ours'" "$no" resolve s/x --keep ours
refused 2 "'/x' names no share" "$no" why /x
refused 2 "'' names no share" "$no" sync ''
refused 2 "no command 'a\\x0ab\\x1b[1m'" "$no" $'a\nb\e[1m'
HOME='' XDG_STATE_HOME='' refused 2 'exclude each other' --data x --socket y id
expect_ok replica --help
expect_text 'resolve NAME/PATH --keep mine|theirs|both'
[ "$(awk 'length > 80' <<<"$out")" = '' ] || fail 'lines over 80 columns'
expect_ok replica sync --help
expect_text 'usage: replica sync [NAME[/PATH]] [--dry-run]'
expect_ok replica --version
expect_ok replica -V

say 'no daemon'
refused 3 "no replicad at $PWD/none/socket; start it with 'replicad --data $PWD/none'" "$no" status
refused 3 "no replicad at $PWD/sock; start it with" --socket "$PWD/sock" status
refused 3 "start it with 'replicad --data $PWD/state/replicad'" status --data "$PWD/state/replicad"
refused 3 'too long for a socket' --socket "$PWD/$(printf '%0120d' 0)" id
: >plain
refused 3 "no replicad at $PWD/plain" --socket "$PWD/plain" id
refused 4 "none: No such file or directory; name a directory that is there" "$no" share x none
refused 4 'none: No such file or directory; make it first' "$no" join x none/deep
if [ "$(id -u)" -ne 0 ]; then
  XDG_STATE_HOME=$PWD/state refused 3 "replicad --data $PWD/state/replicad" id
fi

say 'an empty daemon: every command, as text and as JSON'
daemon A
expect_ok on A id
expect_text 'listens on  127.0.0.1:'
json_is "$(pid_of A)" 'd["pid"]' on A id --json
json_is '32 64' '"%d %d" % (len(d["replica_id"]), len(d["public_key"]))' on A --json id
expect_ok on A status
expect_text 'nothing is shared yet'
json_is '[]' 'd["shares"]' on A status --json
expect_ok on A peers
expect_text 'no peers yet'
json_is '[]' 'd["peers"]' on A peers --json
expect_ok on A conflicts
expect_text 'no conflicts'
json_is '[]' 'd["conflicts"]' on A conflicts --json
expect_ok on A sync
expect_text 'in sync: there are no peers yet'
json_is 'True' 'd["in_sync"]' on A sync --json
on_a=--data=$PWD/A.data
refused 4 'begin with' "$on_a" invite
refused 4 "no share 'x'" "$on_a" invite x
refused 4 "no share 'x'" "$on_a" sync x
refused 4 "no share 'x'" "$on_a" unshare x
refused 4 "no share 'x'" "$on_a" conflicts x
refused 4 "no share 'x'" "$on_a" why x/y
refused 4 "no share 'x'" "$on_a" resolve x/y --keep mine
expect_ok replica --socket A.data/socket id # relative names do

say 'names that are no text: exact in JSON, harmless on a terminal'
mkdir a
bad=$'bad\xff\e[31m\nname'
echo 1 >"a/$bad"
echo 1 >$'a/new\nline'
echo 1 >a/plain
expect_ok on A share s a # a relative directory
expect_text "sharing $PWD/a as 's'"
daemon B
expect_ok on B join "$(on A invite)" b
expect_text "joined 's' in $PWD/b"
expect_ok on B sync s
json_is '3 True None' '"%d %s %s" % (d["shares"][0]["files"], d["shares"][0]["in_sync"], d["shares"][0]["message"])' on B status --json
json_is "$PWD/b" 'd["shares"][0]["dir"]' on B status --json
expect_ok on B why "s/$bad"
expect_text 's/bad\xff\x1b[31m\x0aname: new there, never known here (create, from '
json_is "$(printf %s "$bad" | od -An -tx1 | tr -d ' \n')" 'd["path_hex"]' on B why "s/$bad" --json
json_is 'bad\xff\x1b[31m\x0aname' 'd["path"]' on B why "s/$bad" --json
json_is "'new\\nline' None" '"%r %s" % (d["path"], d.get("path_hex"))' on B why $'s/new\nline' --json
expect_ok on B why s/none
expect_text 'no verdict yet'
json_is 'False None None' '"%s %s %s" % (d["known"], d["verdict"], d["time"])' on B why s/none --json
json_is "True ['s'] None" '"%s %s %s" % (d["peers"][0]["connected"], d["peers"][0]["shares"], d["peers"][0]["error"])' on B peers --json

say 'bad paths'
for path in s/../x s/./x s//x s/a/../../b; do refused 4 'that is no path in a share' "$on_a" sync "$path"; done
refused 4 'no conflict at s/plain' "$on_a" resolve s/plain --keep theirs

say 'sync of one path, and a dry run when nothing is to be done'
stop A
echo 2 >>a/plain
echo 2 >"a/-- dashes"
echo 2 >>b/$'new\nline'
daemon A
wait_for 20 'the change at B' cmp a/plain b/plain
wait_for 20 'the change at A' cmp a/$'new\nline' b/$'new\nline'
expect_ok on B sync s/plain
expect_ok on B sync --dry-run
expect_text '0 changes would be made here'
json_is '[] False' '"%s %s" % (d["plan"], "in_sync" in d)' on B sync --dry-run --json
expect_ok on B why -- 's/-- dashes'

say 'watch: a line for each event, JSON or not; a signal is its end'
# not by on: the signal is for replica itself, not for a shell around it
start watch replica --data "$PWD/B.data" watch
start watch-json replica --data "$PWD/B.data" watch --json
event() {
  echo "$RANDOM" >>a/plain
  grep -q 'applied      s/plain' watch.log && grep -q '"kind":"applied","share":"s","path":"plain"' watch-json.log
}
wait_for 20 'events' event
stop_watch() {
  kill "-$2" "$(pid_of "$1")"
  wait_for 10 "$1 to end" ended "$(pid_of "$1")"
  expect_ok wait "$(pid_of "$1")"
  unset "e2e_pids[$1]"
}
stop_watch watch INT
stop_watch watch-json TERM
documented watch-json.log

say 'standard output that cannot be written'
expect_rc 4 bash -c "replica --data A.data status >/dev/full"
expect_text 'cannot write to standard output: No space left'
expect_rc 4 bash -c "replica --data A.data --json status >/dev/full"
expect_text 'No space left'

say 'a peer that is away, and a conflict: exit codes of sync and status'
stop A
expect_rc 4 on B sync
expect_text 'not connected'
expect_text 'not in sync'
json_is 'False 0' '"%s %d" % (d["in_sync"], d["peers"])' on B sync --json
echo a >a/plain
echo b >b/plain
daemon A
conflicting() { [ "$(on A --json conflicts | grep -c '"path":"plain"')" = 1 ] && [ "$(on B --json conflicts | grep -c '"path":"plain"')" = 1 ]; }
wait_for 20 'the conflict' conflicting
expect_rc 1 on A status
expect_text "1 conflict; 'replica conflicts s' lists them"
expect_rc 1 on A conflicts s
expect_text 's/plain: update/update, with '
expect_rc 1 on B sync
expect_text '1 conflict ('
expect_rc 1 on B sync --dry-run
expect_text 's/plain: changed on both sides (from '
expect_text '1 change would be made here'
json_is 'conflict_update_update plain' '"{verdict} {path}".format(**d["plan"][0])' on B sync --dry-run --json
json_is 'update/update file 2 file 64' '"{kind} {mine[type]} {mine[size]} {theirs[type]} {0}".format(len(d["conflicts"][0]["theirs"]["hash"]), **d["conflicts"][0])' on B conflicts --json
json_is "s plain theirs" '"{share} {path} {kept}".format(**d)' on B resolve s/plain --keep theirs --json
[ "$(cat b/plain)" = a ] || fail "theirs was not taken: $(cat b/plain)"
wait_for 20 'peace' on A conflicts

say 'stop waits until the daemon has ended'
expect_ok on A stop
[ ! -e A.data/socket ] || fail 'the socket is still there'
wait_for 5 'A to be gone' ended "$(pid_of A)" # it may not be reaped yet
unset 'e2e_pids[A]'
refused 3 'no replicad at' "$on_a" stop
json_is True 'd["stopped"]' on B stop --json
unset 'e2e_pids[B]'
