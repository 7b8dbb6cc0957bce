/* SPDX-License-Identifier: MIT */
#ifndef THRUM_TEST_REPLICA_MUTANTS_H
#define THRUM_TEST_REPLICA_MUTANTS_H

/*
 * The tree as the model test builds it for itself: the same source, in which a fault can be planted, under
 * other names, beside the real one. Included before anything else.
 */
#define REPLICA_TREE_MUTANTS 1

#define replica_tree_mutant	       model_tree_mutant
#define replica_tree_open	       model_tree_open
#define replica_tree_close	       model_tree_close
#define replica_tree_index	       model_tree_index
#define replica_tree_share	       model_tree_share
#define replica_tree_event	       model_tree_event
#define replica_tree_event_delete_all  model_tree_event_delete_all
#define replica_tree_refresh	       model_tree_refresh
#define replica_tree_dir_mtime	       model_tree_dir_mtime
#define replica_tree_rows	       model_tree_rows
#define replica_tree_leaf	       model_tree_leaf
#define replica_tree_live	       model_tree_live
#define replica_tree_count	       model_tree_count
#define replica_tree_reclaim	       model_tree_reclaim
#define replica_tree_list	       model_tree_list
#define replica_tree_restored	       model_tree_restored
#define replica_tree_resolve	       model_tree_resolve
#define replica_listing_fini	       model_listing_fini
#define replica_listing_check	       model_listing_check
#define replica_listing_absent	       model_listing_absent
#define replica_visit_open	       model_visit_open
#define replica_visit_child_listing    model_visit_child_listing
#define replica_visit_redecide	       model_visit_redecide
#define replica_visit_commit	       model_visit_commit
#define replica_visit_child	       model_visit_child
#define replica_visit_close	       model_visit_close
#define replica_visit_fini	       model_visit_fini
#define tree_lookup		       model_lookup
#define tree_forget		       model_forget
#define tree_flush		       model_flush
#define tree_find_dir		       model_find_dir
#define tree_leaf_changed	       model_leaf_changed
#define visit_judge		       model_judge
#define visit_clashes		       model_clashes
#define visit_look		       model_look
#define visit_redecide		       model_redecide
#define visit_set_verdict	       model_set_verdict
#define visit_their_s		       model_their_s
#define visit_same_leaf		       model_same_leaf
#define visit_same_event	       model_same_event
#define visit_conclude		       model_conclude
#define visit_note		       model_note
#define tree_enter		       model_enter
#define tree_find		       model_find
#define tree_make		       model_make
#define tree_child		       model_child
#define tree_effective		       model_effective
#define tree_raise		       model_raise
#define tree_learn		       model_learn
#define tree_dirty		       model_dirty
#define tree_split_leaf		       model_split_leaf
#define tree_leaf_get		       model_leaf_get
#define tree_leaf_put		       model_leaf_put
#define tree_leaf_event		       model_leaf_event
#define tree_each_row		       model_each_row
#define tree_shadowed		       model_shadowed
#define tree_reclaim_in		       model_reclaim_in

#endif
