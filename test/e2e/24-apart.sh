# shellcheck shell=bash
# limit: 90
# What two people may do to the same names while apart: nothing is lost, nothing is stuck, and once every
# conflict is settled both trees are the same.
# shellcheck source=test/e2e/lib.sh
. "$E2E_LIB"

mkdir -p a b
for c in edit-edit same-edit edit-delete delete-edit file-dir-edit rename-edit rename-rename chmod-edit \
  symlink-edit delete-delete chmod-chmod touch-touch; do
  echo "base of $c" >a/$c
done
mkdir -p a/rmdir-new a/rmdir-edit a/modes
echo old >a/rmdir-new/old
echo old >a/rmdir-edit/old
echo stays >a/rmdir-edit/quiet
daemon A
daemon B
expect_ok on A share s "$PWD/a"
expect_ok on B join "$(on A invite)" "$PWD/b"
expect_ok on B sync
same_tree a b

say "sixteen things at once, apart"
stop B
echo "A edits" >>a/edit-edit; echo "B edits" >>b/edit-edit
echo "A creates" >a/create-create; echo "B creates" >b/create-create
for r in a b; do echo "same" >>$r/same-edit; touch -d '2020-02-02' $r/same-edit; done
echo "A edits" >>a/edit-delete; rm b/edit-delete
rm a/delete-edit; echo "B edits" >>b/delete-edit
rm a/file-dir-edit; mkdir a/file-dir-edit; echo inside >a/file-dir-edit/inside; echo "B edits" >>b/file-dir-edit
mkdir a/dir-or-file; echo inside >a/dir-or-file/inside; echo "a file at B" >b/dir-or-file
rm -r a/rmdir-new; echo new >b/rmdir-new/new
rm -r a/rmdir-edit; echo "B edits" >>b/rmdir-edit/old
mv a/rename-edit a/renamed-by-a; echo "B edits" >>b/rename-edit
mv a/rename-rename a/ra; mv b/rename-rename b/rb
chmod 600 a/chmod-edit; echo "B edits" >>b/chmod-edit
rm a/symlink-edit; ln -s elsewhere a/symlink-edit; echo "B edits" >>b/symlink-edit
rm a/delete-delete b/delete-delete
chmod 600 a/chmod-chmod; chmod 640 b/chmod-chmod
touch -d '2001-01-01' a/touch-touch; touch -d '2002-02-02' b/touch-touch
chmod 700 a/modes; chmod 750 b/modes
mkdir a/both-made b/both-made; echo a >a/both-made/a; echo b >b/both-made/b
daemon B

# settled: both daemons have met, and neither has anything more to do by itself
settled() { on A sync >/dev/null; [ $? -le 1 ] && { on B sync >/dev/null; [ $? -le 1 ]; }; }
met() { on A peers | grep -q ' connected' && on B peers | grep -q ' connected'; }
wait_for 20 "both to meet" met
wait_for 20 "the pulls to settle" settled

say "what needs nobody's choice"
has() { wait_for 10 "$1 to hold '$2'" grep -q "$2" "$1"; }
gone() { wait_for 10 "$1 to be gone" test ! -e "$1" -a ! -L "$1"; }
cmp a/same-edit b/same-edit
gone a/delete-delete
gone b/rmdir-new/old
has a/rmdir-new/new new
gone b/rmdir-edit/quiet
has b/renamed-by-a base
has a/rb base
has b/ra base
gone a/rename-rename
has a/both-made/b b
has b/both-made/a a
modes() { [ "$(stat -c %a a/$1)" = "$2" ] && [ "$(stat -c %a b/$1)" = "$2" ]; }
wait_for 10 "the greater mode" modes chmod-chmod 640
wait_for 10 "the greater mode of the directory" modes modes 750
[ "$(stat -c %Y a/touch-touch)" = "$(stat -c %Y b/touch-touch)" ] || fail "touch-touch: times differ"

say "what does: both versions are still there"
has a/edit-edit "A edits"; has b/edit-edit "B edits"
has a/create-create "A creates"; has b/create-create "B creates"
has a/edit-delete "A edits"; has b/delete-edit "B edits"
has a/file-dir-edit/inside inside; has b/file-dir-edit "B edits"
has a/dir-or-file/inside inside; has b/dir-or-file "a file at B"
has b/rmdir-edit/old "B edits"; has b/rename-edit "B edits"
test -L a/symlink-edit; has b/symlink-edit "B edits"
has b/chmod-edit "B edits"
out=$(on A --json conflicts || true)
for c in edit-edit create-create edit-delete delete-edit file-dir-edit dir-or-file rmdir-edit/old rename-edit \
  symlink-edit chmod-edit; do
  expect_text "$c"
done
for c in same-edit rename-rename delete-delete both-made touch-touch modes; do
  case $out in *"$c"*) fail "$c should be no conflict: $out" ;; esac
done

say "each is settled, keeping both, from A or from B by turns"
turn=A
for c in edit-edit create-create edit-delete delete-edit file-dir-edit dir-or-file rmdir-edit/old rename-edit \
  symlink-edit chmod-edit; do
  expect_ok on $turn resolve s/$c --keep both
  [ $turn = A ] && turn=B || turn=A
done
none() { on A conflicts && on B conflicts; }
wait_for 20 "no conflict to be left" none
wait_for 20 "equal trees" same_tree a b

say "and nothing was lost"
for text in "A edits" "B edits" "A creates" "B creates" "a file at B" inside; do
  grep -rq "$text" a || fail "'$text' is nowhere"
done
for c in edit-edit create-create; do
  [ "$(cat a/$c* | sort -u | grep -c 'A \|B ')" -eq 2 ] || fail "$c: one of the two is lost: $(head a/$c*)"
done
expect_ok on A sync
expect_ok on B sync
stop A
stop B
