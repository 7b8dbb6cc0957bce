# shellcheck shell=bash
# Edits on both sides while apart: listed on both, resolved once, gone on both, never resurfacing.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

pair() {
  daemon A
  daemon B
  expect_ok on A share s "$PWD/a"
  expect_ok on B join "$(on A invite)" "$PWD/b"
  expect_ok on B sync
}

# apart: B is down while both sides change
apart() { stop B; }
together() {
  daemon B
  wait_for 20 "both to be connected" connected
  on B sync s || true
}
connected() { on A peers | grep -q ' connected' && on B peers | grep -q ' connected'; }

conflicts_on() { { on "$1" --json conflicts || true; } | grep -o '"path":' | wc -l; }
expect_conflicts() { # COUNT
  wait_for 20 "$1 conflicts on A" test_conflicts A "$1"
  wait_for 20 "$1 conflicts on B" test_conflicts B "$1"
}
test_conflicts() { local n; n=$(conflicts_on "$1"); [ "$n" -eq "$2" ] || { echo "$n"; return 1; }; }

mkdir -p a b
for f in mine theirs both edit-delete same; do echo base >a/$f; done
pair
cmp a/mine b/mine

say "five files change on both sides"
apart
for f in mine theirs both; do
  echo "A's $f" >>a/$f
  echo "B's $f" >>b/$f
done
rm a/edit-delete
echo edited >>b/edit-delete
echo "the same" >>a/same
echo "the same" >>b/same
touch -r a/same b/same
together
expect_conflicts 4
cmp a/same b/same
expect_rc 1 on A sync s
grep -q "A's mine" a/mine || fail "A lost its edit before anybody chose"
grep -q "B's mine" b/mine || fail "B lost its edit before anybody chose"

say "each is resolved once"
expect_ok on A resolve s/mine --keep mine
wait_for 20 "mine at B" cmp a/mine b/mine
grep -q "A's mine" b/mine || fail "mine: the wrong one was kept"
expect_ok on A resolve s/theirs --keep theirs
wait_for 20 "theirs at A" cmp a/theirs b/theirs
grep -q "B's theirs" a/theirs || fail "theirs: the wrong one was kept"
expect_ok on A resolve s/both --keep both
grep -q "B's both" a/both || fail "both: theirs is not at the path"
wait_for 20 "mine at B too, under its new name" grep -rq "A's both" b
expect_ok on B resolve s/edit-delete --keep mine
wait_for 20 "the edited file back at A" cmp a/edit-delete b/edit-delete
expect_conflicts 0
expect_ok on A sync s
expect_ok on B sync s
same_tree a b

say "a file against a directory: shown as such, explained under its name, resolved"
mkdir a/kind
echo base >a/kind/was-there
expect_ok on B sync s
expect_ok on B why s/kind
expect_text 'new there'
apart
echo more >a/kind/more
rm -r b/kind
echo file >b/kind
together
expect_conflicts 1
expect_rc 1 on A conflicts
expect_text 'kind: type'
case $out in *1970*) fail "a time that nobody knows is shown: $out" ;; esac
expect_rc 1 on A --json conflicts
expect_text '"mine":{"type":"directory","size":null,"mtime":null,"mode":null}'
for side in A B; do
  expect_ok on $side why s/kind
  expect_text 'a directory on one side, a file on the other'
done
expect_rc 1 on B sync --dry-run
case $out in */.:*) fail "a name of the index is shown: $out" ;; esac
expect_ok on A resolve s/kind --keep mine
expect_conflicts 0
expect_ok on B sync s
same_tree a b

say "and stays resolved over restarts"
stop A
stop B
daemon A
daemon B
wait_for 20 "both to be connected" connected
expect_ok on A sync s
expect_conflicts 0
same_tree a b
stop A
stop B
