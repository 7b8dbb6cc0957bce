# shellcheck shell=bash
# limit: 60
# As deep as a path may be, and as wide: no stack, no table and no queue is too small for it.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

deep=$(printf 'd/%.0s' $(seq 500))
mkdir -p "a/$deep" "a/wide" b
echo bottom >"a/${deep}file"
chmod 700 "a/${deep%d/}"
(cd a/wide && seq 1 400 | xargs mkdir && seq 10001 13000 | xargs touch)

say "a chain of 500 directories, and 400 beside each other"
daemon A
daemon B
expect_ok on A share s "$PWD/a"
expect_ok on B join "$(on A invite)" "$PWD/b"
synced() { on B sync; }
wait_for 30 "the first sync" synced
wait_for 30 "equal trees" same_tree a b

! grep restored ./*.log || fail "nothing was restored from anything"

say "a change at the bottom, then all of it goes"
echo more >>"b/${deep}file"
wait_for 20 "the change at A" cmp "a/${deep}file" "b/${deep}file"
rm -r b/d b/wide
wait_for 30 "the deletion at A" test ! -e a/d -a ! -e a/wide
expect_ok on A sync
expect_rc 0 on A conflicts

say "a file against a chain: theirs is taken, and the chain goes"
stop B
mkdir -p "a/x/${deep}"
echo a >"a/x/${deep}file"
echo b >b/x
daemon B
in_conflict() { out=$(on A conflicts || true); case $out in *x*) ;; *) return 1 ;; esac; }
wait_for 20 "the conflict" in_conflict
expect_ok on A resolve s/x --keep theirs
wait_for 20 "B's file at A" cmp a/x b/x
wait_for 20 "equal trees" same_tree a b
stop A
stop B
