# shellcheck shell=bash
# limit: 120
# Three replicas in a chain, A - B - C: A and C never meet, and agree all the same.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

mkdir a b c
for i in $(seq 1 200); do
  mkdir -p "a/d$((i % 17))"
  head -c $((i * 37)) /dev/urandom >"a/d$((i % 17))/f$i"
done
for r in A B C; do daemon $r; done
expect_ok on A share tree "$PWD/a"
expect_ok on B join "$(on A invite)" "$PWD/b"
expect_ok on C join "$(on B invite)" "$PWD/c"
wait_for 30 "B to equal A" same_tree a b
wait_for 30 "C to equal A" same_tree a c

say "all three change different things at once"
for r in a b c; do echo from-$r >$r/from-$r; done
rm -r a/d3
rm c/d5/*
echo edit >>b/d7/f7
# the last look at a comes after the last look at b, which may have changed since the first
all_equal() { same_tree a b && same_tree b c && same_tree a c; }
wait_for 60 "all three to agree" all_equal
test ! -e c/d3 || fail "d3 came back"
grep -q from-c a/from-c

say "C is away while the others go on; what it deleted meanwhile stays deleted"
stop C
rm c/d1/f1 && echo new >c/new-at-c
echo edit >>a/d2/f2 && rm -r b/d4
wait_for 30 "A and B to agree" same_tree a b
daemon C
wait_for 60 "all three to agree again" all_equal
test ! -e a/d1/f1 || fail "a deleted file was resurrected"
for r in A B C; do
  expect_ok on $r sync
  expect_ok on $r conflicts
done
for r in A B C; do stop $r; done
