# shellcheck shell=bash
# limit: 120
# kill -9 at any moment of a transfer: whole files only, nothing lost, no litter, in sync again after the restart.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

mkdir a b
for i in $(seq 1 300); do head -c 20000 /dev/urandom >a/f$i; done
head -c 60000000 /dev/urandom >a/big
daemon A
daemon B
expect_ok on A share s "$PWD/a"
expect_ok on B join "$(on A invite)" "$PWD/b"

seed=${THRUM_SEED:-$RANDOM}
say "seed $seed (rerun with THRUM_SEED=$seed)"
RANDOM=$seed

# every file of b is a version that a has or had, whole
mkdir versions
whole() {
  local f name version known
  for f in b/*; do
    name=${f##*/}
    [ -e "$f" ] || continue
    known=
    for version in "a/$name" versions/*."$name"; do
      ! cmp -s "$f" "$version" || known=1
    done
    [ -n "$known" ] || fail "$f is torn"
  done
}
staged() { [ -n "$(ls -A b/.replica/tmp 2>/dev/null)" ]; }

for victim in B A B A B; do
  wait_for 20 "a transfer to be under way, or done" sh -c '[ -n "$(ls -A b/.replica/tmp 2>/dev/null)" ] || cmp -s a/big b/big'
  kill9 $victim
  whole
  daemon $victim
  round=$((${round:-0} + 1))
  echo "round $round" >versions/$round.note
  head -c 3000000 /dev/urandom >versions/$round.big2
  for f in note big2; do cp versions/$round.$f incoming && mv incoming a/$f; done
done
wait_for 60 "equal trees" same_tree a b
staged && fail "something is left in staging: $(ls -A b/.replica/tmp)"
expect_ok on B sync
expect_rc 0 on A conflicts
stop A
stop B
