# shellcheck shell=bash
# Helpers for scenarios. Begin each with
#   # shellcheck source=test/e2e/lib.sh
#   . "$E2E_LIB"
# and never wait by a bare sleep: wait_for polls the state itself.

export PATH=$E2E_BIN:$PATH
declare -A e2e_pids=()
trap e2e_end EXIT

# What runs at the end of every scenario: kills the children that still run, and after a failure shows logs.
e2e_end() {
  local rc=$? pid log
  for pid in $(jobs -pr); do
    kill -KILL "$pid" 2>/dev/null || true
  done
  wait 2>/dev/null || true
  if [ "$rc" -ne 0 ]; then
    for log in *.log; do
      [ ! -s "$log" ] || { echo "--- $log"; tail -n 15 "$log"; }
    done
  fi
  exit "$rc"
}

say() { printf '# %s\n' "$*"; }

fail() {
  local frame=1
  while [ "${BASH_SOURCE[$frame]}" = "${BASH_SOURCE[0]}" ] && [ -n "${BASH_SOURCE[$((frame + 1))]:-}" ]; do
    frame=$((frame + 1))
  done
  printf 'failed at %s:%s: %s\n' "${BASH_SOURCE[$frame]##*/}" "${BASH_LINENO[$((frame - 1))]}" "$*" >&2
  exit 1
}

# start NAME COMMAND…: runs it in the background, output to NAME.log (appended)
start() {
  local name=$1
  shift
  [ -z "${e2e_pids[$name]:-}" ] || fail "$name runs already"
  "$@" >>"$name.log" 2>&1 </dev/null &
  e2e_pids[$name]=$!
}

pid_of() { echo "${e2e_pids[$1]}"; }

running() { ! ended "${e2e_pids[$1]:?}"; }

# stop NAME: asks it to end (SIGTERM), which it must do with exit code 0
stop() {
  local pid=${e2e_pids[$1]:?} rc=0
  kill -TERM "$pid" 2>/dev/null || true
  wait_for 20 "$1 to end" ended "$pid"
  wait "$pid" || rc=$?
  unset "e2e_pids[$1]"
  [ "$rc" -eq 0 ] || fail "$1 ended with code $rc"
}

# kill9 NAME: as if the power went
kill9() {
  local pid=${e2e_pids[$1]:?}
  kill -KILL "$pid"
  wait "$pid" 2>/dev/null || true
  unset "e2e_pids[$1]"
}

# ended PID: true once a child has no running code left (gone, or waiting to be reaped)
ended() {
  local state
  state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || true
  [ -z "$state" ] || [ "$state" = Z ]
}

# wait_for SECONDS WHAT COMMAND…: polls until the command succeeds; its last output is shown if it never does
wait_for() {
  local limit=$(($1 * E2E_SLOW)) what=$2 began=$SECONDS out
  shift 2
  until out=$("$@" 2>&1); do
    [ $((SECONDS - began)) -lt "$limit" ] || fail "waited $limit s for $what; last: $out"
    sleep 0.05 # between two looks, not in place of one
  done
}

# expect_rc CODE COMMAND…: the command must exit with that code; its output is left in $out
expect_rc() {
  local want=$1 rc=0
  shift
  out=$("$@" 2>&1) || rc=$?
  [ "$rc" -eq "$want" ] || fail "'$*' exited with $rc, not $want: $out"
}

expect_ok() { expect_rc 0 "$@"; }

# expect_text TEXT: the last output must have it
expect_text() {
  case $out in *"$1"*) ;; *) fail "no '$1' in: $out" ;; esac
}

# ---------------------------------------------------------------- replicas: NAME's data is in ./NAME.data

# daemon NAME [ARGUMENT…]: starts a replicad on a free loopback port and waits until it answers
daemon() {
  local name=$1
  shift
  start "$name" replicad --data "$PWD/$name.data" --listen 127.0.0.1:0 "$@"
  wait_for 20 "$name to answer" answers "$name"
}

answers() {
  running "$1" || { echo "$1 is not running"; return 1; }
  on "$1" id
}

# on NAME COMMAND…: replica's command against that daemon
on() {
  local name=$1
  shift
  replica --data "$PWD/$name.data" "$@"
}

# tree DIR: a line per entry below DIR: name, kind, mode, and mtime and size, or the link's target
tree() {
  (cd "$1" && find . -mindepth 1 -path ./.replica -prune -o \( -type d -printf '%p\td %m\n' \) -o \( -type l -printf '%p\tl %l\n' \) -o \
    -printf '%p\t%y %m %T@ %s\n' | LC_ALL=C sort)
}

# same_tree A B: names, kinds, contents, modes, mtimes (of files) and link targets agree; says what does not
same_tree() {
  tree "$1" >.tree.1
  tree "$2" >.tree.2
  diff .tree.1 .tree.2 && diff -r --no-dereference -x .replica "$1" "$2"
}
