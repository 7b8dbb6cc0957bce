# shellcheck shell=bash
# limit: 90
# A file that cannot be read, a disk that is full, a share that is not mounted: each is reported with its reason, the
# other files go on, nothing is lost, and all is well once the cause is gone.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

# Root may read everything, unless it gives that up.
plain=()
[ "$(id -u)" -ne 0 ] || plain=(setpriv '--bounding-set=-dac_override,-dac_read_search')
plain_daemon() { # NAME
  start "$1" ${plain[@]+"${plain[@]}"} replicad --data "$PWD/$1.data" --listen 127.0.0.1:0
  wait_for 20 "$1 to answer" answers "$1"
}

mkdir a
echo 1 >a/readable
echo 2 >a/unreadable
mkdir a/locked
echo 3 >a/locked/inside
chmod 0 a/unreadable a/locked
plain_daemon A
plain_daemon B

say 'unreadable files'
expect_ok on A share s a
expect_ok on B join "$(on A invite s)" b
wait_for 20 'the readable file at B' cmp a/readable b/readable
reported() { on A status >seen; grep 'unreadable: .*[Pp]ermission denied' seen && grep 'locked: .*[Pp]ermission denied' seen; }
wait_for 20 'both to be reported' reported
expect_ok on A status --json
expect_text '"errors":2,"error_list":[{"path":'
[ ! -e b/unreadable ] || fail 'an unreadable file at B'
echo more >>a/readable
wait_for 20 'the other file to go on' cmp a/readable b/readable
chmod 644 a/unreadable
chmod 755 a/locked
expect_ok on A sync s
wait_for 20 'all of it at B' same_tree a b
wait_for 20 'no errors' sh -c "replica --data $PWD/A.data status --json | grep '\"errors\":0'"

say 'a file that becomes unreadable is not taken for deleted'
chmod 0 a/unreadable a/locked
echo again >>a/readable
on A sync s >/dev/null 2>&1 || true
wait_for 20 'the other file to go on' cmp a/readable b/readable
if [ ! -e b/unreadable ] || [ ! -e b/locked/inside ]; then fail 'an unreadable file was deleted at B'; fi
chmod 644 a/unreadable
chmod 755 a/locked

say 'a share whose directory is gone, as if not mounted, deletes nothing'
mv a elsewhere
mkdir a
expect_rc 4 on A sync s
wait_for 20 'the share to be missing' sh -c "replica --data $PWD/A.data status --json | grep '\"state\":\"missing\"'"
echo from-b >b/new
sleep 0.5 # time for the wrong thing to happen
if [ ! -e b/readable ] || [ ! -e b/locked/inside ]; then fail 'files were deleted at B'; fi
rmdir a && mv elsewhere a
wait_for 20 'the new file at A' cmp b/new a/new
wait_for 20 'equal trees' same_tree a b
wait_for 20 'sync' on A sync s

say 'a full disk'
# In a mount namespace of its own, which a system may refuse.
if [ "$(id -u)" -eq 0 ] && unshare -m mount -t tmpfs -o size=1m none "$PWD/a" 2>/dev/null; then
  # shellcheck disable=SC2016 # for the inner shell
  start C unshare -m sh -c 'mkdir c && mount -t tmpfs -o size=2m none c && exec replicad --data "$PWD/C.data" --listen 127.0.0.1:0'
  wait_for 20 'C to answer' answers C
  expect_ok on C join "$(on A invite s)" c
  head -c 5000000 /dev/urandom >a/too-large
  echo small >a/zz-small
  full() { on C status | grep 'too-large: .*[Nn]o space left'; }
  wait_for 20 'the full disk to be reported' full
  in_c() { nsenter -t "$(pid_of C)" -m "$@"; }
  wait_for 20 'the small file to go on' in_c cmp "$PWD/a/zz-small" "$PWD/c/zz-small"
  in_c test ! -e "$PWD/c/too-large" || fail 'a torn file'
  expect_rc 4 on C sync s
  expect_text 'error'
  in_c mount -o remount,size=20m "$PWD/c"
  wait_for 20 'sync, with room' on C sync s
  in_c cmp "$PWD/a/too-large" "$PWD/c/too-large"
  stop C
else
  say 'no mounts allowed here: not tried'
fi
stop A
stop B
